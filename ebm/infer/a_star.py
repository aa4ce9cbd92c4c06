"""A*: the exact minimum of a staged energy, looking at the most promising beginnings first.

    f(a_0..a_t) = g + h(s_{t+1}),    g = Σ_{τ<=t} c_τ,    h(s) <= the least cost from s to the end

The beginning with the smallest f goes on by every choice. As f never overestimates, the first whole sequence
that is the smallest of all is the best there is. The tighter h is, the fewer beginnings are looked at; h = 0
is Dijkstra's algorithm. Where the energy has a `key`, a beginning that leads to a place later and dearer than
another is dropped.

Reference: Hart, Nilsson, Raphael (1968), "A Formal Basis for the Heuristic Determination of Minimum Cost
Paths".
"""

from __future__ import annotations

import heapq
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.infer.dynamic_programming import keys_of, lower_bound, tensors_of
from ebm.infer.enumerate import searched
from ebm.infer.method import Method, State, count, stop_where
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.solution import Stop
from ebm.staged import Staged


class AStar(Method):
    """The cheapest sequence of choices of a `Staged` energy with a `lower_bound`, f = g + h.

    It takes one step, in which every row has a queue of its own, and one beginning of each row goes on at a
    time, by all n choices in one call of `stage` for each t among them. A row ends by "exhausted": nothing
    cheaper is left; by "non-finite" if no sequence has a finite energy; or by "stalled" after `limit`
    beginnings, where it keeps its start. A bound that lies above what a sequence then costs is an error where
    it is met (on the way to any whole sequence; elsewhere it cannot be seen).

    Args:
        limit: beginnings of a row that are looked at, at most.

    Raises:
        TypeError: if the energy is not one `Staged` term over its choice variable with a `lower_bound`, or
            has constraints, or a negative weight, of which h would be an upper bound.
        ValueError: if the bound is seen to be above the cost, or a key is out of its range.

    Example:
        >>> from ebm import Choices, minimize
        >>> from ebm.staged import Staged
        >>> class Steps(Staged):                                # from 0 to a goal by +1 or +3, each costs 1
        ...     def start(self, goal):
        ...         return goal
        ...     def stage(self, state, choice, t):
        ...         return (state > 0).double(), (state - torch.tensor([1, 3])[choice]).clamp(min=0)
        ...     def final(self, state):
        ...         return torch.where(state == 0, 0.0, torch.inf).double()
        ...     def lower_bound(self, state, t):
        ...         return (state / 3).ceil().double()
        >>> steps, goal = Choices(torch.zeros(1, 4, dtype=torch.long), n=2), torch.tensor([7])
        >>> minimize(Steps("steps"), steps, AStar(), given={"goal": goal}).energy
        tensor([3.], dtype=torch.float64)
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, limit: int = 2**17):
        self.limit = count("limit", limit)

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, _, sign = staged_term(problem, "AStar")
        leaf.check_choices(u)
        if not hasattr(leaf, "lower_bound"):
            raise TypeError(
                f"AStar needs to know what is still to be paid at least, and {leaf.label} has no "
                f"lower_bound(state, t) -> (B,); write one, or use DynamicProgramming() or BeamSearch()."
            )
        if sign < 0:
            raise TypeError(
                f"{leaf.label} has a negative weight, which makes an upper bound of its lower_bound; use "
                f"DynamicProgramming()."
            )
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        u = state["u"]
        leaf, given, _ = staged_term(problem, "AStar")
        search = _Search(leaf, given, problem.choices[leaf.choice], u.shape[1], len(u))
        for _ in range(self.limit):
            if not search.expand():
                break
        paths = [torch.tensor(path, device=u.device) for path in search.best]
        kept = [path if len(path) else row for path, row in zip(paths, u, strict=True)]  # else the start
        found = searched(problem, torch.stack(kept), done=True)
        cut = torch.tensor([bool(queue) for queue in search.queues], device=u.device)
        found["code"] = torch.where(cut, stop_where(cut, Stop.STALLED), found["code"])
        return found

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]


class _Node(NamedTuple):
    """A beginning: its cost g, the greatest f on the way, its choices, and its state, of one row."""

    cost: float
    promised: float
    path: tuple[int, ...]
    key: int | None
    state: Any


class _Search:
    """A queue of beginnings for every row, ordered by (f, choices): of equally cheap ones the first."""

    def __init__(self, leaf: Staged, given: dict[str, Any], n: int, horizon: int, batch: int):
        self.leaf, self.n, self.horizon = leaf, n, horizon
        self.queues: list[list[tuple[float, tuple[int, ...], _Node]]] = [[] for _ in range(batch)]
        self.cheapest: list[dict[tuple[int, int], float]] = [{} for _ in range(batch)]  # g by (t, key)
        self.best: list[tuple[int, ...]] = [()] * batch
        states = leaf.start(**given)
        for row, h in enumerate(lower_bound(leaf, states, 0).tolist()):
            self._push(row, _Node(0.0, h, (), None, _row(states, row)))

    def expand(self) -> bool:
        """Let the best beginning of every row go on by every choice; whether any was left."""
        chosen = {row: node for row in range(len(self.queues)) if (node := self._pop(row)) is not None}
        for t in {len(node.path) for node in chosen.values()}:
            rows = [row for row, node in chosen.items() if len(node.path) == t]
            self._stage(rows, [chosen[row] for row in rows], t)
        return bool(chosen)

    def _push(self, row: int, node: _Node) -> None:
        if not node.promised < math.inf:
            return
        if node.key is not None:
            place = (len(node.path), node.key)
            if self.cheapest[row].get(place, math.inf) <= node.cost:
                return
            self.cheapest[row][place] = node.cost
        heapq.heappush(self.queues[row], (node.promised, node.path, node))

    def _pop(self, row: int) -> _Node | None:
        queue = self.queues[row]
        while queue:
            node = heapq.heappop(queue)[2]
            if len(node.path) == self.horizon:  # no other can be cheaper
                self.best[row] = node.path
                queue.clear()
            elif node.key is None or node.cost <= self.cheapest[row][len(node.path), node.key]:
                return node
        return None

    def _stage(self, rows: list[int], nodes: list[_Node], t: int) -> None:
        """All n choices of these beginnings, which are all of length t."""
        n, last = self.n, t + 1 == self.horizon
        states = _joined([node.state for node in nodes for _ in range(n)])
        first = tensors_of(states)[0]
        paid, after = self.leaf.stage(states, torch.arange(n, device=first.device).repeat(len(nodes)), t)
        ahead = self.leaf.final(after) if last else lower_bound(self.leaf, after, t + 1)
        slack = torch.finfo(paid.dtype).eps ** 0.5
        costs, rest = paid.double().tolist(), ahead.double().tolist()
        keyed = self.leaf.num_keys is not None and not last
        keys = keys_of(self.leaf, after, len(costs)).tolist() if keyed else [None] * len(costs)
        for i, (row, node) in enumerate((r, m) for r, m in zip(rows, nodes, strict=True) for _ in range(n)):
            cost = node.cost + costs[i]
            total, path = cost + rest[i], (*node.path, i % n)
            if last and total < node.promised - slack * (1 + abs(total)):
                raise ValueError(
                    f"{self.leaf.label}.lower_bound is no lower bound: on the way of {list(path)} it "
                    f"promised at least {node.promised:g}, and the sequence costs {total:g}. Lower it, or "
                    f"use DynamicProgramming() or BeamSearch()."
                )
            if not math.isnan(total):
                state = None if last else _row(after, i)
                self._push(row, _Node(cost, max(node.promised, total), path, keys[i], state))


def _row(states: Any, i: int) -> Any:
    """One row of a state, as a state of one row."""
    return map_rows(states, lambda item: item[i : i + 1])


def _joined(states: list[Any]) -> Any:
    """States of one row as one state of many rows."""
    columns = iter([torch.cat(versions) for versions in zip(*map(tensors_of, states), strict=True)])
    return map_rows(states[0], lambda _: next(columns))

"""Dynamic programming: the exact minimum of a staged energy, in time linear in its length.

    V_0 = 0,      V_{t+1}(k) = min {V_t(s) + c_t(s, a) : a leads to key k},      min E = min_k V_T(k) + c_T(k)

States with equal keys have the same future, so of all beginnings that reach a key only the cheapest goes on,
with a pointer back to where it came from: T·K·n stages for K keys and n choices, in place of n^T sequences.
Only keys that are reached are kept. On a hidden Markov model this is Viterbi's algorithm, on a graph Bellman
and Ford's.

Reference: Bellman (1957), "Dynamic Programming", ch. III; Viterbi (1967), "Error bounds for convolutional
codes and an asymptotically optimum decoding algorithm".
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.infer.enumerate import searched
from ebm.infer.method import Method, State
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.staged import Staged

TREE_LIMIT = 2**20  # sequences a row up to which a staged energy without a key is searched


class DynamicProgramming(Method):
    """The cheapest sequence of choices of a `Staged` energy: what `Enumerate` finds, without trying all.

    It takes one step; a row ends by "exhausted", or by "non-finite" if no sequence has a finite energy (a
    cost of NaN forbids like +inf). Of equally cheap sequences it takes the first, where the last entry
    changes fastest. Without a `key` it tries all n^T, up to 2²⁰. `max_rows` bounds the states that are
    staged at once.

    Raises:
        TypeError: if the energy is not one `Staged` term over its choice variable, or has constraints.
        ValueError: if there is no key and there are too many sequences, or if a key is out of its range.

    Example:
        >>> from ebm import Choices, minimize
        >>> from ebm.staged import Staged
        >>> class Tags(Staged):                            # -log p(tags, words) of a hidden Markov model
        ...     def __init__(self, transition):            # (K, K)
        ...         super().__init__("tags", num_keys=len(transition))
        ...         self.register_buffer("transition", transition)
        ...     def start(self, emission):                 # (B, T, K)
        ...         return {"tag": torch.zeros(len(emission), dtype=torch.long), "emission": emission}
        ...     def stage(self, state, choice, t):
        ...         cost = state["emission"][:, t].gather(1, choice[:, None]).squeeze(1)
        ...         if t > 0:
        ...             cost = cost + self.transition[state["tag"], choice]
        ...         return cost, {**state, "tag": choice}
        ...     def final(self, state):
        ...         return state["emission"].new_zeros(len(state["tag"]))
        ...     def key(self, state):
        ...         return state["tag"]
        >>> sticky = Tags(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> emission = torch.tensor([[[0.1, 2.0], [1.0, 0.8], [0.1, 2.0]]])
        >>> tags = Choices(torch.ones(1, 3, dtype=torch.long), n=2)
        >>> minimize(sticky, tags, DynamicProgramming(), given={"emission": emission}).value
        tensor([[0, 0, 0]])
    """

    population = True
    discrete = True
    differentiable = False

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, *_ = staged_term(problem, "DynamicProgramming")
        leaf.check_choices(u)
        n, horizon = problem.choices[leaf.choice], u.shape[1]
        if leaf.num_keys is None and n**horizon > TREE_LIMIT:
            raise ValueError(
                f"{leaf.label} has no key, so there are {n}^{horizon} sequences to try, and at most "
                f"{TREE_LIMIT} are; say which states have the same future: num_keys=K and key(state) -> (B,) "
                f"in [0, K)."
            )
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        u, value = state["u"], state["value"]
        leaf, *_ = staged_term(problem, "DynamicProgramming")
        n, horizon = problem.choices[leaf.choice], u.shape[1]
        widest = min(leaf.num_keys or TREE_LIMIT, n**horizon)  # states of one row of the batch at once
        size = max(1, (problem.max_rows or widest * len(u)) // widest)
        rows = torch.arange(len(u), device=u.device).split(size)
        paths = [cheapest_sequence(problem.rows(i), n, horizon, value[i]) for i in rows]
        return searched(problem, torch.cat(paths), done=True)

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]


def cheapest_sequence(
    problem: Problem, n: int, horizon: int, like: Tensor, width: int | None = None, merge: bool = True
) -> Tensor:
    """The first of the cheapest sequences of choices, (B, T), for energies like (B,).

    Args:
        problem: of one staged term.
        n: choices a stage.
        horizon: T.
        like: energies of the rows, (B,), for their dtype.
        width: how many beginnings go on after each stage but the last: those of the least cost so far plus,
            where there is one, bound on what is to come; None for all.
        merge: whether beginnings that lead to the same key are one.
    """
    leaf, given, sign = staged_term(problem, "A search along the stages")
    keyed, bounded = merge and leaf.num_keys is not None, width is not None and hasattr(leaf, "lower_bound")
    states = leaf.start(**given)  # B·W rows: the W states that a row of the batch can be in, side by side
    cost = torch.zeros_like(like).unsqueeze(1)  # of the cheapest beginning that leads to each, (B, W)
    back: list[Tensor] = []  # of each stage, which candidates w·n + a (state w, choice a) went on, (B, W)
    for t in range(horizon):
        paid, nexts = [], []
        for a in range(n):  # one by one, so that what a state only carries along is not copied n times
            choice = torch.full((cost.numel(),), a, device=cost.device)
            cost_of_a, next_of_a = leaf.stage(map_rows(states, lambda item: item), choice, t)
            paid.append(cost_of_a)
            nexts.append(next_of_a)
        beginnings = cost.shape[1]
        cost = cost.unsqueeze(2) + sign * torch.stack(paid, 1).view(*cost.shape, n)
        cost = _forbid_nan(cost).flatten(1)  # (B, W n)
        candidate = torch.arange(beginnings * n, device=cost.device).expand(len(cost), -1)
        if keyed:
            keys = torch.stack([keys_of(leaf, after, len(choice)) for after in nexts], 1).view_as(cost)
            candidate, cost = _cheapest_of_each_key(leaf, keys, leaf.num_keys or 0, cost)
        states = _advanced(states, nexts, candidate, beginnings)
        if width is not None and t + 1 < horizon and candidate.shape[1] > width:
            promise = cost + lower_bound(leaf, states, t + 1).view_as(cost) if bounded and sign > 0 else cost
            best = (
                promise.argsort(dim=1, stable=True)[:, :width].sort(1).values
            )  # in the order of the sequences
            row = torch.arange(len(cost), device=cost.device).unsqueeze(1) * cost.shape[1] + best
            states = map_rows(states, partial(torch.index_select, dim=0, index=row.flatten()))
            candidate, cost = candidate.gather(1, best), cost.gather(1, best)
        back.append(candidate)
    slot = _forbid_nan(cost + sign * leaf.final(states).view_as(cost)).argmin(1, keepdim=True)  # (B, 1)
    path = []
    for candidate in reversed(back):
        chosen = candidate.gather(1, slot)
        path.append(chosen % n)
        slot = chosen // n
    return torch.cat(path[::-1], 1)


def lower_bound(leaf: Staged, states: Any, t: int) -> Tensor:
    """What is still to be paid at least from states (rows) before stage t, (rows,); NaN is +inf."""
    bound: Tensor = leaf.lower_bound(states, t)  # type: ignore[operator]  # optional, so no method of Staged
    return _forbid_nan(bound)


def keys_of(leaf: Staged, states: Any, rows: int) -> Tensor:
    """The keys of states, (rows,), checked."""
    keys: Tensor = leaf.key(states)  # type: ignore[operator]  # optional, so no method of Staged
    if keys.dtype != torch.int64 or keys.shape != (rows,):
        raise ValueError(
            f"{leaf.label}.key must return one int64 a row, shape ({rows},); it returned {keys.dtype} of "
            f"shape {tuple(keys.shape)}."
        )
    return keys


def _cheapest_of_each_key(leaf: Staged, keys: Tensor, num_keys: int, cost: Tensor) -> tuple[Tensor, Tensor]:
    """Of the candidates (B, W n) the first of the cheapest for each key reached, and its cost, (B, W').

    Rows of the batch that reach fewer keys than others are filled up with candidate 0, a sequence like
    any other.
    """
    batch, count = cost.shape
    keys = keys.where(cost < torch.inf, 0)  # the state after a forbidden choice may be anything
    low, high = int(keys.min()), int(keys.max())
    if low < 0 or high >= num_keys:
        raise ValueError(f"{leaf.label}.key lies in [0, num_keys={num_keys}); it returned {low} to {high}.")
    number = torch.arange(count, device=cost.device).expand(batch, -1)
    least = cost.new_full((batch, num_keys), torch.inf).scatter_reduce(1, keys, cost, "amin")
    cheapest = (cost == least.gather(1, keys)) & (cost < torch.inf)
    first = number.new_full((batch, num_keys), count)
    first = first.scatter_reduce(1, keys, number.where(cheapest, count), "amin")
    first = first.sort(1).values  # the frontier keeps the order of the sequences, for ties go to the first
    first = first[:, : max(1, int((first < count).sum(1).max()))]
    candidate = first.where(first < count, 0)
    return candidate, cost.gather(1, candidate)


def _advanced(states: Any, nexts: list[Any], candidate: Tensor, width: int) -> Any:
    """The next states of the candidates (B, W'), from those of all B·W states after each of n choices."""
    n, first = len(nexts), torch.arange(len(candidate), device=candidate.device).unsqueeze(1) * width
    parent = (first + candidate // n).flatten()
    row = (first * n + candidate).flatten()
    before = tensors_of(states)
    moved = []
    for versions in zip(*map(tensors_of, nexts), strict=True):
        carried = next((b for b in before if all(v is b for v in versions)), None)
        if carried is None:
            moved.append(torch.stack(versions, 1).flatten(0, 1).index_select(0, row))
        else:
            moved.append(carried.index_select(0, parent))
    items = iter(moved)
    return map_rows(nexts[0], lambda _: next(items))


def tensors_of(states: Any) -> list[Tensor]:
    """The tensors that a state is made of."""
    found: list[Tensor] = []
    map_rows(states, found.append)
    return found


def _forbid_nan(cost: Tensor) -> Tensor:
    return torch.where(cost.isnan(), torch.inf, cost)

"""Dynamic programming: the exact minimum of a staged energy in time linear in its length.

    V_0(start) = 0,    V_{t+1}(k) = min { V_t(s) + c_t(s, a) : key of the next state = k },    min E = min_k V_T(k) + c_T

States with equal keys have the same future, so of all beginnings that reach a key only the cheapest goes on, with a
pointer back to where it came from: B·T·K·n stages for K keys and n choices instead of B·n^T sequences. The frontier
holds reachable keys alone. This is the Viterbi algorithm on a hidden Markov model and Bellman and Ford's on a graph.

Reference: Bellman (1957), "Dynamic Programming", ch. III; Viterbi (1967), "Error bounds for convolutional codes and an
asymptotically optimum decoding algorithm", sect. IV.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.binder import Free, Held, map_rows
from ebm.infer.enumerate import searched
from ebm.infer.method import Method, State
from ebm.problem import Problem
from ebm.signature import check_output
from ebm.staged import Staged

TREE_LIMIT = 2**20  # sequences a row up to which a staged energy without a key is searched


class DynamicProgramming(Method):
    """The cheapest sequence of choices of a `Staged` energy, and the same one that `Enumerate` finds.

    One step; a row ends by "exhausted", or by "non-finite" if no sequence has a finite energy (costs of NaN count as
    forbidden). Of equally good sequences it takes the first, in the order of an odometer whose last entry turns
    fastest. Without a `key` all n^T sequences are tried, up to 2²⁰. `max_rows` bounds the states staged at once.

    Raises:
        TypeError: if the energy is not one `Staged` term over its choice variable, or there are constraints.
        ValueError: if there are too many sequences to try without a key, or a key is out of its range.

    Example:
        >>> from ebm import Choices, minimize
        >>> class Tags(Staged):                                 # -log p(tags, words) of a hidden Markov model
        ...     def __init__(self, transition):
        ...         super().__init__("tags", num_keys=len(transition))
        ...         self.register_buffer("transition", transition)
        ...     def start(self, emission):                      # (B, T, K)
        ...         return {"tag": emission.new_zeros(len(emission), dtype=torch.long), "emission": emission}
        ...     def stage(self, state, choice, t):
        ...         cost = state["emission"][:, t].gather(1, choice[:, None]).squeeze(1)
        ...         if t > 0:
        ...             cost = cost + self.transition[state["tag"], choice]
        ...         return cost, {**state, "tag": choice}
        ...     def final(self, state):
        ...         return state["emission"].new_zeros(len(state["emission"]))
        ...     def key(self, state):
        ...         return state["tag"]
        >>> emission = torch.tensor([[[0.1, 2.0], [1.0, 0.8], [0.1, 2.0]]])
        >>> tags = Choices(torch.ones(1, 3, dtype=torch.long), n=2)
        >>> sticky = Tags(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> minimize(sticky, tags, DynamicProgramming(), given={"emission": emission}).value
        tensor([[0, 0, 0]])
    """

    population = True
    discrete = True
    differentiable = False

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, *_ = _staged(problem)
        leaf.check_choices(u)
        n, horizon = problem.choices[leaf.choice], u.shape[1]
        if leaf.num_keys is None and n**horizon > TREE_LIMIT:
            raise ValueError(
                f"{leaf.label} has no key, so dynamic programming would try all {n}^{horizon} sequences, and stops at "
                f"{TREE_LIMIT}; say which states have the same future: num_keys=K and key(state) -> (B,) in [0, K)."
            )
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        leaf, given, sign = _staged(problem)
        batch, horizon = state["u"].shape
        n = problem.choices[leaf.choice]
        cost = torch.zeros_like(state["value"]).unsqueeze(1)  # of the best beginning to each of W states, (B, W)
        states = leaf.start(**given)  # of B W rows, the W of one row of the batch side by side
        back: list[Tensor] = []  # of each stage: the new frontier's candidates w·n + a, from state w by choice a
        for t in range(horizon):
            paid, states = _every_choice(leaf, states, torch.arange(cost.numel() * n, device=cost.device), n, t, problem)
            cost = _forbid_nan(cost.repeat_interleave(n, 1) + sign * paid.view(batch, -1))  # (B, W n)
            candidate = torch.arange(cost.shape[1], device=cost.device).expand(batch, -1)
            if leaf.num_keys is not None:
                candidate = _cheapest(cost, _keys(leaf, states, cost), leaf.num_keys)
                first = torch.arange(batch, device=cost.device).unsqueeze(1) * cost.shape[1]
                states = _take(states, (first + candidate.clamp(min=0)).flatten())
                cost = torch.where(candidate < 0, torch.inf, cost.gather(1, candidate.clamp(min=0)))
            back.append(candidate)
        final = leaf.final(states)
        check_output(final, cost.numel(), f"{leaf.label}.final")
        slot = _forbid_nan(cost + sign * final.view_as(cost)).argmin(1, keepdim=True)
        path = []
        for candidate in reversed(back):
            chosen = candidate.gather(1, slot).clamp(min=0)
            path.append(chosen % n)
            slot = chosen // n
        return searched(problem, torch.cat(path[::-1], 1), done=True)

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]


def _staged(problem: Problem) -> tuple[Staged, dict[str, Any], float]:
    """The one staged term, the values that its start is given, and the sign of its weight."""
    if problem.constraints:
        raise TypeError(
            "DynamicProgramming cannot keep to `subject_to`; forbid a choice by a cost of +inf in `stage`, or use Enumerate()."
        )
    terms = [t for t in problem.bound.summands if t.free()]  # the others are constants
    staged = [t for t in terms if isinstance(t.leaf, Staged)]
    if len(staged) != 1 or len(terms) > 1:
        raise TypeError(
            f"DynamicProgramming minimizes one Staged energy; the terms of this one are "
            f"{', '.join(f'{t.label} ({type(t.leaf).__name__})' for t in terms) or 'all constant'}. Add the other costs to its "
            f"`stage` and `final`, or use Enumerate()."
        )
    (term,) = terms
    arguments = dict(term.arguments)
    choice = arguments.pop(term.leaf.choice)
    if not isinstance(choice, Free) or not all(isinstance(e, Held) for e in arguments.values()):
        raise TypeError(
            f"DynamicProgramming searches over {term.leaf.choice!r}, the choices of {term.label}, with everything else "
            f"given; the free variables are {', '.join(problem.shapes)}. Minimize over {term.leaf.choice!r} itself."
        )
    weight = float(term.weight)
    given = {name: problem.bound.held[e.key] for name, e in arguments.items() if isinstance(e, Held)}
    return term.leaf, given, float(weight > 0) - float(weight < 0)


def _every_choice(
    leaf: Staged, states: Any, number: Tensor, n: int, t: int, problem: Problem
) -> tuple[Tensor, Any]:
    """The cost and the next state of candidate w·n + a for every `number`, at most `max_rows` of them at once."""
    costs, nexts = [], []
    for part in number.split(problem.max_rows or len(number)):
        cost, after = leaf.stage(_take(states, part // n), part % n, t)
        check_output(cost, len(part), f"{leaf.label}.stage")
        costs.append(cost)
        nexts.append(after)
    return torch.cat(costs), _joined(nexts)


def _cheapest(cost: Tensor, keys: Tensor, num_keys: int) -> Tensor:
    """For each key that a row of the batch reaches the first of its cheapest candidates, (B, W) in ascending order.

    Rows that reach fewer keys than others are filled up with -1.
    """
    batch, count = cost.shape
    number = torch.arange(count, device=cost.device).expand(batch, -1)
    least = cost.new_full((batch, num_keys), torch.inf).scatter_reduce(1, keys, cost, "amin")
    wins = (cost == least.gather(1, keys)) & (cost < torch.inf)
    first = number.new_full((batch, num_keys), count).scatter_reduce(1, keys, number.where(wins, count), "amin")
    first = first.sort(1).values  # so the frontier keeps the order of the sequences, and ties go to the first of them
    width = max(1, int((first < count).sum(1).max()))
    return first[:, :width].where(first[:, :width] < count, -1)


def _keys(leaf: Staged, states: Any, cost: Tensor) -> Tensor:
    """The keys of the candidates, (B, W n); those of forbidden ones are of no account."""
    keys = leaf.key(states)
    if keys.dtype != torch.int64 or keys.shape != (cost.numel(),):
        raise ValueError(
            f"{leaf.label}.key must return one int64 a row, shape ({cost.numel()},); it returned {keys.dtype} of shape "
            f"{tuple(keys.shape)}."
        )
    keys = keys.view_as(cost).where(cost < torch.inf, 0)
    low, high = int(keys.min()), int(keys.max())
    if low < 0 or high >= leaf.num_keys:
        raise ValueError(f"{leaf.label}.key must lie in [0, num_keys={leaf.num_keys}); it returned {low} to {high}.")
    return keys


def _forbid_nan(cost: Tensor) -> Tensor:
    return torch.where(cost.isnan(), torch.inf, cost)


def _take(states: Any, rows: Tensor) -> Any:
    return map_rows(states, lambda leaf: leaf.index_select(0, rows))


def _joined(parts: list[Any]) -> Any:
    """States of consecutive rows as one."""
    first = parts[0]
    if len(parts) == 1 or not isinstance(first, Tensor | tuple | list | dict):
        return first
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    return type(first)(_joined(list(items)) for items in zip(*parts, strict=True))

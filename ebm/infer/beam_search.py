"""Beam search: sequences grown choice by choice, of which only the most promising beginnings go on.

    f(a_0..a_t) = Σ_{τ<=t} c_τ + h(s_{t+1}),    after each stage the W beginnings with the smallest f are kept

h is the energy's `lower_bound` on what is to come, 0 without one. It is dynamic programming with a frontier
of at most W states: T·W·n stages, and no promise that the best sequence's beginnings were among those kept.

Reference: Lowerre (1976), "The HARPY Speech Recognition System", ch. 3; Bisiani (1987), "Beam search".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.dynamic_programming import cheapest_sequence
from ebm.infer.enumerate import searched
from ebm.infer.method import Method, State, count, stop_where
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.solution import Stop


class BeamSearch(Method):
    """The cheapest sequence of choices of a `Staged` energy among those whose beginnings were promising.

    After each stage the W beginnings of least f = cost so far + `lower_bound` (if there is one) go on. It
    takes one step; a row ends by "exhausted" where nothing had to be dropped, so that the answer is that of
    `DynamicProgramming`, else by "stalled": the best that this width finds. `max_rows` bounds the states that
    are staged at once.

    Args:
        width: W >= 1.
        merge: whether beginnings that lead to the same `key` are one, of which the cheaper goes on.

    Raises:
        TypeError: if the energy is not one `Staged` term over its choice variable, or has constraints.
        ValueError: if the width is below 1, or a key is out of its range.

    Example:
        >>> from ebm import Choices, minimize
        >>> from ebm.testing.posed import tagging
        >>> posed = tagging(choices=3, length=8)
        >>> narrow, wide = (posed.solve(BeamSearch(width)) for width in (1, 9))
        >>> bool((wide.energy <= narrow.energy).all()), wide.reasons[0], narrow.reasons[0]
        (True, 'exhausted', 'stalled')
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, width: int = 100, merge: bool = True):
        self.width, self.merge = count("width", width), merge

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, *_ = staged_term(problem, "BeamSearch")
        leaf.check_choices(u)
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        u, value = state["u"], state["value"]
        leaf, *_ = staged_term(problem, "BeamSearch")
        n, horizon = problem.choices[leaf.choice], u.shape[1]
        beginnings = n ** (horizon - 1)  # before the last choice, after which all ends are compared
        if self.merge and leaf.num_keys is not None:
            beginnings = min(beginnings, leaf.num_keys)
        size = max(1, (problem.max_rows or self.width * len(u)) // self.width)
        rows = torch.arange(len(u), device=u.device).split(size)
        paths = [
            cheapest_sequence(problem.rows(i), n, horizon, value[i], self.width, self.merge) for i in rows
        ]
        found = searched(problem, torch.cat(paths), done=True)
        if beginnings > self.width:
            finite = found["code"] == int(Stop.EXHAUSTED)
            found["code"] = torch.where(finite, stop_where(finite, Stop.STALLED), found["code"])
        return found

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]

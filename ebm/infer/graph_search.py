"""Graph search over imagined states: a staged energy is searched by the places that its beginnings lead to.

    children of s: s' with g' = g + c(s, a), for all a;    kept if |place(s') - place(u)| > r for all kept u
    next to expand: the kept s with the smallest g(s) + w c_T(s),  g the cost so far, c_T the cost of ending

Where states are continuous no two beginnings have the same `key`, and a tree of n choices has n^T leaves. But
what can be reached is a set of bounded volume: keep one beginning for each ball of radius r, and the tree
becomes a graph with as many nodes as there are places. The cost of ending guides (w > 0) and never decides:
where it leads into a dead end, the places there are soon used up, and the search goes on elsewhere.

Reference: Lehman & Stanley (2011), "Abandoning Objectives: Evolution Through the Search for Novelty Alone";
Hart, Nilsson, Raphael (1968), "A Formal Basis for the Heuristic Determination of Minimum Cost Paths".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.graph import Graph
from ebm.infer.method import Method, State, count, positive, stop_where
from ebm.infer.staged_term import staged_term
from ebm.problem import Problem
from ebm.solution import Stop


class GraphSearch(Method):
    """Best-first search of a `Staged` energy whose states have a place.

    The energy offers two things more: `place(state) -> (B, D)`, in which novelty is measured, and `rest`, the
    choice that changes nothing and costs nothing; shorter sequences are filled up with it. Its stages are all
    alike, since beginnings of different lengths go on together: `stage` is called with t = 0. All rows are
    searched at once, and up to `expand` beginnings of each with all choices in one call of it.

    It is no proof of optimality: the first to come to a place keeps it. A row ends by "goal" where ending
    costs at most `good_enough`, else by "stalled": every place that could be reached was looked at, or there
    were as many waves as there are.

    Args:
        spacing: r > 0, how far a place is from all others at least, in the units of `place`; one number or
            one per row.
        expand: how many beginnings of a row go on in one wave.
        waves: at most.
        good_enough: the cost of ending at which a row is done; -inf searches on to the end.
        greed: w >= 0, the weight of the cost of ending in the order; 0 floods evenly.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: if the energy is not one staged term with `place` and `rest`, or has constraints.

    Example:
        >>> from ebm import Choices, Staged, minimize
        >>> class Walk(Staged):                       # on a line from 0: left, right or rest
        ...     rest = 2
        ...     def __init__(self):
        ...         super().__init__("moves", horizon=5)
        ...     def start(self, goal):
        ...         return torch.zeros_like(goal), goal
        ...     def stage(self, state, choice, t):
        ...         x, goal = state
        ...         move = torch.tensor([-1.0, 1.0, 0.0])[choice]
        ...         return 0.1 * move.abs(), (x + move, goal)
        ...     def final(self, state):
        ...         return (state[0] - state[1]).abs()
        ...     def place(self, state):
        ...         return state[0].unsqueeze(1)
        >>> moves, goal = Choices(torch.full((1, 5), 2), n=3), torch.tensor([3.0])
        >>> found = minimize(Walk(), moves, GraphSearch(0.5, good_enough=0.0), given={"goal": goal})
        >>> found.value, found.energy, found.reasons
        (tensor([[1, 1, 1, 2, 2]]), tensor([0.3000]), ['goal'])
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(
        self,
        spacing: float | Tensor,
        expand: int = 24,
        waves: int = 40,
        good_enough: float = -torch.inf,
        greed: float = 1.0,
    ):
        self.spacing = positive("spacing", spacing)
        self.expand, self.waves = count("expand", expand), count("waves", waves)
        self.greed = float(positive("greed", greed, zero=True))
        self.good_enough = float(good_enough)

    def init(self, problem: Problem, u: Tensor) -> State:
        leaf, *_ = staged_term(problem, "GraphSearch")
        leaf.check_choices(u)
        n = problem.choices[leaf.choice]
        if not hasattr(leaf, "place") or not 0 <= getattr(leaf, "rest", -1) < n:
            raise TypeError(
                f"GraphSearch measures novelty and ends early, so {leaf.label} needs place(state) -> (B, D) "
                f"and `rest`, a choice below {n} that changes nothing and costs nothing."
            )
        return self._state(problem, u, torch.zeros(len(u), dtype=torch.uint8, device=u.device))

    def step(self, problem: Problem, state: State) -> State:
        search = Graph(self, problem, state["u"])
        for _ in range(self.waves):
            if not search.wave():
                break
        return self._state(problem, *search.found())

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]

    @staticmethod
    def _state(problem: Problem, u: Tensor, code: Tensor) -> State:
        value = problem.value(u)
        lost = (code > 0) & ~value.isfinite()
        return {"u": u, "value": value, "code": torch.where(lost, stop_where(lost, Stop.NON_FINITE), code)}

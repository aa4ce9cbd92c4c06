"""A search, then a descent: a population finds the valley, a gradient method its bottom.

    u_s = the best candidate of s steps of the search,        u = refine(E) begun at u_s

A population needs no gradient and looks far, but comes nearer to a minimum by a fixed factor a step at best;
a gradient method is fast and sharp where it starts well.

Reference: Bharadhwaj, Xie, Shkurti (2020), "Model-predictive control via cross-entropy and gradient-based
optimization", which interleaves the two in place of running one after the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count
from ebm.infer.minimize import check_suits
from ebm.infer.ranking import lower, without_nan
from ebm.problem import Problem
from ebm.rows import expand


class Refined(Method):
    """`steps` steps of a population search, then a gradient method from the best point found.

    A row ends by a test of the gradient method alone: a collapsed population is where it begins. The driver
    keeps each row's best point, so the answer is never worse than that of the search.

    Args:
        search: a method with a population: CEM, ICEM, MPPI.
        refine: a method with gradients: LBFGS, Adam, MultiStart, AugmentedLagrangian, or ProximalGradient
            where the energy has a Box.
        steps: of the search, at least 1; those of `minimize` count both.

    Raises:
        TypeError: if `search` has no population, `refine` has one, or one of them searches a discrete set.
        ValueError: if `steps` is below 1.

    Example:
        >>> from ebm import minimize
        >>> from ebm.infer import CEM, LBFGS
        >>> from ebm.targets import Rastrigin
        >>> start, g = torch.full((1, 2), 2.2), torch.Generator().manual_seed(0)
        >>> both = Refined(CEM(200, 20, std=3.0), LBFGS(), steps=8)
        >>> found = minimize(Rastrigin(), start, both, generator=g, max_steps=30, tol=1e-3)
        >>> found.reasons, bool(found.energy < 1e-5)
        (['gradient'], True)
    """

    population = True  # compares energies, so that +inf and NaN at the start are fine; `init` asks `refine`
    differentiable = False

    def __init__(self, search: Method, refine: Method, steps: int = 5):
        if not isinstance(search, Method) or not search.population or search.discrete:
            raise TypeError(f"Refined begins with a population search, such as ICEM(); got {search!r}.")
        if not isinstance(refine, Method) or refine.population or refine.discrete:
            raise TypeError(f"Refined ends with a gradient method, such as LBFGS(); got {refine!r}.")
        self.search, self.refine, self.steps = search, refine, count("steps", steps)

    def init(self, problem: Problem, u: Tensor) -> State:
        check_suits(self.refine, problem)
        inner = self.search.init(problem, u)
        age = torch.zeros(len(u), dtype=torch.int64, device=u.device)
        return {**_seen(inner), **_inside(inner), "age": age}

    def step(self, problem: Problem, state: State) -> State:
        age = state["age"] + 1
        now = int(age[0])  # all rows of a solve are of one age
        if now > self.steps:
            inner = self.refine.step(problem, _outside(state))
            return {**_seen(inner), **_inside(inner), "age": age}
        inner = self.search.step(problem, _outside(state))
        best = _better(_seen(inner), {n: state[n] for n in _seen(inner)})
        if now == self.steps:
            inner = self.refine.init(problem, best["u"])
            best = _seen(inner)
        return {**best, **_inside(inner), "age": age}

    def verdict(self, state: State, tol: float) -> Tensor:
        if int(state["age"][0]) < self.steps:
            return torch.zeros(len(state["u"]), dtype=torch.uint8, device=state["u"].device)
        return self.refine.verdict(_outside(state), tol)


PREFIX = "method's "


def _seen(inner: State) -> State:
    return {name: inner[name] for name in ("u", "value", "violation", "slack") if name in inner}


def _inside(inner: State) -> State:
    return {PREFIX + name: entry for name, entry in inner.items()}


def _outside(state: State) -> State:
    return {n.removeprefix(PREFIX): entry for n, entry in state.items() if n.startswith(PREFIX)}


def _better(new: State, old: State) -> State:
    """The lower of two points of each row, by (violation, energy)."""
    energy, violation = without_nan(old["value"], old.get("violation"))
    keep = lower(new["value"], new.get("violation"), energy, violation)
    return {name: torch.where(expand(keep, entry), entry, old[name]) for name, entry in new.items()}

"""The improved cross-entropy method: CEM with colored noise, fewer samples at every step, and elites kept.

    x_i = μ_k + σ_k · ε_i,   ε_i with S(f) ∝ f^(-β) along time,   i = 1..max(2M, N γ^(-k))
    μ_{k+1}, σ_{k+1} = (1-α) (mean, std of the M elites) + α (μ_k, σ_k)

The candidates of a step are these samples, the best of the last step's elites, and the mean. On sequences
of actions it needs far fewer samples than CEM: most of the noise goes into slow pushes, which move the state.

Reference: Pinneri, Sawant, Blaes, Achterhold, Stueckler, Rolinek, Martius (2020), "Sample-efficient
cross-entropy method for real-time planning", sect. 3 and algorithm 1 (arXiv:2008.06389).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.infer.cem import Spread, check_spread, compete, fitted, shares, spread_of
from ebm.infer.method import Method, State, fraction, positive, stop_where
from ebm.infer.powerlaw import colored
from ebm.problem import Problem
from ebm.rows import flat
from ebm.solution import Stop


class ICEM(Method):
    """CEM on sequences: noise colored along time, a shrinking population, and elites that compete again.

    (μ, σ) ← (1-α)·(mean, std of the M elites of max(2M, N γ^(-k)) samples) + α·(μ, σ), from μ = the start.

    A variable is a sequence along its first dimension after the batch, (B, T, ...), and its other entries
    have noise of their own. Bounds are those of the energy's Box (or another set): candidates are projected
    into it. The mean is a candidate for the answer in every step, not only in the last, and never an elite;
    the answer is the best of all candidates. Ranking, constraints and energies that are not finite are as in
    `CEM`. Shifting a plan from one moment to the next belongs to who acts, and comes in as the start. A row
    ends by "spread" when max σ <= tol.

    Args:
        num_samples: N, samples a row in the first step.
        num_elites: M in [1, N].
        std: σ at the start, as in `CEM`; for bounded actions about half of half their range.
        exponent: β >= 0 of the noise; 0 is white, 2 to 4 suits masses that are pushed.
        decay: γ >= 1, by which the samples shrink a step, to 2M at least.
        keep: the share of the elites, in [0, 1], that compete again in the next step.
        smoothing: α in [0, 1), the share of the old mean and σ that stays.
        min_std: σ is never below it.

    Raises:
        ValueError: for a setting out of its range, or a `std` of another shape.

    Example:
        A mass is pushed from 0 to 1, where it shall come to rest:

        >>> from ebm import energy, minimize
        >>> from ebm.regularizers import Box
        >>> @energy
        ... def landing(push):                                                 # (B, T)
        ...     speed = 0.2 * push.cumsum(1)
        ...     place = 0.2 * speed.cumsum(1)
        ...     return (place[:, -1] - 1) ** 2 + speed[:, -1] ** 2 + 0.001 * (push**2).sum(1)
        >>> still, g = torch.zeros(1, 20), torch.Generator().manual_seed(0)
        >>> plan = minimize(landing + Box("push", -1.0, 1.0), still, ICEM(), max_steps=10, generator=g)
        >>> bool(plan.energy < 0.01), bool(plan.value.abs().max() <= 1)
        (True, True)
    """

    population = True
    differentiable = False

    def __init__(
        self,
        num_samples: int = 40,
        num_elites: int = 10,
        std: Spread | Mapping[str, Spread] = 0.5,
        exponent: float = 3.0,
        decay: float = 1.25,
        keep: float = 0.3,
        smoothing: float = 0.1,
        min_std: float = 0.0,
    ):
        self.num_samples, self.num_elites = shares(num_samples, num_elites)
        self.std, self.exponent = check_spread("std", std), float(positive("exponent", exponent, zero=True))
        if not 1 <= decay < float("inf"):
            raise ValueError(f"decay must be at least 1, which keeps the number of samples; got {decay}.")
        if not 0 <= keep <= 1:
            raise ValueError(f"keep is a share of the elites, in [0, 1]; got {keep}.")
        self.decay, self.kept = decay, int(keep * num_elites)
        self.smoothing = fraction("smoothing", smoothing)
        self.min_std = float(positive("min_std", min_std, zero=True))

    def init(self, problem: Problem, u: Tensor) -> State:
        age = torch.zeros(len(u), dtype=torch.int64, device=u.device)
        spread = spread_of(problem, u, self.std, "std")
        state = {"u": u, "value": problem.value(u), "mean": u, "std": spread, "age": age}
        violation = problem.violation(u)
        return state if violation is None else {**state, "violation": violation}

    def step(self, problem: Problem, state: State) -> State:
        mean, std, age = state["mean"], state["std"], state["age"]
        samples = mean.unsqueeze(1) + std.unsqueeze(1) * colored(
            problem, mean, self._number(age), self.exponent
        )
        kept = [state["kept"]] if "kept" in state else []
        candidates = torch.cat([mean.unsqueeze(1), samples, *kept], 1)  # (B, 1 + N_k + kept, *shape)
        candidates = problem.project(candidates.flatten(0, 1)).view_as(candidates)
        new, elites, usable = compete(problem, candidates, self.num_elites)
        new["mean"], width = fitted(elites, usable, mean, std, self.smoothing)
        new["std"], new["age"] = width.clamp(min=self.min_std), age + 1
        if self.kept:
            new["kept"] = elites[:, : self.kept]
        return new

    def verdict(self, state: State, tol: float) -> Tensor:
        return stop_where(flat(state["std"]).amax(1) <= tol, Stop.SPREAD)

    def _number(self, age: Tensor) -> int:
        """The samples of a step; all rows of a solve are of one age."""
        shrunk = int(self.num_samples * self.decay ** -int(age[0]))
        return min(self.num_samples, max(2 * self.num_elites, shrunk))

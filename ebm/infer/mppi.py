"""Model predictive path integral control: move to the average of random tries, weighted by exp(-energy / λ).

    ε_i ~ N(0, diag σ²),   v_i = u + ε_i, projected into the bounds,   ε_i ← v_i - u,   i = 1..N
    S_i = E(v_i) + c λ uᵀ Σ⁻¹ ε_i,        w = softmax(-S / λ),         u ← u + Σ_i w_i ε_i

The weights are those of importance sampling: the average is the mean of p(v) ∝ exp(-E(v) / λ) under the noise
around u as its prior. λ → 0 takes the best try alone, λ → ∞ the plain mean. λ divides; the "temperature" of
TD-MPC and of what comes from it multiplies, 0.5 there being λ = 2 here.

Reference: Williams, Wagener, Goldfain, Drews, Rehg, Boots, Theodorou (2017), "Information theoretic MPC for
model-based reinforcement learning", algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.infer.cem import Spread, check_spread, spread_of
from ebm.infer.method import Method, State, count, positive, stop_where
from ebm.infer.powerlaw import colored
from ebm.problem import Problem
from ebm.rows import expand, flat
from ebm.solution import Stop


class MPPI(Method):
    """Average random tries by their energies, u ← u + Σ_i w_i ε_i with w = softmax(-S / λ).

    Candidates are projected into the set of a Box, Ball, Simplex or Sphere term, and their noise is what is
    left of it then. A try whose energy is not finite has weight 0; where no try is finite, u stays. With
    constraints only the tries that violate them least have a weight. The answer is u, the average, whose
    energy is looked at as well: best of all steps, never worse than the start.

    `Solution.report["effective_sample_size"]` is 1 / Σ_i w_i² in [1, N] of a row's last step: near 1 the
    average is one try, so λ is small for this noise; near N nothing was learned, so λ is large.

    Args:
        num_samples: N, tries a row and step.
        temperature: λ > 0, in units of the energy, one number or one per row (B,).
        std: σ of the noise, as in `CEM`.
        exponent: β >= 0 of noise that is colored along the first dimension of a variable, as in `ICEM`; 0 is
            white.
        coupling: c in [0, 1]: how much of the price of leaving the prior N(0, Σ) of actions is added; 1 is
            the original algorithm, 0 leaves the price of actions to the energy. Needs white noise.
        shrink: in (0, 1], by which σ is multiplied after each step, and λ by its square, so that tries go on
            to be told apart as σ² falls; below 1 a row ends by "spread" once max σ <= tol.

    Raises:
        ValueError: for a setting out of its range, or a `std` of another shape.

    Example:
        >>> from ebm import energy, minimize
        >>> @energy
        ... def valley(y):
        ...     return ((y - 1) ** 2).sum(1)
        >>> start, g = torch.zeros(1, 2), torch.Generator().manual_seed(0)
        >>> found = minimize(valley, start, MPPI(500, temperature=0.1), max_steps=20, generator=g)
        >>> bool(found.energy < 0.01), found.report["effective_sample_size"].shape
        (True, torch.Size([1]))
    """

    population = True
    differentiable = False
    reports = ("effective_sample_size",)

    def __init__(
        self,
        num_samples: int = 200,
        temperature: float | Tensor = 1.0,
        std: Spread | Mapping[str, Spread] = 1.0,
        exponent: float = 0.0,
        coupling: float = 0.0,
        shrink: float = 1.0,
    ):
        self.num_samples = count("num_samples", num_samples)
        self.temperature = positive("temperature", temperature)
        self.std, self.exponent = check_spread("std", std), float(positive("exponent", exponent, zero=True))
        if not 0 <= coupling <= 1:
            raise ValueError(f"coupling is a share, in [0, 1]; got {coupling}.")
        if coupling and exponent:
            raise ValueError(
                f"coupling takes noise of a diagonal Σ, and that of colored noise is not; got "
                f"coupling={coupling} with exponent={exponent}. Leave one of them 0."
            )
        if not 0 < shrink <= 1:
            raise ValueError(f"shrink multiplies σ and lies in (0, 1]; got {shrink}.")
        self.coupling, self.shrink = coupling, shrink

    def init(self, problem: Problem, u: Tensor) -> State:
        value = problem.value(u)
        state = {"u": u, "value": value, "std": spread_of(problem, u, self.std, "std")}
        temperature = problem.per_row(self.temperature)
        temperature = torch.as_tensor(temperature, dtype=value.dtype, device=value.device)
        state["temperature"] = temperature.expand(len(u))
        state["effective_sample_size"] = torch.full_like(value, torch.nan)  # nothing was weighed yet
        violation = problem.violation(u)
        return state if violation is None else {**state, "violation": violation}

    def step(self, problem: Problem, state: State) -> State:
        u, std = state["u"], state["std"]
        noise = std.unsqueeze(1) * colored(problem, u, self.num_samples, self.exponent)
        tries = (u.unsqueeze(1) + noise).flatten(0, 1)
        tries = problem.project(tries).view_as(noise)  # (B, N, *shape)
        noise = tries - u.unsqueeze(1)
        energies, violations = problem.candidates(tries)
        usable = energies.isfinite()
        if violations is not None:
            violations = violations.where(usable, torch.inf)
            least = violations.amin(1, keepdim=True)
            usable = usable & (violations == least) & least.isfinite()
        weights = self._weights(state, energies, usable, noise)
        each = weights.view(*weights.shape, *(1,) * (u.ndim - 1))
        average = u + (each * noise.where(each > 0, 0.0)).sum(1)  # a try of NaN times 0 would be NaN
        new = self._settled(problem, average, tries, energies, usable)
        size = 1 / weights.square().sum(1)
        new |= {"std": self.shrink * std, "temperature": self.shrink**2 * state["temperature"]}
        return {**new, "effective_sample_size": size.where(usable.any(1), 0.0)}

    def verdict(self, state: State, tol: float) -> Tensor:
        return stop_where(flat(state["std"]).amax(1) <= tol, Stop.SPREAD)

    def _weights(self, state: State, energies: Tensor, usable: Tensor, noise: Tensor) -> Tensor:
        """softmax(-S / λ) over the usable tries, (B, N); all 0 where there is none."""
        scores = -energies / state["temperature"].unsqueeze(1)
        if self.coupling:
            price = (state["u"] / state["std"] ** 2).unsqueeze(1) * noise
            scores = scores - self.coupling * price.reshape(*scores.shape, -1).sum(2)
        return scores.masked_fill(~usable, -torch.inf).softmax(1).masked_fill(~usable, 0.0)

    @staticmethod
    def _settled(problem: Problem, average: Tensor, tries: Tensor, energies: Tensor, usable: Tensor) -> State:
        """The average with its energy; where that is not finite, the best try; where there is none, u."""
        value, violation = problem.value(average), problem.violation(average)
        astray = ~value.isfinite() & usable.any(1)
        if bool(astray.any()):
            best = tries[torch.arange(len(tries)), energies.masked_fill(~usable, torch.inf).argmin(1)]
            average = torch.where(expand(astray, average), best, average)
            value, violation = problem.value(average), problem.violation(average)
        new = {"u": average, "value": value}
        return new if violation is None else {**new, "violation": violation}

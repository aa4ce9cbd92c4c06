"""Energy matching: one potential, a straight way to the data from afar and a density close by.

    L = L_flow + λ L_CD
    L_flow = ⟨ |∇E(y_t) + (y - ξ)|² ⟩,        y_t = (1 - t) ξ + t y,  t ~ U(0, 1),  ξ ~ N(0, I)
    L_CD = ⟨E(y)⟩ - ⟨E(y⁻)⟩,        y⁻ where a heated flow leads, half of them from the data, half from the
    prior

First λ = 0: points of the prior are paired with data such that the ways are shortest in all (optimal
transport), and -∇E learns the velocity along them. There is no clock in E: a potential that does not depend
on t can do so because optimal ways don't cross. Then λ > 0: at the data the potential becomes that of a
density, p ∝ exp(-E/ε_max), by contrastive divergence with the flow's own ends as negatives.

What it costs: L_flow as denoising score matching, plus the pairing (exact, on the CPU); L_CD `flow.steps`
gradients more. When it fails: pairs within a batch are only nearly optimal, the less so the more dimensions;
and before the second phase the energy has no meaning as a density.

Reference: Balcerak et al. (2025), "Energy Matching: Unifying Flow Matching and Energy-Based Models for
Generative Modeling"; pairs within a batch: Tong et al. (2023), "Improving and Generalizing Flow-Based
Generative Models with Minibatch Optimal Transport".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.heated_flow import HeatedFlow
from ebm.contrastive.optimal_pairs import optimal_pairs
from ebm.contrastive.points import Points, on_and_off
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import number, positive
from ebm.loss import Loss, LossOutput
from ebm.parts import constant
from ebm.rows import dot, expand

PAIRINGS = ("optimal", "independent")


class EnergyMatching(Loss):
    """L = ⟨|∇E(y_t) + (y - ξ)|²⟩ + max(λ(⟨E(y)⟩ - ⟨E(y⁻)⟩), -floor).

    Terms: the energy on the data; off it, that of the negatives, of the prior's points while λ = 0; "flow",
    L_flow, a sum over the D entries of a row; and with negatives "contrast", ⟨E(y)⟩ - ⟨E(y⁻)⟩.

    Args:
        contrast: λ >= 0; 0 in the first phase, about 1e-3 in the second.
        flow: how negatives are found, step size, steps, τ and ε_max.
        floor: the contrast stops to count (and to have a gradient) once λ L_CD is below minus this, so that
            it can't run away; None for no floor.
        pairing: "optimal" within the batch; "independent" pairs at random, which is cheaper and bends ways.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: if a setting is out of range; on a call, for optimal pairs of data that hold NaN.
        TypeError: on a call, for discrete data.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def slide(y):  # the straight way to the right, at speed 3
        ...     return -3 * y.sum(1)
        >>> far = torch.full((20_000, 1), 3.0)  # the data are one point
        >>> g = torch.Generator().manual_seed(0)
        >>> round(EnergyMatching(pairing="independent")(slide, g, y=far).loss.item(), 1)  # ⟨ξ²⟩
        1.0
    """

    def __init__(
        self,
        contrast: float = 0.0,
        flow: HeatedFlow | None = None,
        *,
        floor: float | None = 0.02,
        pairing: str = "optimal",
        variable: str = "y",
    ):
        super().__init__()
        self.contrast = number("contrast", contrast, zero=True)
        if floor is not None:
            positive("floor", floor, zero=True)
        if pairing not in PAIRINGS:
            raise ValueError(f"pairing is one of {', '.join(PAIRINGS)}; got {pairing!r}.")
        self.flow = HeatedFlow() if flow is None else flow
        if not isinstance(self.flow, HeatedFlow):
            raise TypeError(f"flow is a HeatedFlow(step_size, steps, ...); got {flow!r}.")
        self.floor, self.pairing, self.variable = floor, pairing, variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        y = points.y
        prior = torch.empty_like(y).normal_(generator=generator)
        if self.pairing == "optimal":
            prior = prior[optimal_pairs(y, prior)]
        share = y.new_empty(len(y)).uniform_(generator=generator)
        t = expand(share, y)
        there = Slopes(points, (1 - t) * prior + t * y)
        residual = there.gradient + (y - prior)
        matched = dot(residual, residual).mean()
        if not self.contrast:
            with torch.no_grad():
                on_data, off_data = points.energy(y), points.energy(prior)
            return LossOutput(matched, {**on_and_off(on_data, off_data), "flow": matched.detach()})
        with constant(energy):
            negatives = self.negatives(points, prior, generator)
        on_data, off_data = points.energies(torch.stack([y, negatives], 1)).unbind(1)
        contrast = on_data.mean() - off_data.mean()
        pulled = self.contrast * contrast
        if self.floor is not None:
            pulled = pulled.clamp(min=-self.floor)
        terms = on_and_off(on_data, off_data)
        return LossOutput(
            matched + pulled, {**terms, "flow": matched.detach(), "contrast": contrast.detach()}
        )

    def negatives(self, points: Points, prior: Tensor, generator: torch.Generator | None) -> Tensor:
        """Where the flow leads: of the first half of rows from the data, of the second from the prior."""
        half = len(points.y) // 2
        every = torch.arange(len(points.y), device=points.y.device)
        problem = points.problem(generator=generator)
        warm = self.flow.follow(problem.rows(every[:half]), points.y[:half], time=1.0)
        cold = self.flow.follow(problem.rows(every[half:]), prior[half:], time=0.0)
        return torch.cat([warm, cold])

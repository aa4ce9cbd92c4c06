"""Equilibrium matching: one landscape whose slopes lead from noise to data, and end there.

    L = ⟨ |∇E(y_γ) - (ε - y) c(γ)|² ⟩,        y_γ = γ y + (1 - γ) ε,  ε ~ N(0, I),  γ ~ U(0, 1)
    c(γ) = λ min(1, (1 - γ)/(1 - a))

Between noise (γ = 0) and data (γ = 1) the energy is to rise toward the noise, with a slope that is told by
where y_γ is and not by γ: the energy has no clock. Near the data the slope fades, c(1) = 0, so data are where
the landscape is flat: equilibria. One samples by plain descent, with any step and any stopping rule,

    y ← y - η ∇E(y):        minimize(E, noise, GradientDescent(η), max_steps=250)

What it costs: two passes backward, as denoising score matching, and no chain. When it fails: where ways to
different data cross, the slope is their mean and points between them; and E is no -log p, neither its scale
nor the depths of its minima are probabilities.

The sign here is that of an energy: -∇E points from noise to data. (The authors' code regresses the negative,
and steps uphill.) A gradient has no curl, so a network that is no energy may fit slightly better.

Reference: Wang & Du (2025), "Equilibrium Matching: Generative Modeling with Implicit Energy-Based Models".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.points import Points, gap_terms
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import fraction, number
from ebm.loss import Loss, LossOutput
from ebm.rows import dot, expand


class EquilibriumMatching(Loss):
    """L = ⟨|∇E(y_γ) - (ε - y)c(γ)|²⟩, a sum over the D entries of a row and a mean over rows.

    The energy off the data is that of the points y_γ.

    Args:
        fade: a in [0, 1): where, on the way to the data, slopes begin to fade.
        slope: λ > 0, how steep the landscape is before.
        variable: the variable of the energy that is data; all others are given.
        show_gap: evaluate the data as well, without a gradient, so that the energy gap is reported.

    Raises:
        ValueError: if a setting is out of range.
        TypeError: on a call, for discrete data.

    Example:
        >>> loss = EquilibriumMatching(fade=0.8, slope=4.0)
        >>> loss.steepness(torch.tensor([0.0, 0.5, 1.0]))
        tensor([4., 4., 0.])
    """

    def __init__(self, fade: float = 0.8, slope: float = 4.0, *, variable: str = "y", show_gap: bool = True):
        super().__init__()
        self.fade, self.slope = fraction("fade", fade), number("slope", slope)
        self.variable, self.show_gap = variable, show_gap

    def steepness(self, gamma: Tensor) -> Tensor:
        """c(γ), like γ in [0, 1]."""
        return self.slope * ((1 - gamma) / (1 - self.fade)).clamp(max=1.0)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        y = points.y
        noise = torch.empty_like(y).normal_(generator=generator)
        gamma = y.new_empty(len(y)).uniform_(generator=generator)
        way = expand(gamma, y)
        there = Slopes(points, way * y + (1 - way) * noise)
        residual = there.gradient - expand(self.steepness(gamma), y) * (noise - y)
        loss = dot(residual, residual).mean()
        return LossOutput(loss, gap_terms(points, there.value, self.show_gap))

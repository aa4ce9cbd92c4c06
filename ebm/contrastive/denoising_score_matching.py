"""Denoising score matching: the slope of the energy is to point from the data to where noise took them.

    J = ½⟨|∇E(ỹ) - (ỹ - y)/σ²|²⟩,        ỹ = y + σ ε,  ε ~ N(0, I)

The score of the blurred data p_σ = p * N(0, σ²I) at ỹ is the mean of (y - ỹ)/σ² over all y that may have
become ỹ, and a regression on y finds means: at its smallest, -∇E = ∇ log p_σ. No second derivatives, so ReLUs
will do, and it costs about as much as two plain training steps.

When it fails: the energy learned is that of the blurred data, E = -log p_σ + c, wider by σ² in every
direction; a small σ blurs little, but its targets ε/σ are noisy, and nothing is learned further from the data
than a few σ. `AnnealedScoreMatching` takes many σ at once.

At its smallest J is not 0: for data N(0, I) the energy ½|ỹ|²/(1 + σ²) gives D / (2σ²(1 + σ²)). The units are
those of the formula; some codes multiply the residual by σ², that is J by σ⁴.

Reference: Vincent (2011), "A Connection Between Score Matching and Denoising Autoencoders", sect. 4.
"""

from __future__ import annotations

from typing import Any

import torch

from ebm.contrastive.points import Points, gap_terms
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.loss import Loss, LossOutput
from ebm.rows import half_mean_distance


class DenoisingScoreMatching(Loss):
    """J = ½⟨|∇E(ỹ) - ε/σ|²⟩, a sum over the D entries of a row and a mean over rows.

    The energy off the data is that of the points ỹ.

    Args:
        scale: σ > 0, in units of the data.
        variable: the variable of the energy that is data; all others are given.
        show_gap: evaluate the data as well, without a gradient, so that the energy gap is reported.

    Raises:
        ValueError: if the scale isn't positive.
        TypeError: on a call, for discrete data.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1) / 1.25
        >>> g = torch.Generator().manual_seed(0)
        >>> y = torch.randn(100_000, 1, generator=g)
        >>> round(DenoisingScoreMatching(0.5)(bowl, g, y=y).loss.item(), 1)  # 1 / (2 · 0.25 · 1.25)
        1.6
    """

    def __init__(self, scale: float, *, variable: str = "y", show_gap: bool = True):
        super().__init__()
        self.scale, self.variable = number("scale", scale), variable
        self.show_gap = show_gap

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        noise = torch.empty_like(points.y).normal_(generator=generator)
        there = Slopes(points, torch.add(points.y, noise, alpha=self.scale))
        loss = half_mean_distance(there.gradient, noise * (1 / self.scale))
        return LossOutput(loss, gap_terms(points, there.value, self.show_gap))

"""Score matching at many levels of noise: one energy E(y, σ) for the data blurred at every scale.

    J = ½⟨ σ^p |∇_y E(ỹ, σ) - ε/σ|² ⟩,        ỹ = y + σ ε,  σ one of σ_1 > ... > σ_L for each row

A small σ learns fine detail near the data and nothing elsewhere; a large one learns where the data lie as
seen from afar. With p = 2 the term is ½|σ∇E - ε|², alike in size at every level, and none drowns the others.
A sampler begins at the largest σ, where modes flow into one another, and follows the levels down
(`ebm.infer.annealed_langevin`): what keeps plain Langevin in one mode is not there at σ_1.

When it fails: E(·, σ) are energies of different densities, so their values at two levels don't compare;
levels too far apart leave the sampler of one level where the next has not learned.

Reference: Song & Ermon (2019), "Generative Modeling by Estimating Gradients of the Data Distribution", sect.
4.2 (there for a network that is no gradient).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.points import Points, gap_terms, in_full
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import Loss, LossOutput
from ebm.rows import expand, half_mean_distance
from ebm.signature import describe


class AnnealedScoreMatching(Loss):
    """J = ½⟨σ^p |∇_y E(ỹ, σ) - ε/σ|²⟩, with a level for each row at random.

    The loss itself gives the energy its variable σ, a number a row, (B,).

    Args:
        levels: σ_1, ..., σ_L, all positive, in units of the data; `geometric_levels(1.0, 0.01, 10)`.
        power: p; 2 makes all levels alike in size, 0 is a plain mean of `DenoisingScoreMatching`.
        variable: the variable of the energy that is data.
        level: the variable of the energy that is the scale of the noise.
        show_gap: evaluate the data as well, without a gradient, so that the energy gap is reported.

    Raises:
        ValueError: if a level isn't positive.
        TypeError: on a call, for discrete data, an energy without the variable `level`, or data that has it.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def blurred(y, sigma):  # that of data N(0, 1)
        ...     return 0.5 * (y**2).sum(1) / (1 + sigma**2)
        >>> g = torch.Generator().manual_seed(0)
        >>> y = torch.randn(100_000, 1, generator=g)
        >>> round(AnnealedScoreMatching([1.0, 0.5])(blurred, g, y=y).loss.item(), 1)  # ⟨½ / (1 + σ²)⟩
        0.3
    """

    levels: Tensor

    def __init__(
        self,
        levels: Tensor | Sequence[float],
        power: float = 2.0,
        *,
        variable: str = "y",
        level: str = "sigma",
        show_gap: bool = True,
    ):
        super().__init__()
        scales = torch.as_tensor(levels, dtype=torch.float64).clone()
        if scales.ndim != 1 or not len(scales) or not bool((scales > 0).all() and scales.isfinite().all()):
            raise ValueError(f"levels are positive standard deviations, (L,), one at least; got {levels}.")
        self.register_buffer("levels", scales, persistent=False)
        self.power, self.variable, self.level = float(power), variable, level
        self.show_gap = show_gap

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if self.level not in energy.variables:
            raise TypeError(
                f"AnnealedScoreMatching needs an energy of the noise's scale {self.level!r}, (B,), too; "
                f"{describe(energy)}. For one scale alone: DenoisingScoreMatching(scale)."
            )
        if self.level in data:
            raise TypeError(f"AnnealedScoreMatching draws {self.level!r} for each row; leave it out.")
        y = data.get(self.variable)
        sigma = self.levels  # where y is not what it should be, which `Points` will say
        if isinstance(y, Tensor) and y.ndim > 0 and y.is_floating_point():
            sigma = self._draw(y, generator)
        points = Points(self, energy, self.variable, {**data, self.level: sigma}, generator)
        noise = torch.empty_like(points.y).normal_(generator=generator)
        scale = expand(sigma, noise)
        there = Slopes(points, torch.addcmul(points.y, scale, noise))
        slope, target = scale * there.gradient, noise  # σ∇E and σ ε/σ: no small σ makes them large
        if self.power != 2:
            weight = in_full(scale) ** (self.power / 2 - 1)
            slope, target = weight * slope, weight * target
        loss = half_mean_distance(slope, target)
        return LossOutput(loss, gap_terms(points, there.value, self.show_gap))

    def _draw(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        home = y.device if generator is None else generator.device
        levels = self.levels
        index = torch.randint(levels.shape[0], y.shape[:1], generator=generator, device=home)
        return levels.to(y).index_select(0, index.to(y.device))


def geometric_levels(largest: float, smallest: float, number: int) -> Tensor:
    """σ_i = σ_1 (σ_L/σ_1)^((i - 1)/(L - 1)), (L,), float64: each level the same factor below the last.

    Args:
        largest, smallest: σ_1 > σ_L > 0.
        number: L >= 2.

    Raises:
        ValueError: if they are in another order.

    Example:
        >>> geometric_levels(1.0, 0.01, 3)
        tensor([1.0000, 0.1000, 0.0100], dtype=torch.float64)
    """
    if not largest > smallest > 0:
        raise ValueError(f"levels fall from largest to smallest > 0; got {largest} and {smallest}.")
    share = torch.linspace(0, 1, count("number", number, 2), dtype=torch.float64)
    return largest * (smallest / largest) ** share

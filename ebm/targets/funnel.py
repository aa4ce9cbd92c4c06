"""Neal's funnel: the width of the other coordinates changes by orders of magnitude along the first.

    E(y) = v²/(2s²) + ½ (D - 1) v + ½ exp(-v) Σ_{d>1} y_d²,        v = y_1

Any one step size is too long in the neck or too short in the mouth. The lowest energy lies deep in the neck,
far from where the probability is: minimizing and sampling are not the same question.

Reference: Neal (2003), "Slice sampling", sect. 8 (s = 3, D = 10).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, positive


class Funnel(Target):
    """Neal's funnel: v ~ N(0, s²), and given v the other coordinates are independent N(0, exp(v)).

    E(y) = v²/(2s²) + ½ (D - 1) v + ½ exp(-v) Σ_{d>1} y_d², v = y_1. Minimum -s² (D - 1)²/8 at v = -½ s² (D -
    1), all others 0; log Z = log s + ½ D log 2π; mean 0; variances s² and exp(s²/2), the lognormal's mean.

    Args:
        dim: D, at least 2.
        scale: s, the standard deviation of the log variance v, positive.

    Raises:
        ValueError: if `dim` is below 2 or `scale` is not positive.

    Example:
        >>> target = Funnel(dim=2, scale=2.0)
        >>> target.minima, target.minimum
        (tensor([[-2.,  0.]]), -0.5)
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2, scale: float = 3.0):
        super().__init__(dim)
        if dim < 2:
            raise ValueError(f"Funnel needs dim >= 2, the log variance and one more; got dim={dim}.")
        (self.scale,) = positive("Funnel", scale=scale)

    def forward(self, y: Tensor) -> Tensor:
        v, others = y[:, 0], y[:, 1:]
        squares = others.square().sum(1)
        return 0.5 * ((v / self.scale) ** 2 + (self.dim - 1) * v + torch.exp(-v) * squares)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient (v/s² + ½ (D - 1) - ½ exp(-v) Σ y_d², exp(-v) y_d), (B, D)."""
        v, others = y[:, :1], y[:, 1:]
        pull = torch.exp(-v) * others
        work = (pull * others).sum(1, keepdim=True)
        energy = 0.5 * ((v / self.scale) ** 2 + (self.dim - 1) * v + work)
        return energy.squeeze(1), torch.cat([v / self.scale**2 + 0.5 * (self.dim - 1 - work), pull], 1)

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_tensor([[-0.5 * self.scale**2 * (self.dim - 1)] + [0.0] * (self.dim - 1)])

    @property
    def minimum(self) -> float:
        return -((self.scale * (self.dim - 1)) ** 2) / 8

    @property
    def log_z(self) -> float:
        return math.log(self.scale) + 0.5 * self.dim * math.log(2 * math.pi)

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_zeros(self.dim)

    @property
    def covariance(self) -> Tensor:
        variances = [self.scale**2] + [math.exp(self.scale**2 / 2)] * (self.dim - 1)
        return torch.diag(self._anchor.new_tensor(variances))

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """v, then the others given v, (n, D)."""
        noise = self._normal(n, self.dim, generator=generator)
        v = self.scale * noise[:, :1]
        return torch.cat([v, torch.exp(0.5 * v) * noise[:, 1:]], 1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Three standard deviations of v, and the others' width two standard deviations up."""
        reach = 3 * math.exp(self.scale)
        return (-3 * self.scale, 3 * self.scale, -reach, reach)

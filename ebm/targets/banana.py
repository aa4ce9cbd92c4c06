"""The banana: a Gaussian bent along a parabola, so that a curved ridge has every answer of the straight one.

    E(y) = y_1²/(2s²) + ½ (y_2 + b (y_1² - s²))² + ½ Σ_{d>2} y_d²

Bending moves each y_2 by an amount that depends on y_1 only; its Jacobian has determinant 1 and keeps Z.

Reference: Haario, Saksman, Tamminen (1999), "Adaptive proposal distribution for random walk Metropolis
algorithm" (s = 10, b = 0.03 and 0.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, positive


class Banana(Target):
    """A Gaussian with variances (s², 1, ..., 1), its second coordinate moved by -b (y_1² - s²).

    E(y) = y_1²/(2s²) + ½ (y_2 + b (y_1² - s²))² + ½ Σ_{d>2} y_d². Minimum 0 at (0, b s², 0, ...);
    log Z = log s + ½ D log 2π; mean 0; variances s², 1 + 2b²s⁴, 1, ..., and no correlation.

    Args:
        dim: D, at least 2.
        scale: s, the standard deviation along the banana, positive.
        bend: b, the curvature; 0 leaves a Gaussian, its sign says which way the ends point.

    Raises:
        ValueError: if `dim` is below 2, `scale` is not positive or `bend` is not finite.

    Example:
        >>> target = Banana(scale=2.0, bend=0.5)
        >>> target.minima
        tensor([[0., 2.]])
        >>> target.covariance.diagonal()
        tensor([4., 9.])
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2, scale: float = 2.0, bend: float = 0.5):
        super().__init__(dim)
        if dim < 2:
            raise ValueError(f"Banana needs dim >= 2, one coordinate to bend along another; got dim={dim}.")
        (self.scale,) = positive("Banana", scale=scale)
        if not math.isfinite(bend):
            raise ValueError(f"Banana needs a finite bend; got bend={bend!r}.")
        self.bend = float(bend)

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * self._straighten(y).square().sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient (y_1/s² + 2b y_1 u, u, y_3, ...) u = y_2 + b (y_1² - s²), (B, D)."""
        u = self._straighten(y)
        first = u[:, :1] / self.scale + 2 * self.bend * y[:, :1] * u[:, 1:2]
        return 0.5 * u.square().sum(1), torch.cat([first, u[:, 1:]], 1)

    def _straighten(self, y: Tensor) -> Tensor:
        """The standard normal coordinates of y, (B, D)."""
        along = y[:, :1]
        across = y[:, 1:2] + self.bend * (along**2 - self.scale**2)
        return torch.cat([along / self.scale, across, y[:, 2:]], 1)

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_tensor([[0.0, self.bend * self.scale**2] + [0.0] * (self.dim - 2)])

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return math.log(self.scale) + 0.5 * self.dim * math.log(2 * math.pi)

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_zeros(self.dim)

    @property
    def covariance(self) -> Tensor:
        variances = [self.scale**2, 1 + 2 * self.bend**2 * self.scale**4] + [1.0] * (self.dim - 2)
        return torch.diag(self._anchor.new_tensor(variances))

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the straight Gaussian, bent, (n, D)."""
        u = self._normal(n, self.dim, generator=generator)
        along = self.scale * u[:, :1]
        return torch.cat([along, u[:, 1:2] - self.bend * (along**2 - self.scale**2), u[:, 2:]], 1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Three standard deviations along the banana, and the tips and back that come with them."""
        ends = sorted([-8 * self.bend * self.scale**2, self.bend * self.scale**2])
        return (-3 * self.scale, 3 * self.scale, ends[0] - 3, ends[1] + 3)

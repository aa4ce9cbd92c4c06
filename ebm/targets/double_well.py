"""The double well: two minima a coordinate with a barrier between them, the smallest test of mixing.

    E(y) = h Σ_d (y_d² - 1)²

At ±1 the energy is 0, on the barrier at 0 it is h. A chain that crosses each barrier visits all 2^D minima.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ebm.targets.target import Target, accept, positive


class DoubleWell(Target):
    """A double well in every coordinate.

    E(y) = h Σ_d (y_d² - 1)²; minima at the 2^D sign vectors; mean 0. With I Bessel's modified function,
    Z^{1/D} = ½π exp(-h/2) [I_{-1/4}(h/2) + I_{1/4}(h/2)]; it and the variance are computed by the trapezoid
    rule, which converges faster than any power on a smooth decaying integrand, to 12 digits or more.

    Args:
        dim: D, at least 1.
        height: h, the energy on the barrier, positive.

    Raises:
        ValueError: if `height` is not positive; from `minima` if D > 16 (2^D of them: use
        `distance_to_minima`).

    Example:
        >>> target = DoubleWell(dim=1, height=3.0)
        >>> target(y=torch.tensor([[-1.0], [0.0], [1.0]]))
        tensor([0., 3., 0.])
        >>> target.minima
        tensor([[-1.],
                [ 1.]])
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2, height: float = 1.0):
        super().__init__(dim)
        (self.height,) = positive("DoubleWell", height=height)

    def forward(self, y: Tensor) -> Tensor:
        return self.height * (y**2 - 1).square().sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient 4h (y² - 1) y, (B, D)."""
        u = y**2 - 1
        return self.height * u.square().sum(1), 4 * self.height * u * y

    @property
    def minima(self) -> Tensor:
        """The 2^D sign vectors, (2^D, D)."""
        if self.dim > 16:
            raise ValueError(
                f"DoubleWell(dim={self.dim}) has 2^{self.dim} minima (all sign vectors), too many to list; "
                f"use distance_to_minima(y)."
            )
        return self._anchor.new_tensor(list(itertools.product((-1.0, 1.0), repeat=self.dim)))

    def distance_to_minima(self, y: Tensor) -> Tensor:
        """| |y| - 1 |, the modulus taken by coordinate, (B,)."""
        return torch.linalg.vector_norm(y.abs() - 1, dim=1)

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return self.dim * math.log(self._integrals()[0])

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_zeros(self.dim)

    @property
    def covariance(self) -> Tensor:
        z, second = self._integrals()
        return torch.diag(self._anchor.new_full((self.dim,), second / z))

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Rejection by coordinate, (n, D).

        Where y >= 0, (y² - 1)² >= (y - 1)², so exp(-h (y - 1)²) is an envelope; a random sign then brings
        back y < 0.
        """

        def propose(m: int) -> tuple[Tensor, Tensor]:
            y = 1 + self._normal(m, generator=generator) / math.sqrt(2 * self.height)
            chance = torch.exp(-self.height * ((y**2 - 1) ** 2 - (y - 1) ** 2))
            return y, (y >= 0) & (self._uniform(m, generator=generator) < chance)

        modulus = accept(n * self.dim, propose).reshape(n, self.dim)
        return torch.where(self._uniform(n, self.dim, generator=generator) < 0.5, -modulus, modulus)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-2.0, 2.0, -2.0, 2.0)

    def _integrals(self) -> tuple[float, float]:
        """∫ exp(-h (y² - 1)²) dy and ∫ y² exp(-h (y² - 1)²) dy, by the trapezoid rule on y >= 0."""
        h = self.height
        reach = math.sqrt(745 / h)  # where |y² - 1| is larger, exp(-E) is 0 in float64
        start, end = math.sqrt(max(0.0, 1 - reach)), math.sqrt(1 + reach)
        step = min(0.1 * h**-0.25, 0.08 * h**-0.5)  # finer than a well, or than the whole for small h
        y = torch.linspace(start, end, math.ceil((end - start) / step), dtype=torch.float64)
        density = 2 * torch.exp(-h * (y**2 - 1) ** 2)
        return float(torch.trapezoid(density, y)), float(torch.trapezoid(y**2 * density, y))

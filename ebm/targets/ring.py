"""The ring: the minima form a circle, so no single point is the answer.

    E(y) = (|y| - R)² / (2 w²),        y ∈ ℝ²

Whatever averages over its solutions answers with the center, where the energy is high: the picture of why a
prediction of many-valued data needs an energy or a latent, not a mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, accept, positive


class Ring(Target):
    """A ring in the plane.

    E(y) = (|y| - R)² / (2 w²). With a = R/w, g = exp(-a²/2) and G = √(π/2) (1 + erf(a/√2)),
    Z = 2π w² (g + a G) and ⟨|y|²⟩ = w² ((a³ + 3a) G + (a² + 2) g) / (g + a G); mean 0, covariance ½ ⟨|y|²⟩ I.
    At the center the energy has a kink; its gradient there is reported as 0.

    Args:
        radius: R, positive.
        width: w, the standard deviation of |y| about R for w much smaller than R, positive.

    Raises:
        ValueError: if `radius` or `width` is not positive.

    Example:
        >>> target = Ring(radius=2.0, width=0.5)
        >>> target(y=torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        tensor([0., 8.])
        >>> target.distance_to_minima(torch.tensor([[0.0, 3.0]]))
        tensor([1.])
    """

    closed_form = ("y",)

    def __init__(self, radius: float = 2.0, width: float = 0.25):
        super().__init__(dim=2)
        self.radius, self.width = positive("Ring", radius=radius, width=width)

    def forward(self, y: Tensor) -> Tensor:
        return ((torch.linalg.vector_norm(y, dim=1) - self.radius) / self.width).square() / 2

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient (|y| - R) / w² · y/|y|, (B, 2)."""
        r = torch.linalg.vector_norm(y, dim=1, keepdim=True)
        u = (r - self.radius) / self.width
        return 0.5 * u.square().squeeze(1), u / self.width * y / r.clamp(min=torch.finfo(y.dtype).tiny)

    @property
    def minima(self) -> Tensor:
        """64 points evenly on the circle |y| = R, (64, 2), the first at (R, 0)."""
        angle = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
        return (self.radius * torch.stack([angle.cos(), angle.sin()], 1)).to(self._anchor)

    def distance_to_minima(self, y: Tensor) -> Tensor:
        """| |y| - R |, (B,): the distance to the whole circle, not to the 64 points."""
        return (torch.linalg.vector_norm(y, dim=1) - self.radius).abs()

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return math.log(2 * math.pi * self.width**2 * self._radial()[0])

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_zeros(2)

    @property
    def covariance(self) -> Tensor:
        first, third = self._radial()
        return torch.eye(2).to(self._anchor) * (0.5 * self.width**2 * third / first)

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """A uniform angle and a radius by rejection, (n, 2).

        The radius has density ∝ r exp(-(r - R)²/2w²), highest at r* = (R + √(R² + 4w²))/2. As log is concave,
        r <= r* exp(r/r* - 1), and with that bound in place of r the density is the Gaussian N(r*, w²),
        exactly.
        """
        peak = 0.5 * (self.radius + math.sqrt(self.radius**2 + 4 * self.width**2))

        def propose(m: int) -> tuple[Tensor, Tensor]:
            r = peak + self.width * self._normal(m, generator=generator)
            return r, self._uniform(m, generator=generator) < r / peak * torch.exp(1 - r / peak)

        angle = 2 * math.pi * self._uniform(n, generator=generator)
        return accept(n, propose).unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        reach = self.radius + 4 * self.width
        return (-reach, reach, -reach, reach)

    def _radial(self) -> tuple[float, float]:
        """∫ (a + t) exp(-t²/2) dt and ∫ (a + t)³ exp(-t²/2) dt over t > -a, where |y| = w (a + t)."""
        a = self.radius / self.width
        g, area = math.exp(-(a**2) / 2), math.sqrt(math.pi / 2) * (1 + math.erf(a / math.sqrt(2)))
        return g + a * area, (a**3 + 3 * a) * area + (a**2 + 2) * g

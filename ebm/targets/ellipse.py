"""The ellipse: a latent-variable energy small enough to do on paper.

    E(y, z) = |y - g(z)|²,        g(z) = (w_1 cos z, w_2 sin z),        z ∈ [0, 2π)

Free energies, with ⟨·⟩_z the mean over z: F_∞(y) = min_z E(y, z), F_β(y) = -(1/β) log ⟨exp(-βE(y, z))⟩_z, and
their limit F_0(y) = ⟨E(y, z)⟩_z. Few of them have a closed form; this file holds those that do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ebm.targets.target import Target, finite


class Ellipse(Target):
    """The squared distance from a point y (B, 2) to the point g(z) of an ellipse at angle z (B, 1).

    E(y, z) = (y_1 - w_1 cos z)² + (y_2 - w_2 sin z)². Minimum 0 all along the ellipse. With z integrated out,
    y is g(z) for uniform z plus N(0, ½ I): log Z = log ∫∫ exp(-E) dy dz = log 2π², mean 0, covariance
    ½ I + ½ diag(w²).

    Args:
        weights: w, two numbers: half the widths of the ellipse, to be learned (a parameter, `weights`).

    Raises:
        TypeError: if `weights` is a tensor of integers.
        ValueError: if `weights` are not two finite numbers, or z is not (B, 1).

    Example:
        >>> target = Ellipse()
        >>> y = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> target(y=y, z=torch.zeros(2, 1)).tolist()
        [0.0, 4.0]
        >>> target(y=y, z=target.infer(y)).detach()  # F_∞; at the center the smallest w_i², not infinity
        tensor([0.0000, 2.2500])
    """

    def __init__(self, weights: Sequence[float] | Tensor = (2.0, 1.5)):
        if not isinstance(weights, Tensor):
            weights = torch.tensor([float(w) for w in weights])
        if weights.shape != (2,):
            raise ValueError(f"Ellipse needs two weights, (w_1, w_2); got {weights.tolist()}.")
        super().__init__(dim=2, like=finite("Ellipse", "weights", weights))
        self.weights = nn.Parameter(weights.detach().clone())

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (y - self.decode(z)).square().sum(1)

    def decode(self, z: Tensor) -> Tensor:
        """g(z) = (w_1 cos z, w_2 sin z), the point of the ellipse at angle z, (B, 1) -> (B, 2)."""
        if z.ndim != 2 or z.shape[1] != 1:
            raise ValueError(f"Ellipse takes one angle a row, z of shape (B, 1); got {tuple(z.shape)}.")
        return self.weights * torch.cat([z.cos(), z.sin()], 1)

    def angles(self, n: int = 48) -> Tensor:
        """n values of z evenly over [0, 2π), (n, 1); means over them approach those over all z very fast."""
        return (2 * math.pi / n * torch.arange(n, dtype=torch.float64)).to(self._anchor).unsqueeze(1)

    @torch.no_grad()
    def infer(self, y: Tensor) -> Tensor:
        """argmin_z E(y, z) in [0, 2π], (B, 2) -> (B, 1), by bisection to rounding.

        By symmetry the nearest point lies in y's own quadrant; take y and w without their signs. There

            ½ ∂E/∂z = w_1 y_1 sin z - w_2 y_2 cos z - (w_1² - w_2²) sin z cos z,

        and divided by sin z cos z > 0 this grows with z: E falls, then rises, and the sign of ∂E/∂z says on
        which side of the minimum z is.
        """
        w, signs = self.weights.abs(), torch.where(y * self.weights < 0, -1.0, 1.0).to(y)
        (p, q), spread = (w * y.abs()).unbind(1), w[0] ** 2 - w[1] ** 2
        low, high = torch.zeros_like(p), torch.full_like(p, math.pi / 2)
        for _ in range(60):
            z = 0.5 * (low + high)
            rising = p * z.sin() - q * z.cos() - spread * z.sin() * z.cos() > 0
            low, high = torch.where(rising, low, z), torch.where(rising, z, high)
        z = torch.atan2(signs[:, 1] * low.sin(), signs[:, 0] * low.cos())
        return z.remainder(2 * math.pi).unsqueeze(1)

    def mean_energy(self, y: Tensor) -> Tensor:
        """F_0(y) = |y|² + ½ (w_1² + w_2²), (B,): a bowl, whatever the shape of the ellipse."""
        return y.square().sum(1) + 0.5 * self.weights.square().sum()

    def free_energy_at_center(self, beta: float) -> Tensor:
        """F_β(0) = min_i w_i² - (1/β) log [exp(-βδ) I_0(βδ)], δ = ½ |w_1² - w_2²|; beta in [0, inf]."""
        if not beta >= 0:
            raise ValueError(f"free_energy_at_center needs beta in [0, inf]; got beta={beta!r}.")
        squares = self.weights.square()
        if beta == 0:
            return squares.mean()
        if math.isinf(beta):
            return squares.min()
        return squares.min() - torch.special.i0e(beta * 0.5 * (squares[0] - squares[1])).log() / beta

    @staticmethod
    def critical_beta(y: Tensor) -> float:
        """1 / (2 max_i ⟨y_i²⟩) of data y (N, 2): training w on the mean F_β collapses to w = 0 below it.

        As w → 0, F_β(y) = |y|² + Σ_i w_i² (½ - β y_i²) + O(w⁴): w = 0 is a minimum until β passes this value.
        """
        return 0.5 / float(y.square().mean(0).max())

    @property
    def minima(self) -> Tensor:
        """The ellipse at the 48 `angles`, (48, 2)."""
        return self.decode(self.angles()).detach()

    def distance_to_minima(self, y: Tensor) -> Tensor:
        """The distance to the whole ellipse, √F_∞(y), (B,)."""
        return torch.linalg.vector_norm(y - self.decode(self.infer(y)), dim=1)

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return math.log(2 * math.pi**2)

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_zeros(2)

    @property
    def covariance(self) -> Tensor:
        return torch.diag(0.5 + 0.5 * self.weights.detach().square())

    @torch.no_grad()
    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """A uniform angle, then Gaussian noise of variance ½ about its point, (n, 2)."""
        z = 2 * math.pi * self._uniform(n, 1, generator=generator)
        return self.decode(z) + self._normal(n, 2, generator=generator) / math.sqrt(2)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        a, b = (1.5 * abs(w) + 0.5 for w in self.weights.tolist())
        return (-a, a, -b, b)


def ellipse_data(
    n: int = 24,
    axes: tuple[float, float] = (2.0, 1.5),
    noise: float = 0.05,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Points near an ellipse, y = (a_1 cos t, a_2 sin t) + N(0, noise² I), t uniform on [0, 2π), (n, 2).

    Args:
        n: number of points.
        axes: a, half the widths of the ellipse.
        noise: standard deviation of the noise, in the units of the axes.
        generator: source of the draws; the points are on its device.
        dtype: of the points; the default dtype if None.

    Example:
        >>> ellipse_data(generator=torch.Generator().manual_seed(0)).shape
        torch.Size([24, 2])
    """
    device = None if generator is None else generator.device
    t = 2 * math.pi * torch.rand(n, 1, generator=generator, dtype=dtype, device=device)
    points = torch.cat([axes[0] * t.cos(), axes[1] * t.sin()], 1)
    return points + noise * torch.randn(n, 2, generator=generator, dtype=dtype, device=device)

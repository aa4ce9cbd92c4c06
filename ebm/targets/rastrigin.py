"""Rastrigin's function: a bowl under a cosine, one global minimum among many local ones.

    E(y) = Σ_d y_d² + A (1 - cos 2πy_d)

Following the gradient ends in the nearest dimple; only methods that look farther find 0.

Reference: Rastrigin (1974), "Systems of extremal control", for D = 2; Mühlenbein, Schomisch, Born (1991) for
any D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, accept, positive


class Rastrigin(Target):
    """Rastrigin's function.

    E(y) = Σ_d y_d² + A (1 - cos 2πy_d); minimum 0 at 0; mean 0. From exp(A cos θ) = I_0(A) + 2 Σ_k I_k(A) cos
    kθ, Z^{1/D} = √π exp(-A) [I_0(A) + 2 Σ_k exp(-π²k²) I_k(A)] and ⟨y_d²⟩ Z^{1/D} = √π exp(-A) [½ I_0(A) +
    Σ_k (1 - 2π²k²) exp(-π²k²) I_k(A)]; the terms from k = 2 on are below 1e-15 and left out.

    Args:
        dim: D, at least 1.
        amplitude: A, positive; the ripple is 2A high, and beyond about 0.23 it makes local minima.

    Raises:
        ValueError: if `amplitude` is not positive.

    Example:
        >>> target = Rastrigin(dim=2)
        >>> target(y=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]])).round(decimals=3)
        tensor([ 0.0000,  1.0000, 20.2500])
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2, amplitude: float = 10.0):
        super().__init__(dim)
        (self.amplitude,) = positive("Rastrigin", amplitude=amplitude)

    def forward(self, y: Tensor) -> Tensor:
        # 1 - cos 2x = 2 sin² x, without its cancellation near the minimum
        return (y**2 + 2 * self.amplitude * torch.sin(math.pi * y) ** 2).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient 2y + 2πA sin 2πy, (B, D)."""
        return self.forward(y), 2 * y + 2 * math.pi * self.amplitude * torch.sin(2 * math.pi * y)

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_zeros(1, self.dim)

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
        """Rejection by coordinate from the bowl N(0, ½), kept with chance exp(-A (1 - cos 2πy)), (n, D)."""

        def propose(m: int) -> tuple[Tensor, Tensor]:
            y = self._normal(m, generator=generator) / math.sqrt(2)
            chance = torch.exp(-self.amplitude * (1 - torch.cos(2 * math.pi * y)))
            return y, self._uniform(m, generator=generator) < chance

        return accept(n * self.dim, propose).reshape(n, self.dim)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The customary square, ±5.12."""
        return (-5.12, 5.12, -5.12, 5.12)

    def _integrals(self) -> tuple[float, float]:
        """∫ exp(-E) dy and ∫ y² exp(-E) dy of one coordinate."""
        a = torch.tensor(self.amplitude, dtype=torch.float64)
        i0, i1 = float(torch.special.i0e(a)), float(torch.special.i1e(a))  # exp(-A) I_k(A)
        damped = math.exp(-(math.pi**2)) * i1
        root = math.sqrt(math.pi)
        return root * (i0 + 2 * damped), root * (0.5 * i0 + (1 - 2 * math.pi**2) * damped)

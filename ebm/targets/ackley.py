"""Ackley's function: a nearly flat plain of dimples around one sharp funnel.

    E(y) = -20 exp(-0.2 √⟨y²⟩) - exp ⟨cos 2πy⟩ + 20 + e,        ⟨·⟩ the mean over the D coordinates

Far out the gradient says next to nothing about where the minimum is; at the minimum itself it jumps.

Reference: Ackley (1987), "A Connectionist Machine for Genetic Hillclimbing", for D = 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target


class Ackley(Target):
    """Ackley's function.

    E(y) = -20 exp(-0.2 √⟨y²⟩) - exp ⟨cos 2πy⟩ + 20 + e; minimum 0 at 0. It stays below 20 + e, so exp(-E) has
    an infinite integral: there is no p, log Z and the moments are None. At 0 it has a kink; the gradient
    there is reported as 0.

    Args:
        dim: D, at least 1.

    Example:
        >>> Ackley(dim=2)(y=torch.tensor([[0.0, 0.0], [1.0, 1.0]])).round(decimals=4).abs()
        tensor([0.0000, 3.6254])
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2):
        super().__init__(dim)

    def forward(self, y: Tensor) -> Tensor:
        # expm1 and cos x - 1 = -2 sin²(x/2) take 20 + e off by algebra, so near 0 the energy keeps its digits
        bowl = 20 * torch.expm1(-0.2 * torch.linalg.vector_norm(y, dim=1) / math.sqrt(self.dim))
        ripple = math.e * torch.expm1(-2 * torch.sin(math.pi * y).square().mean(1))
        return -bowl - ripple

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient (4/Dr) exp(-0.2 r) y + (2π/D) exp⟨cos 2πy⟩ sin 2πy, r² = ⟨y²⟩."""
        norm = torch.linalg.vector_norm(y, dim=1, keepdim=True)
        bowl = torch.expm1(-0.2 * norm / math.sqrt(self.dim))  # (B, 1)
        sine = torch.sin(math.pi * y)
        ripple = torch.expm1(-2 * sine.square().mean(1, keepdim=True))  # (B, 1)
        direction = y / norm.clamp(min=torch.finfo(y.dtype).tiny)
        gradient = 4 / math.sqrt(self.dim) * (bowl + 1) * direction
        gradient = gradient + 4 * math.pi * math.e / self.dim * (ripple + 1) * sine * torch.cos(math.pi * y)
        return -(20 * bowl + math.e * ripple).squeeze(1), gradient

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_zeros(1, self.dim)

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-5.0, 5.0, -5.0, 5.0)

"""A problem with known answers for losses on bits: a chain of spins, whose couplings are to be found.

    E_θ(y) = -Σ_i θ_{i mod P} s_i s_{i+1},        s = 2y - 1,  y ∈ {0, 1}^D

The bonds t_i = s_i s_{i+1} are independent, p(t_i = 1) = σ(2θ_i), so exact data are quickly drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.testing.loss_problem import LossProblem


class SpinChain(Energy):
    """E(y) = -Σ_i θ_{i mod P} s_i s_{i+1} of an open chain, any number of bits.

    Args:
        couplings: P, how many there are; zeros at first, for not all losses are convex far from the truth.
    """

    def __init__(self, couplings: int):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(couplings, dtype=torch.float64))

    def forward(self, y: Tensor) -> Tensor:
        s = 2 * y - 1
        bonds = s[:, 1:] * s[:, :-1]
        return -bonds @ self.theta[torch.arange(bonds.shape[1], device=y.device) % len(self.theta)]


class Spins(LossProblem):
    """Bits along a chain, whose couplings are to be found.

    Args:
        more: bits besides the P + 1 that P couplings need.
    """

    def __init__(self, more: int = 0):
        self.more = more

    def energy(self, dim: int) -> Energy:
        return SpinChain(dim)

    def data(self, dim: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        theta = self.truth(dim)[torch.arange(dim + self.more) % dim]
        chance = torch.rand(rows, dim + self.more + 1, generator=generator, dtype=torch.float64)
        bonds = 2 * (chance[:, 1:] < torch.sigmoid(2 * theta)).double() - 1
        first = 2 * (chance[:, :1] < 0.5).double() - 1
        return {"y": (torch.cat([first, first * bonds.cumprod(1)], 1) + 1) / 2}

    def truth(self, dim: int) -> Tensor:
        return torch.linspace(0.5, -0.3, dim, dtype=torch.float64)

"""Problems with known answers for losses: data from a density whose parameters a loss has to find again.

    E_θ(y) = ½ Σ_k θ_k (q_kᵀy)²,        data N(0, Q diag(1/θ*) Qᵀ),        θ* the precisions
    E_θ(x, y) = -θ_1 x·y + ½ θ_2 |y|²,   (x, y) of correlation ρ,  θ* = (ρ, ρ²)/(1 - ρ²)
    E_θ(y) = ½|y|² + log(1 + e^{θ_2}) - log(e^{θ_1 y_1 + θ_2} + e^{-θ_1 y_1}) + ½θ_1²,      data of two modes

The second is that of pairs, where log p(y|x)/p(y) is what can be learned. The third has modes at ±θ_1 along
the first axis, the one on the right with the weight σ(θ_2).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ebm.energy import Energy

CORRELATION = 0.6


class LossProblem(ABC):
    """An energy with parameters θ, and data for which they are known."""

    variable: str = "y"

    @abstractmethod
    def energy(self, dim: int) -> Energy:
        """A fresh energy in float64, whose first parameter is θ, all ones."""

    @abstractmethod
    def data(self, dim: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Data in float64, variables by name."""

    @abstractmethod
    def truth(self, dim: int) -> Tensor:
        """θ*."""


class Ellipsoid(Energy):
    """E(y) = ½ Σ_k θ_k (q_kᵀy)², with its log Z = ½ Σ_k log(2π/θ_k).

    Args:
        dim: D.
    """

    axes: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.theta = nn.Parameter(torch.ones(dim, dtype=torch.float64))
        self.register_buffer("axes", axes(dim))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * ((y @ self.axes).square() * self.theta).sum(1)

    @property
    def log_z(self) -> Tensor:
        """½ Σ_k log(2π/θ_k), with a gradient."""
        return 0.5 * (math.log(2 * math.pi) - self.theta.log()).sum()


class Renamed(Ellipsoid):
    """The same energy over a variable that is not called y."""

    def forward(self, signal: Tensor) -> Tensor:
        return Ellipsoid.forward(self, signal)


class Weighed(Ellipsoid):
    """The same energy times a given number a row."""

    def forward(self, y: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        return weight * Ellipsoid.forward(self, y)


class Correlated(Energy):
    """E(x, y) = -θ_1 x·y + ½ θ_2 |y|²."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.theta[0] * (x * y).sum(1) + 0.5 * self.theta[1] * y.square().sum(1)


class Precisions(LossProblem):
    """Gaussian data, whose precisions are to be found."""

    def energy(self, dim: int) -> Energy:
        return Ellipsoid(dim)

    def data(self, dim: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
        return {"y": noise / self.truth(dim).sqrt() @ axes(dim).T}

    def truth(self, dim: int) -> Tensor:
        return torch.linspace(1.6, 0.7, dim, dtype=torch.float64)


class Blurred(Precisions):
    """The same for an energy of y and of the standard deviation of noise: θ_k/(1 + θ_k σ²) at each level."""

    def energy(self, dim: int) -> Energy:
        return BlurredEllipsoid(dim)


class BlurredEllipsoid(Ellipsoid):
    """E(y, σ) = ½ Σ_k (q_kᵀy)² θ_k / (1 + θ_k σ²)."""

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:  # type: ignore[override]
        precision = self.theta / (1 + self.theta * sigma.unsqueeze(1) ** 2)
        return 0.5 * ((y @ self.axes).square() * precision).sum(1)


class Correlations(LossProblem):
    """Pairs of Gaussian points, D independent entries each, of correlation ρ."""

    def energy(self, dim: int) -> Energy:
        return Correlated()

    def data(self, dim: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        x, noise = torch.randn(2, rows, dim, generator=generator, dtype=torch.float64)
        return {"x": x, "y": CORRELATION * x + math.sqrt(1 - CORRELATION**2) * noise}

    def truth(self, dim: int) -> Tensor:
        ratio = torch.tensor([CORRELATION, CORRELATION**2], dtype=torch.float64)
        return ratio / (1 - CORRELATION**2)


class TwoModes(Energy):
    """E(y) = -log Σ of the modes N(±θ_1 e_1, I), weights σ(±θ_2), times (2π)^{D/2}: log Z = ½ D log 2π."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))

    def forward(self, y: Tensor) -> Tensor:
        place, odds = self.theta
        on_the_right = -0.5 * (y[:, 0] - place).square() + nn.functional.logsigmoid(odds)
        on_the_left = -0.5 * (y[:, 0] + place).square() + nn.functional.logsigmoid(-odds)
        return 0.5 * y[:, 1:].square().sum(1) - torch.logaddexp(on_the_right, on_the_left)


class Modes(LossProblem):
    """Data of two modes that overlap, whose place and weight are to be found."""

    def energy(self, dim: int) -> Energy:
        return TwoModes()

    def data(self, dim: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        y = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
        place, odds = self.truth(dim)
        right = torch.rand(rows, generator=generator, dtype=torch.float64) < odds.sigmoid()
        y[:, 0] += torch.where(right, place, -place)
        return {"y": y}

    def truth(self, dim: int) -> Tensor:
        return torch.tensor([1.4, 0.8], dtype=torch.float64)


def box(generator: torch.Generator) -> Tensor:
    """Points of the square [-4, 4]², (512, 2)."""
    return 8 * torch.rand(512, 2, generator=generator, dtype=torch.float64) - 4


def prior(generator: torch.Generator) -> Tensor:
    """Points from N(0, I), (512, 2)."""
    return torch.randn(512, 2, generator=generator, dtype=torch.float64)


def axes(dim: int) -> Tensor:
    """Orthonormal columns q_k, (D, D), none of which is a coordinate axis."""
    k = torch.arange(dim, dtype=torch.float64)
    u = (1 + 0.3 * k).unsqueeze(1)
    return torch.eye(dim, dtype=torch.float64) - 2 * u @ u.T / u.square().sum()

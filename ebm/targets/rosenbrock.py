"""Rosenbrock's valley: easy to enter, slow to follow.

    E(y) = Σ_{d<D} c (y_{d+1} - y_d²)² + (1 - y_d)²

The floor of the valley is curved and far flatter along than across: a step safe across is tiny along.

Reference: Rosenbrock (1960), "An automatic method for finding the greatest or least value of a function", for
D = 2 and c = 100; Kok, Sandrock (2009), "Locating and characterizing the stationary points of the extended
Rosenbrock function", for any D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.targets.target import Target, positive


class Rosenbrock(Target):
    """Rosenbrock's function in any number of coordinates.

    E(y) = Σ_{d<D} c (y_{d+1} - y_d²)² + (1 - y_d)²; minimum 0 at (1, ..., 1), with a second, local minimum
    near (-1, 1, ..., 1) for D from 4 to 7. For D = 2, p is y_1 ~ N(1, ½) and y_2 ~ N(y_1², 1/2c): log Z =
    log(π/√c), mean (1, 3/2), variances ½ and 5/2 + 1/2c, covariance 1. Beyond D = 2 no closed form is known:
    the answers are None.

    Args:
        dim: D, at least 2.
        curvature: c, how much steeper the valley is across than along, positive.

    Raises:
        ValueError: if `dim` is below 2 or `curvature` is not positive; from `exact_samples` if D > 2.

    Example:
        >>> target = Rosenbrock(dim=2)
        >>> target(y=torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, 2.0]]))
        tensor([  0.,   1., 104.])
        >>> Rosenbrock(dim=3).log_z is None
        True
    """

    closed_form = ("y",)

    def __init__(self, dim: int = 2, curvature: float = 100.0):
        super().__init__(dim)
        if dim < 2:
            raise ValueError(f"Rosenbrock needs dim >= 2, since it ties neighbors together; got dim={dim}.")
        (self.curvature,) = positive("Rosenbrock", curvature=curvature)

    def forward(self, y: Tensor) -> Tensor:
        across, along = y[:, 1:] - y[:, :-1] ** 2, 1 - y[:, :-1]
        return (self.curvature * across**2 + along**2).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient 2c u_{d-1} - 4c u_d y_d - 2 (1 - y_d), u_d = y_{d+1} - y_d², (B, D)."""
        head = y[:, :-1]
        across, along = y[:, 1:] - head**2, 1 - head
        pull = 2 * self.curvature * across
        gradient = torch.zeros_like(y)
        gradient[:, 1:] = pull
        gradient[:, :-1] -= 2 * (pull * head + along)
        return (self.curvature * across**2 + along**2).sum(1), gradient

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_ones(1, self.dim)

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float | None:
        return math.log(math.pi) - 0.5 * math.log(self.curvature) if self.dim == 2 else None

    @property
    def mean(self) -> Tensor | None:
        return self._anchor.new_tensor([1.0, 1.5]) if self.dim == 2 else None

    @property
    def covariance(self) -> Tensor | None:
        if self.dim > 2:
            return None
        return self._anchor.new_tensor([[0.5, 1.0], [1.0, 2.5 + 0.5 / self.curvature]])

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """y_1, then y_2 given y_1, (n, 2); for D = 2 only."""
        if self.dim > 2:
            return super().exact_samples(n, generator)
        u = self._normal(n, 2, generator=generator) / math.sqrt(2)
        y1 = 1 + u[:, 0]
        return torch.stack([y1, y1**2 + u[:, 1] / math.sqrt(self.curvature)], 1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-2.0, 2.0, -1.0, 3.0)

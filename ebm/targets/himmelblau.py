"""Himmelblau's function: four minima of equal depth, so the answer depends on where the search starts.

    E(y) = (y_1² + y_2 - 11)² + (y_1 + y_2² - 7)²

Reference: Himmelblau (1972), "Applied Nonlinear Programming".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.targets.target import Target

# Roots of y_1² + y_2 = 11, y_1 + y_2² = 7, by Newton's method in 40 digits.
MINIMA = (
    (3.0, 2.0),
    (-2.80511808695274485305, 3.13131251825057296580),
    (-3.77931025337774689189, -3.28318599128616941227),
    (3.58442834033049174494, -1.84812652696440355354),
)
# Integrals over the plane by the trapezoid rule; steps of 0.02, 0.01 and 0.005 agree to the digits given.
LOG_Z = -0.898679212271081
MEAN = (0.84215573243871, 0.30283618097367)
COVARIANCE = ((9.96848898777490, -0.00503522579682), (-0.00503522579682, 6.01347181825277))


class Himmelblau(Target):
    """Himmelblau's function of two coordinates.

    E(y) = (y_1² + y_2 - 11)² + (y_1 + y_2² - 7)²; minimum 0 at four points, (3, 2) the only one of integers.
    log Z, mean and covariance are known by quadrature, to 13 digits; exact samples are not known.

    Example:
        >>> target = Himmelblau()
        >>> target(y=torch.tensor([[3.0, 2.0], [0.0, 0.0]]))
        tensor([  0., 170.])
        >>> target.minima.shape
        torch.Size([4, 2])
    """

    closed_form = ("y",)

    def __init__(self) -> None:
        super().__init__(dim=2)

    def forward(self, y: Tensor) -> Tensor:
        y1, y2 = y.unbind(1)
        return (y1**2 + y2 - 11) ** 2 + (y1 + y2**2 - 7) ** 2

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient (4 y_1 u + 2 v, 2 u + 4 y_2 v), u and v the two brackets, (B, 2)."""
        y1, y2 = y.unbind(1)
        u, v = y1**2 + y2 - 11, y1 + y2**2 - 7
        return u**2 + v**2, torch.stack([4 * y1 * u + 2 * v, 2 * u + 4 * y2 * v], 1)

    @property
    def minima(self) -> Tensor:
        return self._anchor.new_tensor(MINIMA)

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def log_z(self) -> float:
        return LOG_Z

    @property
    def mean(self) -> Tensor:
        return self._anchor.new_tensor(MEAN)

    @property
    def covariance(self) -> Tensor:
        return self._anchor.new_tensor(COVARIANCE)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-5.0, 5.0, -5.0, 5.0)

"""VICReg: views agree, every dimension varies, no two dimensions vary together.

    L = λ s(Z, Z') + μ ½ [v(Z) + v(Z')] + ν [c(Z) + c(Z')]

    s = (1/ND) Σ |Z - Z'|²                            invariance
    v = (1/D) Σ_i max(0, γ - √(Var Z_i + ε))          variance: a hinge, nothing is gained beyond γ
    c = (1/D) Σ_{i≠j} Cov(Z)_ij²                      covariance

The first term alone is smallest for an encoder that maps everything to one code (complete collapse); the
second forbids that, but not that all dimensions say the same (dimensional collapse); the third does.

Value and weights are those of the authors' code. The paper's equations have Σ |z - z'|² / N for s and v + v'
without the half: its λ is λ / D here and its μ is μ / 2, so that "25, 25, 1" there and here are two losses.

Reference: Bardes, Ponce, LeCun (2021), "VICReg: Variance-Invariance-Covariance Regularization for
Self-Supervised Learning", eq. 1 to 6.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ebm.infer.method import positive
from ebm.joint.covariance import covariance
from ebm.joint.criterion import Criterion
from ebm.loss import LossOutput


class VICReg(Criterion):
    """L = λ s(Z, Z') + μ ½ [v(Z) + v(Z')] + ν [c(Z) + c(Z')] of the codes of two views, (N, D) each.

    The terms "invariance", "variance" and "covariance" are s, ½ (v + v') and c + c'.

    Args:
        invariance: λ >= 0.
        variance: μ >= 0.
        covariance: ν >= 0.
        std: γ > 0, the standard deviation that every dimension should have at least.
        eps: ε > 0, added to the variance: the root has no slope at 0.

    Raises:
        ValueError: if a setting is out of its range; on a call, see `Criterion`.

    Reference: Bardes, Ponce, LeCun (2021), "VICReg", eq. 6.

    Example:
        >>> whitened = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> VICReg()(whitened, whitened).loss
        tensor(0.)
        >>> VICReg()(whitened, 0.5 * whitened).terms
        {'invariance': tensor(0.2500), 'variance': tensor(0.2113), 'covariance': tensor(0.)}
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        std: float = 1.0,
        eps: float = 1e-4,
    ):
        super().__init__()
        self.invariance = positive("invariance", invariance, zero=True)
        self.variance = positive("variance", variance, zero=True)
        self.covariance = positive("covariance", covariance, zero=True)
        self.std, self.eps = positive("std", std), positive("eps", eps)

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = codes
        invariance = mse_loss(x, y)
        (variance_x, covariance_x), (variance_y, covariance_y) = covariance(x), covariance(y)
        variance = hinge(torch.stack([variance_x, variance_y]), self.std, self.eps)
        together = (covariance_x + covariance_y) / x.shape[1]
        loss = self.invariance * invariance + self.variance * variance + self.covariance * together
        terms = {"invariance": invariance, "variance": variance, "covariance": together}
        return LossOutput(loss, {name: term.detach() for name, term in terms.items()})


def hinge(variance: Tensor, std: float | Tensor, eps: float | Tensor) -> Tensor:
    """The mean of max(0, γ - √(variance + ε)): by how much standard deviations fall short of γ.

    Example:
        >>> hinge(torch.tensor([0.25, 4.0]), std=1.0, eps=0.0)
        tensor(0.2500)
    """
    return torch.relu(std - torch.sqrt(variance + eps)).mean()

"""Barlow Twins: the correlation matrix of two views should be the identity.

    C = X̂ᵀŶ / N,        L = Σ_i (1 - C_ii)² + λ Σ_{i≠j} C_ij²

X̂ and Ŷ are the views' codes with each dimension standardized over the batch, (x - mean) / √(Var + ε), Var
divided by N. The first sum makes views agree, the second makes the dimensions say different things; a
dimension that has collapsed correlates with nothing and costs 1. Mean and scale of a dimension drop out.

Equals the authors' code: sums over the dimensions, not means, λ = 0.0051, ε = 1e-5 as in a batch
normalization. Other code divides Var by N - 1 (then C_ii can't reach 1), or scales the loss by 0.025.

Reference: Zbontar, Jing, Misra, LeCun, Deny (2021), "Barlow Twins: Self-Supervised Learning via Redundancy
Reduction", eq. 1 and 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from ebm.infer.method import positive
from ebm.joint.covariance import correlation
from ebm.joint.criterion import Criterion
from ebm.loss import LossOutput


class BarlowTwins(Criterion):
    """L = Σ_i (1 - C_ii)² + λ Σ_{i≠j} C_ij² of the codes of two views, (N, D) each, standardized.

    The terms "invariance" and "redundancy" are the two sums.

    Args:
        redundancy: λ >= 0.
        eps: ε > 0, added to the variance.

    Raises:
        ValueError: if a setting is out of its range; on a call, see `Criterion`.

    Reference: Zbontar, Jing, Misra, LeCun, Deny (2021), "Barlow Twins", eq. 1.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> BarlowTwins(eps=1e-9)(z, 3 * z + 1).loss, BarlowTwins(eps=1e-9)(z, -z).loss
        (tensor(0.), tensor(8.))
    """

    def __init__(self, redundancy: float = 0.0051, eps: float = 1e-5):
        super().__init__()
        self.redundancy = positive("redundancy", redundancy, zero=True)
        self.eps = float(positive("eps", eps))

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = (batch_norm(z, None, None, training=True, eps=self.eps) for z in codes)
        agreement, redundancy = correlation(x, y)
        invariance = (1 - agreement).square().sum()
        terms = {"invariance": invariance.detach(), "redundancy": redundancy.detach()}
        return LossOutput(invariance + self.redundancy * redundancy, terms)

"""VICReg-exp and VICReg-ctr: two steps on the way from VICReg to SimCLR.

    L = λ s(Z, Z') + μ ½ [v(M) + v(M')] + ν [c(M) + c(M')],    M a symmetric K × K matrix of each view's codes

    v(M) = (1/K) Σ_i max(0, γ - √(M_ii + ε)),        c(M) = (1/K) Σ_i log Σ_{j≠i} exp(M_ij / τ)

    VICReg-exp    M = Z̄ᵀZ̄ / (N-1)     covariances, K = D: dimensions repel each other
    VICReg-ctr    M = Z̄Z̄ᵀ / D         Gram matrix, K = N: examples repel each other, which is contrastive

Z̄ = Z - mean over the batch, s = |Z - Z'|² / ND. Against VICReg, the squares became a log-sum-exp, and then
the codes were transposed. The exponent has a sign: it rewards what is anticorrelated, so uncorrelated
dimensions are no minimum (c = log(K - 1) there, for every τ). No D × D matrix is avoided in VICReg-exp.

Two choices are ours. The transposed codes are not centered again, over the dimensions of each example: the
paper's own use of the transpose (eq. 8) has the plain Gram matrix, whose diagonal holds the lengths of codes,
and which knows no special direction of the code space. And terms are means over N and D as in VICReg's code:
where M_ii = 1 a code has length √D, and M holds cosines. Weights and τ = 0.1 are ours as well; eq. 12 and 13
leave them open.

Reference: Garrido, Chen, Bardes, Najman, LeCun (2022), "On the duality between contrastive and
non-contrastive self-supervised learning", eq. 11 to 13.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.vicreg import hinge
from ebm.loss import LossOutput


class _Repulsion(Criterion):
    """What the two have in common: all but the matrix."""

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        temperature: float = 0.1,
        std: float = 1.0,
        eps: float = 1e-4,
    ):
        super().__init__()
        self.invariance = positive("invariance", invariance, zero=True)
        self.variance = positive("variance", variance, zero=True)
        self.covariance = positive("covariance", covariance, zero=True)
        self.temperature = positive("temperature", temperature)
        self.std, self.eps = positive("std", std), positive("eps", eps)

    @abstractmethod
    def matrix(self, centered: Tensor) -> Tensor:
        """M of codes (N, D) whose dimensions have mean 0, (K, K)."""

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = codes
        matrix_x, matrix_y = self.matrix(x - x.mean(0)), self.matrix(y - y.mean(0))
        invariance = mse_loss(x, y)
        variance = hinge(torch.stack([matrix_x.diagonal(), matrix_y.diagonal()]), self.std, self.eps)
        together = repulsion(matrix_x, self.temperature) + repulsion(matrix_y, self.temperature)
        loss = self.invariance * invariance + self.variance * variance + self.covariance * together
        terms = {"invariance": invariance, "variance": variance, "covariance": together}
        return LossOutput(loss, {name: term.detach() for name, term in terms.items()})


class VICRegExp(_Repulsion):
    """VICReg whose covariances are summed as exponentials, of the codes of two views, (N, D) each, D >= 2.

    c(Z) = (1/D) Σ_i log Σ_{j≠i} exp(Cov(Z)_ij / τ). The terms "invariance", "variance" and "covariance" are
    s, ½ (v + v') and c + c'.

    Args:
        invariance: λ >= 0.
        variance: μ >= 0.
        covariance: ν >= 0.
        temperature: τ > 0, in units of a covariance.
        std: γ > 0, the standard deviation that every dimension should have at least.
        eps: ε > 0, added to the variance.

    Raises:
        ValueError: if a setting is out of its range; on a call, if D is 1, and see `Criterion`.

    Reference: Garrido et al. (2022), "On the duality between contrastive and non-contrastive self-supervised
    learning", eq. 11 and 12.

    Example:
        >>> whitened = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> VICRegExp()(whitened, whitened).loss  # log(D - 1) = 0
        tensor(0.)
    """

    def matrix(self, centered: Tensor) -> Tensor:
        n, d = centered.shape
        if d < 2:
            raise ValueError(
                f"{self.label} lets dimensions repel each other, so it needs 2 or more; got {d}."
            )
        return centered.T @ centered / (n - 1)


class VICRegCtr(_Repulsion):
    """VICReg of the transposed codes, which makes it contrastive: examples repel each other.

    v = (1/N) Σ_i max(0, γ - √(|z_i|²/D + ε)),  c = (1/N) Σ_i log Σ_{j≠i} exp(⟨z_i, z_j⟩ / Dτ), for codes with
    the mean over the batch taken off. The terms "invariance", "variance" and "covariance" are s, ½ (v + v')
    and c + c'.

    Args:
        invariance: λ >= 0.
        variance: μ >= 0, of the hinge on the lengths of codes.
        covariance: ν >= 0, of the repulsion between examples.
        temperature: τ > 0, in units of a cosine where codes have length √D.
        std: γ > 0; codes should have length γ √D at least.
        eps: ε > 0, added to |z_i|² / D.

    Raises:
        ValueError: if a setting is out of its range; on a call, see `Criterion`.

    Reference: Garrido et al. (2022), "On the duality between contrastive and non-contrastive self-supervised
    learning", eq. 13; see the module for what we add.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
        >>> VICRegCtr(temperature=1.0)(z, z).terms  # opposite examples: c = -1 each
        {'invariance': tensor(0.), 'variance': tensor(0.), 'covariance': tensor(-2.)}
    """

    def matrix(self, centered: Tensor) -> Tensor:
        return centered @ centered.T / centered.shape[1]


def repulsion(matrix: Tensor, temperature: float | Tensor) -> Tensor:
    """(1/K) Σ_i log Σ_{j≠i} exp(M_ij / τ) of a matrix (K, K), K >= 2; log(K - 1) if all M_ij = 0.

    Example:
        >>> repulsion(torch.eye(3), 0.1)
        tensor(0.6931)
    """
    return (matrix / temperature).fill_diagonal_(-math.inf).logsumexp(1).mean()

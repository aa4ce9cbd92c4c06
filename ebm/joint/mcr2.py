"""MCR²: the codes of all classes together take up much room, those of each class little.

    R(Z) = ½ log det(I + D/(N ε²) ZᵀZ),        R_c(Z) = Σ_j (N_j / 2N) log det(I + D/(N_j ε²) Z_jᵀZ_j)

    ΔR = R - R_c, to be maximized;             L = R_c - R

for codes of length 1, the rows of Z (N, D); Z_j are the N_j rows of class j. R is the number of nats
that name a code up to a squared error of ε², if there are many. At the maximum, classes lie in subspaces
that are orthogonal to each other. Without labels a class is what came from one example: its views.

The determinant is that of the smaller side, log det(I_D + a ZᵀZ) = log det(I_N + a ZZᵀ).

Equals the paper's equations. The authors' code calls ε² `eps`, and trains with a variant: no half, no N_j / N
and weights of its own for either part.

Reference: Yu, Chan, You, Song, Ma (2020), "Learning Diverse and Discriminative Representations via the
Principle of Maximal Coding Rate Reduction", eq. 1, 6 to 8.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.pair import CosineDistance
from ebm.loss import LossOutput


class MCR2(Criterion):
    """L = R_c - R of the codes of two or more views, (N, D) each; the views of one example are a class.

    Codes are brought to length 1 first, so all N V of them are one Z and the V of an example one Z_j.

    The terms "expansion" and "compression" are R and R_c.

    Args:
        distortion: ε² > 0, the squared error that is allowed for a code of length 1.

    Raises:
        ValueError: if the distortion isn't positive; on a call, see `Criterion`.

    Reference: Yu, Chan, You, Song, Ma (2020), eq. 8.

    Example:
        >>> z = torch.eye(2)
        >>> MCR2()(z, z).terms  # views agree, examples are orthogonal
        {'expansion': tensor(1.0986), 'compression': tensor(0.8047)}
        >>> MCR2()(z, z.flip(0)).loss  # both examples look alike
        tensor(0.)
    """

    views = (2, None)

    def __init__(self, distortion: float = 0.5):
        super().__init__()
        self.distortion = float(positive("distortion", distortion))

    @property
    def energy(self) -> Energy:
        """That of codes of length 1."""
        return CosineDistance()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        classes = normalize(torch.stack(codes, 1), dim=-1)  # (N, V, D): one class for each example
        expansion = coding_rate(classes.flatten(0, 1), self.distortion)
        compression = coding_rate(classes, self.distortion).mean()
        terms = {"expansion": expansion.detach(), "compression": compression.detach()}
        return LossOutput(compression - expansion, terms)


def rate_reduction(z: Tensor, labels: Tensor, distortion: float = 0.5) -> Tensor:
    """ΔR = R - R_c of labeled codes; train with -ΔR.

    Args:
        z: codes (N, D), of length 1 (a longer code has a higher rate).
        labels: (N,), equal for the codes of one class.
        distortion: ε² > 0.

    Returns:
        ΔR in nats, 0-dimensional, at least 0; 0 if all classes have the same ZᵀZ / N.

    Raises:
        ValueError: if there isn't one label for each code, or the distortion isn't positive.

    Reference: Yu, Chan, You, Song, Ma (2020), eq. 8.

    Example:
        >>> z = torch.eye(2)
        >>> rate_reduction(z, torch.tensor([0, 1])), rate_reduction(z, torch.tensor([5, 5]))
        (tensor(0.2939), tensor(0.))
    """
    if z.ndim != 2 or labels.shape != z.shape[:1]:
        raise ValueError(
            f"rate_reduction takes codes (N, D) and labels (N,), a class for each code; got "
            f"{tuple(z.shape)} and {tuple(labels.shape)}."
        )
    rate = coding_rate(z, distortion)
    for label in labels.unique():
        group = z[labels == label]
        rate = rate - len(group) / len(z) * coding_rate(group, distortion)
    return rate


def coding_rate(z: Tensor, distortion: float = 0.5) -> Tensor:
    """R = ½ log det(I + D/(N ε²) ZᵀZ), in nats.

    Args:
        z: codes (..., N, D), of length 1 (a longer code has a higher rate); further dimensions are further
            batches of codes.
        distortion: ε² > 0.

    Returns:
        R, (...,).

    Raises:
        ValueError: if the distortion isn't positive, or so small that the determinant is lost in rounding.

    Reference: Yu, Chan, You, Song, Ma (2020), eq. 1 and 6.

    Example:
        >>> coding_rate(torch.eye(4), distortion=0.5)  # (D/2) log(1 + 1/ε²)
        tensor(2.1972)
    """
    n, d = z.shape[-2:]
    product = (z @ z.mT if n < d else z.mT @ z) * (d / (n * positive("distortion", distortion)))
    product.diagonal(dim1=-2, dim2=-1).add_(1)
    factor, failed = torch.linalg.cholesky_ex(product)
    if bool(failed.any()) and bool(torch.isfinite(product).all()):
        raise ValueError(
            f"log det (I + D/(N ε²) ZᵀZ) is lost in the rounding of {z.dtype} for distortion {distortion} "
            f"and codes of length up to {float(z.norm(dim=-1).max()):.3g}; take a greater distortion, codes "
            f"of length 1, or float64."
        )
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

"""The contrastive loss of siamese networks: similar pairs together, all others a margin apart.

    ℓ = ½ D²  if two inputs are similar,    ℓ = ½ max(0, m - D)²  if they aren't,        D = |s_x - s_y|

Two springs: one pulls similar pairs to the same place, one pushes the others away until they are m apart, and
then lets go. The energy of a pair is D²; its margin is what keeps the codes from collapsing.

Which pairs are dissimilar is a choice of the data. `pair_loss` is eq. 4 of the paper, for labeled pairs. The
criterion has two views of each example and no labels: it takes the two views of one example as the similar
pairs and all N(N-1) pairs of views of different examples as dissimilar,

    L = (1/N) Σ_i ½ D_ii² + w/(N(N-1)) Σ_{i≠j} ½ max(0, m - D_ij)²,        D_ij = |x_i - y_j|

Distances come from a product of matrices in float64: in float32 those of close codes would be lost in
rounding.

Reference: Hadsell, Chopra, LeCun (2006), "Dimensionality Reduction by Learning an Invariant Mapping", eq. 4;
Chopra, Hadsell, LeCun (2005), "Learning a Similarity Metric Discriminatively, with Application to Face
Verification".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.loss import LossOutput


def pair_loss(distance: Tensor, similar: Tensor, margin: float = 1.0) -> Tensor:
    """½ D² for similar pairs, ½ max(0, m - D)² for the others.

    Args:
        distance: D >= 0, of any shape.
        similar: which pairs are similar, boolean, of the same shape.
        margin: m > 0, in units of D.

    Returns:
        The loss of each pair, shaped as the distances.

    Raises:
        TypeError: if `similar` isn't boolean: the paper's label Y is 0 for similar pairs, most data sets' is
            1.
        ValueError: if the shapes differ or the margin isn't positive.

    Reference: Hadsell, Chopra, LeCun (2006), eq. 4, whose Y is `~similar`.

    Example:
        >>> pair_loss(torch.tensor([0.4, 0.4, 2.0]), torch.tensor([True, False, False]))
        tensor([0.0800, 0.1800, 0.0000])
    """
    positive("margin", margin)
    if similar.dtype != torch.bool:
        raise TypeError(f"similar is boolean, True for pairs that belong together; got {similar.dtype}.")
    if distance.shape != similar.shape:
        raise ValueError(
            f"one label for each distance is needed; got shapes {tuple(distance.shape)} and "
            f"{tuple(similar.shape)}."
        )
    return 0.5 * torch.where(similar, distance, (margin - distance).clamp(min=0)).square()


class MarginContrastive(Criterion):
    """Views of one example together, those of different examples a margin apart; two views (N, D).

    L = invariance + w · separation, the mean losses of similar and of dissimilar pairs.

    Args:
        margin: m > 0, in units of the codes' distance.
        weight: w >= 0, of the dissimilar pairs.

    Raises:
        ValueError: if a setting is out of its range.

    Example:
        >>> x = torch.tensor([[0.0], [0.5]])
        >>> MarginContrastive(margin=1.0)(x, x).terms
        {'invariance': tensor(0.), 'separation': tensor(0.1250)}
    """

    def __init__(self, margin: float = 1.0, weight: float = 1.0):
        super().__init__()
        positive("margin", margin)
        positive("weight", weight, zero=True)
        self.margin, self.weight = margin, weight

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = codes
        similar = torch.eye(len(x), dtype=torch.bool, device=x.device)
        losses = pair_loss(distances(x, y), similar, self.margin).to(x.dtype)  # (N, N)
        invariance = losses.diagonal().mean()
        separation = losses.masked_fill(similar, 0.0).sum() / (len(x) * (len(x) - 1))
        loss = invariance + self.weight * separation
        return LossOutput(loss, {"invariance": invariance.detach(), "separation": separation.detach()})


def distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|, (N, M), in float64; the gradient of a distance of 0 is 0.

    Example:
        >>> distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[5., 0.]], dtype=torch.float64)
    """
    x, y = x.double(), y.double()
    center = y.detach().mean(0)  # moves no distance, and large numbers would cancel
    x, y = x - center, y - center
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
    equal = squares <= 0  # not where it is NaN
    return torch.where(equal, 0.0, torch.where(equal, 1.0, squares).sqrt())

"""W-MSE: views agree after whitening, and whitened codes cannot collapse.

    v = L⁻¹ (z - mean),   LLᵀ = (1 - ε) Cov + ε I,    loss = mean over pairs of views of 2 - 2 cos(v, v')

Each view is whitened on its own, in random sub-batches that are the same rows for all views; L is the
Cholesky factor of the sub-batch's covariance (divided by its size - 1). All dimensions of v have variance 1
and none goes with another, whatever the encoder does; that is a constraint and not a penalty. A triangular L
is not the symmetric root of the covariance: what comes out depends on the order of the dimensions.

Equals the authors' code. A covariance of n rows has rank n - 1, so with ε = 0 a sub-batch needs more than D
rows. With D + 1 rows the whitened codes are the corners of a regular simplex, whatever the codes were; take
2 D or more.

Reference: Ermolov, Siarohin, Sangineto, Sebe (2021), "Whitening for Self-Supervised Representation Learning",
eq. 2 to 5.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from ebm.energy import Energy
from ebm.infer.method import count, fraction
from ebm.joint.criterion import Criterion
from ebm.joint.pair import CosineDistance, SquaredDistance
from ebm.loss import LossOutput
from ebm.processes import share


class WMSE(Criterion):
    """The mean over pairs of views of 2 - 2 cos(v, v'), v the whitened codes; two or more views, (N, D) each.

    The one term is "invariance", the loss itself.

    Args:
        sub_batch: rows of a sub-batch that is whitened together; above D unless eps > 0, and a divisor of N.
            The whole batch if None.
        eps: ε in [0, 1), the share of the identity in what is taken for the covariance.
        repeats: over how many random divisions into sub-batches the loss is averaged, at least 1.
        normalized: False takes the mean squared difference |v - v'|² / D instead.

    Raises:
        ValueError: if a setting is out of its range; on a call, if sub-batches have too few rows for D or N
            isn't a multiple of them, if a covariance is singular, and see `Criterion`.

    Reference: Ermolov, Siarohin, Sangineto, Sebe (2021), "Whitening for Self-Supervised Representation
        Learning".

    Example:
        >>> z = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
        >>> loss = WMSE(sub_batch=8)(z, 5 * z + 1, generator=torch.Generator().manual_seed(1)).loss
        >>> bool(loss.abs() < 1e-5)  # scale and mean are whitened away
        True
    """

    views = (2, None)

    def __init__(
        self, sub_batch: int | None = 128, eps: float = 0.0, repeats: int = 1, normalized: bool = True
    ):
        super().__init__()
        self.sub_batch = None if sub_batch is None else count("sub_batch", sub_batch, least=2)
        self.eps, self.repeats = fraction("eps", eps), count("repeats", repeats)
        self.normalized = normalized

    @property
    def energy(self) -> Energy:
        """That of whitened codes."""
        return CosineDistance() if self.normalized else SquaredDistance()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        z = torch.stack(codes)  # (V, N, D)
        views, n, d = z.shape
        size = self._size(n, d)
        pairs = list(combinations(range(views), 2))
        loss = z.new_zeros(())
        for _ in range(self.repeats):
            order = permutation(n, z.device, generator)
            v = whiten(z[:, order].view(views, n // size, size, d), self.eps)
            for i, j in pairs:
                loss = loss + self._distance(v[i], v[j])
        loss = loss / (self.repeats * len(pairs))
        return LossOutput(loss, {"invariance": loss.detach()})

    def _distance(self, v: Tensor, w: Tensor) -> Tensor:
        if self.normalized:
            return 2 - 2 * (normalize(v, dim=-1) * normalize(w, dim=-1)).sum(-1).mean()
        return mse_loss(v, w)

    def _size(self, n: int, d: int) -> int:
        size = n if self.sub_batch is None else self.sub_batch
        if size <= d and self.eps == 0:
            raise ValueError(
                f"{self.label} whitens sub-batches of {size} codes in {d} dimensions: their covariance has "
                f"rank {size - 1} at most. Take sub_batch > {d}, better {2 * d} or more, codes of fewer "
                f"dimensions, or eps > 0."
            )
        if n % size:
            raise ValueError(
                f"{self.label} divides a batch into sub-batches of {size} rows; {n} rows are no multiple. "
                f"Give it {max(1, n // size) * size} rows, or set sub_batch to a divisor of {n} (None: all)."
            )
        return size


def whiten(z: Tensor, eps: float = 0.0) -> Tensor:
    """L⁻¹ (z - mean), LLᵀ = (1 - ε) Cov + ε I: codes with mean 0 and, for ε = 0, the identity as covariance.

    Args:
        z: codes (..., N, D); further dimensions are further batches of codes.
        eps: ε in [0, 1).

    Returns:
        Whitened codes, (..., N, D). Unchanged by z → az + b, a > 0, if ε = 0.

    Raises:
        ValueError: if a covariance is singular.

    Example:
        >>> v = whiten(torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 0.0]]))
        >>> torch.allclose(v.T.cov(), torch.eye(2), atol=1e-6)
        True
    """
    centered = z - z.mean(-2, keepdim=True)
    covariance = (1 - eps) / (z.shape[-2] - 1) * (centered.mT @ centered)
    covariance.diagonal(dim1=-2, dim2=-1).add_(eps)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()) and bool(torch.isfinite(covariance).all()):
        raise ValueError(
            f"the covariance of {z.shape[-2]} codes in {z.shape[-1]} dimensions is singular: they keep to "
            f"fewer directions (dimensional collapse), so they can't be whitened. Take larger sub-batches, "
            f"codes of fewer dimensions, or eps > 0."
        )
    return torch.linalg.solve_triangular(factor, centered.mT, upper=False).mT


def permutation(n: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """A random order of n rows, drawn where the generator lives; the same in all processes."""
    drawn_on = device if generator is None else generator.device
    order = torch.randperm(n, generator=generator, device=drawn_on).to(device)
    share([order])
    return order

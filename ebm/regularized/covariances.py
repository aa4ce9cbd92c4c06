"""Covariances of K Gaussians: full, one for all (tied), diagonal, or spherical.

    Σ_k = A_k A_kᵀ,        P_k = A_k⁻ᵀ  (A lower triangular),        (y - μ)ᵀ Σ⁻¹ (y - μ) = |(y - μ) P|²

| kind | tensor | Σ_k |
|---|---|---|
| "full" | (K, D, D) | any |
| "tied" | (D, D) | the same for all k |
| "diagonal" | (K, D) | diagonal, its variances |
| "spherical" | (K,) | one variance in all directions |

The whitening factors P come as (K, D, D) for the first two kinds, as (K, D) for the last two, which are the
numbers on their diagonals.

Reference: the four kinds of scikit-learn's GaussianMixture ("diag" is "diagonal" here).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Covariance = Literal["full", "tied", "diagonal", "spherical"]
KINDS: tuple[Covariance, ...] = get_args(Covariance)


def check_kind(kind: str) -> None:
    """Raise unless this is one of the four kinds."""
    if kind not in KINDS:
        raise ValueError(f"covariance is one of {', '.join(map(repr, KINDS))}; got {kind!r}.")


def check_symmetric(kind: str, covariances: Tensor) -> None:
    """Raise if a covariance matrix is not symmetric: only one of its triangles would count."""
    if kind in ("full", "tied"):
        apart = float((covariances - covariances.mT).abs().max())
        if apart > torch.finfo(covariances.dtype).eps ** 0.5 * float(covariances.abs().max()):
            raise ValueError(f"a covariance is symmetric; |Σ - Σᵀ| is up to {apart:.3g}.")


def shape_of(kind: str, k: int, dim: int) -> tuple[int, ...]:
    """The shape of the tensor that holds K covariances of this kind; an error if there is no such kind."""
    check_kind(kind)
    return {"full": (k, dim, dim), "tied": (dim, dim), "diagonal": (k, dim), "spherical": (k,)}[kind]


def whitening(kind: str, covariances: Tensor, k: int, dim: int) -> Tensor:
    """P with Σ⁻¹ = P Pᵀ, (K, D, D) upper triangular; for "diagonal" and "spherical" its diagonal, (K, D).

    Raises:
        ValueError: if a covariance is not positive definite, naming it.
    """
    if kind in ("diagonal", "spherical"):
        positive = (covariances > 0) & covariances.isfinite()
        _refuse(~(positive.all(1) if kind == "diagonal" else positive), kind)
        scale = covariances.rsqrt()
        return scale if kind == "diagonal" else scale.unsqueeze(1).expand(k, dim)
    lower, info = torch.linalg.cholesky_ex(covariances)
    _refuse(((info != 0) | ~lower.isfinite().all(-1).all(-1)).view(-1), kind)
    eye = torch.eye(dim, dtype=lower.dtype, device=lower.device)
    factor = torch.linalg.solve_triangular(lower, eye, upper=False).mT
    return factor.expand(k, dim, dim)


def coloring(factors: Tensor, z: Tensor, noise: Tensor) -> Tensor:
    """White noise (n, D) with the covariance of component z (n,): |coloring P|² = |noise|².

    Args:
        factors: P, as `whitening` gives them.
        z: (n,) int64.
        noise: (n, D).
    """
    if factors.ndim == 2:
        return noise / factors[z]
    colored = torch.empty_like(noise)
    for k in z.unique().tolist():
        of_k = z == k
        colored[of_k] = torch.linalg.solve_triangular(factors[k], noise[of_k], upper=True, left=False)
    return colored


def from_moments(kind: str, counts: Tensor, means: Tensor, second: Tensor, floor: float) -> Tensor:
    """The covariances of this kind with the highest likelihood.

    Args:
        kind: one of the four.
        counts: Σ_i r_ik, (K,).
        means: μ, (K, D).
        second: Σ_i r_ik (y_i - μ_k)(y_i - μ_k)ᵀ, (K, D, D), or its diagonals, (K, D).
        floor: added to every variance.
    """
    if kind == "tied":
        covariances = second.sum(0) / counts.sum()
    else:
        covariances = second / counts.view(-1, *(1,) * (second.ndim - 1))
    if kind == "spherical":
        return covariances.mean(1) + floor
    (covariances if kind == "diagonal" else covariances.diagonal(dim1=-2, dim2=-1)).add_(floor)
    return covariances


def of_clusters(kind: str, y: Tensor, z: Tensor, means: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """How many rows each cluster has, at least 1, (K,), and the covariances of this kind within them.

    Args:
        kind: one of the four.
        y: data, (N, D).
        z: the numbers of their clusters, (N,) int64.
        means: of the clusters, (K, D).
        floor: added to every variance.
    """
    counts, matrix = torch.bincount(z, minlength=len(means)).to(y), kind in ("full", "tied")
    scatter = y.new_zeros(len(means), *(y.shape[1],) * (1 + matrix))
    for number, target in enumerate(scatter):
        d = y[z == number] - means[number]
        target.copy_(d.T @ d if matrix else d.square().sum(0))
    counts = counts.clamp(min=1)  # a cluster without rows, where places are fewer than clusters
    return counts, from_moments(kind, counts, means, scatter, floor)


def _refuse(bad: Tensor, kind: str) -> None:
    if bool(bad.any()):
        which = (
            "the one for all" if kind == "tied" else f"of component {bad.nonzero().flatten().tolist()[:5]}"
        )
        raise ValueError(
            f"a covariance ({kind}) is not positive definite: {which}. The data have no spread in some "
            "direction, or too few rows fell to the component: raise reg_covar, take fewer components, or "
            'choose "diagonal", "tied" or "spherical" covariances.'
        )

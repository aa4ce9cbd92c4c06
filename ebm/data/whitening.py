"""Whitening: a linear map after which all directions vary alike, so that none dominates a squared error.

    covariance  C = V diag(λ) Vᵀ,    ridge  ρ = eps · mean(λ)
    ZCA:   w = V diag(λ + ρ)^(-1/2) Vᵀ (x - μ)      closest to x among all whitenings: pictures stay pictures
    PCA:   w =   diag(λ + ρ)^(-1/2) Vᵀ (x - μ)      coordinates in order of falling variance

In direction i the result has variance λᵢ / (λᵢ + ρ): about 1 where the data vary more than the ridge, about 0
where they don't (noise, rounding, the constant direction of patches without their mean), instead of noise
blown up: the work of the low-pass half of the whitening filter of Olshausen and Field (1997), with a cut-off
learned from the data. The ridge is that of Coates and Ng (2012, algorithm 1): for contrast-normalized
patches, whose mean variance is near 1, they start from 0.1 (8 x 8) or 0.01 (16 x 16). `eps` is relative to
the mean variance, so that it means the same at any scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Whitening:
    """An invertible map from data to white data; `Whitening.fit` learns one.

    Attributes:
        mean: μ, (D,).
        matrix: M in w = M (x - μ), (D, D).
        inverse: M⁻¹, (D, D).
    """

    mean: Tensor
    matrix: Tensor
    inverse: Tensor

    @classmethod
    def fit(cls, data: Tensor, *, eps: float = 0.1, kind: Literal["zca", "pca"] = "zca") -> Whitening:
        """Learn the whitening of some data.

        Args:
            data: rows to learn from, (N, D), N at least 2.
            eps: the ridge ρ over the mean variance, positive; the larger, the more is smoothed.
            kind: "zca" or "pca", as in this file's formulas.

        Returns:
            The map, in the dtype and on the device of the data.

        Raises:
            ValueError: if the data are not (N, D) with N at least 2, don't vary at all or are not finite, if
                `eps` is not positive, or `kind` is unknown.

        Example:
            >>> import torch
            >>> from ebm.data import Whitening
            >>> g = torch.Generator().manual_seed(0)
            >>> x = torch.randn(500, 3, generator=g) * torch.tensor([1.0, 5.0, 9.0])
            >>> whitening = Whitening.fit(x, eps=1e-6)
            >>> torch.allclose(whitening.apply(x).T.cov(), torch.eye(3), atol=1e-3)
            True
            >>> torch.allclose(whitening.undo(whitening.apply(x)), x, atol=1e-4)
            True
        """
        if data.ndim != 2 or data.shape[0] < 2:
            raise ValueError(f"data must be (N, D) with at least two rows, got shape {tuple(data.shape)}")
        if not eps > 0:
            raise ValueError(f"eps must be positive (0.1, say), got {eps}: the ridge lets the map be undone")
        if kind not in ("zca", "pca"):
            raise ValueError(f'kind must be "zca" or "pca", got {kind!r}')
        mean = data.mean(0)
        centered = (data - mean).double()  # an eigenvalue near zero is only as exact as the dtype allows
        variances, directions = torch.linalg.eigh(_covariance(centered))  # (D,), (D, D), rising
        variances, directions = variances.flip(0).clamp_min(0), directions.flip(1)
        scale = (variances + eps * variances.mean()).sqrt()
        turn = directions if kind == "zca" else torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        matrix = turn @ (directions / scale).T
        inverse = (directions * scale) @ turn.T
        return cls(mean, matrix.to(data), inverse.to(data))

    @classmethod
    def identity(cls, like: Tensor) -> Whitening:
        """The whitening that changes nothing: μ = 0 and M = I, in the dtype and on the device of `like`.

        Args:
            like: any data of the width D, (N, D).
        """
        eye = torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
        return cls(like.new_zeros(like.shape[1]), eye, eye)

    def apply(self, x: Tensor) -> Tensor:
        """White rows M (x - μ), (N, D) from (N, D)."""
        return (x - self.mean) @ self.matrix.T

    def undo(self, white: Tensor) -> Tensor:
        """The rows M⁻¹ w + μ that `apply` made `white` from, (N, D) from (N, D)."""
        return white @ self.inverse.T + self.mean


def _covariance(centered: Tensor) -> Tensor:
    covariance = centered.T @ centered / (len(centered) - 1)
    total = covariance.trace()
    if not torch.isfinite(total) or total == 0:
        what = "are all equal" if total == 0 else "hold NaN or infinity"
        raise ValueError(f"the rows of data {what}: there is no variance to make even")
    return covariance

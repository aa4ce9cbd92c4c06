"""Principal components: the best linear code, beside which sparse codes are shown.

    y ≈ μ + Σ_k c_k v_k,        c_k = ⟨y - μ, v_k⟩,   v_k the eigenvectors of the covariance of y

Reference: Pearson (1901), "On Lines and Planes of Closest Fit to Systems of Points in Space".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Basis:
    """Principal components: the best linear code, and so the measure of what sparseness buys."""

    mean: Tensor
    components: Tensor  # (P, P), one a row, the strongest first

    @classmethod
    def of(cls, y: Tensor) -> Basis:
        """The principal components of the rows of y."""
        mean = y.mean(0)
        _, vectors = torch.linalg.eigh((y - mean).T @ (y - mean))
        return cls(mean, vectors.flip(1).T.contiguous())

    def keep(self, y: Tensor, count: int, best: bool = False) -> Tensor:
        """y from `count` coefficients: the leading ones, or each row's own largest."""
        c = (y - self.mean) @ self.components.T
        ranked = c.abs().argsort(1, descending=True) if best else torch.arange(c.shape[1]).expand(c.shape)
        return torch.zeros_like(c).scatter(1, ranked[:, :count], 1.0).mul(c) @ self.components + self.mean

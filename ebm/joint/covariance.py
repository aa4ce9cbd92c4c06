"""How the dimensions of codes vary together, in value and gradient, by the smaller of two matrices.

    Cov = Z̄ᵀZ̄ / (N-1),  Z̄ = Z - mean,      c = Σ_{i≠j} Cov_ij²,    ∂c/∂Z = 4/(N-1) Z̄ (Cov - diag Cov)
    C = XᵀY / N,                             r = Σ_{i≠j} C_ij²,      ∂r/∂X = 2/N Y (C - diag C)ᵀ

Codes are rows: Z is (N, D). Where D > N nothing of size D × D is made, because the Gram matrices of the N
rows hold the same squares, Σ_ij Cov_ij² = |Z̄Z̄ᵀ|² / (N-1)² and Σ_ij C_ij² = ⟨XXᵀ, YYᵀ⟩ / N²:

    c = |Z̄Z̄ᵀ|² / (N-1)² - Σ_i Cov_ii²,      ∂c/∂Z = 4/(N-1)² (Z̄Z̄ᵀ) Z̄ - 4/(N-1) Z̄ diag(Cov)
    r = ⟨XXᵀ, YYᵀ⟩ / N² - Σ_i C_ii²,         ∂r/∂X = 2/N² (YYᵀ) X - 2/N Y diag(C)

What is kept for the gradient is that smaller matrix; Z̄ is made again.

Reference: Garrido, Chen, Bardes, Najman, LeCun (2022), "On the duality between contrastive and
non-contrastive self-supervised learning", theorem 3.3: penalizing correlated dimensions is penalizing similar
examples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.first_order import first_order

BLOCK = 256  # rows of a Gram matrix that are made at a time


def covariance(z: Tensor) -> tuple[Tensor, Tensor]:
    """The variance of each dimension, and how much the dimensions vary together.

    Args:
        z: codes (..., N, D), N >= 2, in float32 or float64; further dimensions are further batches of codes.

    Returns:
        Var_i = Cov_ii, (..., D), and Σ_{i≠j} Cov_ij², (...,); divided by N - 1 rather than N. Differentiable
        once.

    Example:
        >>> covariance(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
        (tensor([2., 8.]), tensor(32.))
    """
    variance, penalty = _Covariance.apply(z)
    return variance, penalty


def correlation(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How well each dimension of two views agrees, and how much different dimensions do.

    Args:
        x, y: codes (N, D) of two views, in float32 or float64, each dimension with mean 0 and variance 1.

    Returns:
        C_ii, (D,), and Σ_{i≠j} C_ij², 0-dimensional, with C = xᵀy / N. Differentiable once.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
        >>> correlation(z, z)
        (tensor([1., 1.]), tensor(2.))
    """
    diagonal, penalty = _Correlation.apply(x, y)
    return diagonal, penalty


def gram(z: Tensor) -> Tensor:
    """zzᵀ of (..., N, D), (..., N, N); on a CPU the blocks below the diagonal are copied from those above."""
    n = z.shape[-2]
    if n <= BLOCK or z.device.type != "cpu":
        return z @ z.mT
    product = z.new_empty(*z.shape[:-1], n)
    for start in range(0, n, BLOCK):
        stop = start + BLOCK
        product[..., start:stop, start:] = z[..., start:stop, :] @ z[..., start:, :].mT
        product[..., stop:, start:stop] = product[..., start:stop, stop:].mT
    return product


class _Covariance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        n, d = z.shape[-2:]
        mean = z.mean(-2, keepdim=True)
        centered = z - mean
        if d > n:
            small = gram(centered)  # (..., N, N)
            variance = centered.square_().sum(-2) / (n - 1)
            penalty = small.square().sum((-2, -1)) / (n - 1) ** 2 - variance.square().sum(-1)
            penalty.clamp_(min=0)  # which rounding can miss
        else:
            small = gram(centered.mT).div_(n - 1)  # (..., D, D)
            variance = small.diagonal(dim1=-2, dim2=-1).clone()
            small.diagonal(dim1=-2, dim2=-1).zero_()
            penalty = small.square().sum((-2, -1))
        ctx.save_for_backward(z, mean, small, variance)
        return variance, penalty

    @staticmethod
    @first_order
    def backward(ctx: Any, of_variance: Tensor, of_penalty: Tensor) -> Tensor:
        z, mean, small, variance = ctx.saved_tensors
        n, d = z.shape[-2:]
        centered = z - mean
        columns = of_variance * (2 / (n - 1))  # (..., D)
        scale = of_penalty[..., None] * (4 / (n - 1))
        with torch.autocast(z.device.type, enabled=False):
            if d > n:
                gradient = (small * (scale / (n - 1))[..., None]) @ centered
                return gradient.addcmul_(centered, (columns - scale * variance)[..., None, :])
            factor = small * scale[..., None]
            factor.diagonal(dim1=-2, dim2=-1).copy_(columns)
            return centered @ factor


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        n, d = x.shape
        small: tuple[Tensor, ...]
        if d > n:
            small = gram(x), gram(y)
            diagonal = (x * y).sum(0) / n
            penalty = (small[0] * small[1]).sum() / n**2 - diagonal.square().sum()
            penalty.clamp_(min=0)
        else:
            small = ((x.T @ y).div_(n),)
            diagonal = small[0].diagonal().clone()
            small[0].fill_diagonal_(0)
            penalty = small[0].square().sum()
        ctx.save_for_backward(x, y, diagonal, *small)
        return diagonal, penalty

    @staticmethod
    @first_order
    def backward(ctx: Any, of_diagonal: Tensor, of_penalty: Tensor) -> tuple[Tensor, Tensor]:
        x, y, diagonal, *small = ctx.saved_tensors
        n, d = x.shape
        scale = of_penalty * (2 / n)
        with torch.autocast(x.device.type, enabled=False):
            if d > n:
                columns = of_diagonal / n - scale * diagonal
                of_x = ((small[1] * (scale / n)) @ x).addcmul_(y, columns)
                return of_x, ((small[0] * (scale / n)) @ y).addcmul_(x, columns)
            factor = small[0] * scale
            factor.diagonal().copy_(of_diagonal / n)
            return y @ factor.T, x @ factor

"""One step of expectation maximization for Gaussian mixtures: shares of the components and their moments.

    r_ik = π_k N(y_i; μ_k, Σ_k) / Σ_j π_j N(y_i; μ_j, Σ_j),        Σ_i r_ik,  Σ_i r_ik y_i,  Σ_i r_ik y_i y_iᵀ

A Gaussian is an exponential family: log π_k N(y; μ_k, Σ_k) = ⟨η_k, φ(y)⟩ with φ(y) = (y yᵀ, y, 1) and
η_k = (-½ Λ_k, Λ_k μ_k, log π_k + ½ log det (Λ_k / 2π) - ½ μ_kᵀ Λ_k μ_k), Λ = Σ⁻¹. So the logarithms of all
components are one matrix product η φᵀ, and all moments another, r φ; both for a block of rows that stays in
a cache. As y yᵀ is symmetric, half of it will do; for diagonal covariances its diagonal.

Sums are taken in float64, whatever the data have: the square in φ costs digits, about ε max|y|² max|Λ| of the
logarithm. Where that is above √ε, differences y - μ_k are taken instead, which are exact and take longer.

Reference: Dempster, Laird & Rubin (1977), "Maximum Likelihood from Incomplete Data via the EM Algorithm";
Wainwright & Jordan (2008), "Graphical Models, Exponential Families, and Variational Inference", sect. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ON_CPU = 2**17  # numbers at a time, for a cache of a megabyte
ELSEWHERE = 2**26
EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Components:
    """What K weighted Gaussians are, ready for rows: log π_k N(y; μ_k, Σ_k) = height_k - ½ |(y - μ_k) P_k|².

    Attributes:
        heights: (K,).
        means: μ, (K, D).
        factors: P, (K, D, D) upper triangular, or (K, D) diagonals.
    """

    heights: Tensor
    means: Tensor
    factors: Tensor

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, factors: Tensor) -> Components:
        """From the weights π, (K,), means and whitening factors."""
        diagonal = factors if factors.ndim == 2 else factors.diagonal(dim1=1, dim2=2)
        heights = weights.log() + diagonal.log().sum(1) - 0.5 * means.shape[1] * math.log(2 * math.pi)
        return cls(heights, means, factors)

    def logarithms(self, y: Tensor) -> Tensor:
        """log π_k N(y; μ_k, Σ_k) by differences, (B, D) -> (B, K)."""
        d = y.unsqueeze(1) - self.means  # (B, K, D)
        white = d * self.factors if self.factors.ndim == 2 else torch.einsum("bkd,kde->bke", d, self.factors)
        return self.heights - 0.5 * white.square().sum(2)

    def natural(self) -> Tensor:
        """η, (K, F): -½ Λ (its upper triangle, what is off the diagonal twice), Λ μ, the constant."""
        if self.factors.ndim == 2:
            precision = self.factors.square()
            linear, square = precision * self.means, -0.5 * precision
        else:
            precision = self.factors @ self.factors.mT
            linear = (precision @ self.means.unsqueeze(2)).squeeze(2)
            i, j = torch.triu_indices(*precision.shape[1:], device=precision.device)
            square = precision[:, i, j] * torch.where(i == j, -0.5, -1.0).to(precision)
        constant = self.heights - 0.5 * (linear * self.means).sum(1)
        return torch.cat([square, linear, constant.unsqueeze(1)], 1)


@dataclass(frozen=True)
class Moments:
    """What the M-step needs: the energy Σ_i -log p(y_i), Σ r (K,), means (K, D), scatter about them.

    The scatter is Σ_i r_ik (y_i - μ_k)(y_i - μ_k)ᵀ, (K, D, D), or its diagonals, (K, D).
    """

    energy: float
    counts: Tensor
    means: Tensor
    scatter: Tensor


def expect(y: Tensor, components: Components, reach: float) -> Moments:
    """The E-step, and the moments that its shares give.

    Args:
        y: data, (N, D), of any dtype, best with mean 0.
        components: the mixture, in float64.
        reach: max_i |y_i|².
    """
    trace = components.factors.square().flatten(1).sum(1)  # of Λ_k: at least its norm
    exact = reach * float(trace.max()) <= 1 / math.sqrt(EPS)
    return _by_features(y, components) if exact else _by_differences(y, components)


def _by_features(y: Tensor, components: Components) -> Moments:
    (k, dim), matrix = components.means.shape, components.factors.ndim == 3
    natural = components.natural()
    squares, size = natural.shape[1] - dim - 1, natural.shape[1]
    rows = max(1, min(len(y), _block(y) // size))
    features = natural.new_ones(
        size, rows
    )  # φᵀ, a feature a line: products of coordinates are those of lines
    energy, total = 0.0, torch.zeros_like(natural)
    for start in range(0, len(y), rows):
        block = y[start : start + rows].T
        phi = features[:, : block.shape[1]]
        phi[squares:-1] = block
        _products(phi[squares:-1], phi[:squares], matrix)
        r, logarithm = _shares(natural @ phi)
        energy -= float(logarithm.sum())
        total += r @ phi.T
    counts, first, second = total[:, -1], total[:, squares:-1], total[:, :squares]
    counts = counts + 10 * EPS
    means = first / counts.unsqueeze(1)
    if not matrix:
        scatter = second - first * means
    else:
        scatter = total.new_empty(k, dim, dim)
        i, j = torch.triu_indices(dim, dim, device=y.device)
        scatter[:, i, j] = second
        scatter[:, j, i] = second
        scatter -= means.unsqueeze(2) * first.unsqueeze(1)
    return Moments(energy, counts, means, scatter)


def _products(lines: Tensor, out: Tensor, matrix: bool) -> None:
    """The products y_d y_e, d <= e, of lines (D, B), (D (D + 1) / 2, B); or the squares alone."""
    if not matrix:
        torch.mul(lines, lines, out=out)
        return
    begin = 0
    for d in range(len(lines)):
        torch.mul(lines[d:], lines[d], out=out[begin : begin + len(lines) - d])
        begin += len(lines) - d


def _by_differences(y: Tensor, components: Components) -> Moments:
    (k, dim), y = components.means.shape, y.double()
    r, energy = y.new_empty(k, len(y)), 0.0
    rows = max(1, _block(y) // (k * dim))
    for start in range(0, len(y), rows):
        block = slice(start, start + rows)
        r[:, block], logarithm = _shares(components.logarithms(y[block]).T.contiguous())
        energy -= float(logarithm.sum())
    counts = r.sum(1) + 10 * EPS
    means = (r @ y) / counts.unsqueeze(1)
    scatter = y.new_empty(components.factors.shape)
    for share, mean, target in zip(r, means, scatter, strict=True):
        d = y - mean
        target.copy_(share @ d.square() if scatter.ndim == 2 else (d * share.unsqueeze(1)).T @ d)
    return Moments(energy, counts, means, scatter)


def _block(y: Tensor) -> int:
    return ON_CPU if y.device.type == "cpu" else ELSEWHERE


def _shares(logarithms: Tensor) -> tuple[Tensor, Tensor]:
    """Shares r (K, B) and log p(y) (B,) from log π_k N_k, (K, B), which is overwritten."""
    top = logarithms.amax(0)
    r = logarithms.sub_(top).exp_()
    total = r.sum(0)
    return r.div_(total), top.add_(total.log())

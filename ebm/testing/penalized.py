"""Minimizations of a smooth energy and one with a prox, with known answers.

argmin_y ½ Σ_d h_d (y_d - c_d)² + λ|y|₁ = S(c, λ/h),        S(v, t) = sign(v) max(|v| - t, 0)
the same within low <= y <= high         = clip(c)
argmin_z ½|x - zD|² + λ|z|₁              held to z = S(z - ∇f(z), λ), its condition of optimality
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ebm.regularized.reconstruction import Reconstruction
from ebm.regularizers.constraints import Box
from ebm.regularizers.norms import L1
from ebm.rows import norm
from ebm.testing.posed import Posed, bowl


def shrunk(*shape: int, weight: float = 0.5, seed: int = 0) -> Posed:
    """A bowl over y (B, *shape) with λ|y|₁: some entries are exactly 0 at the answer."""
    problem = bowl(*shape, seed=seed)
    answer = soften(problem.given["center"], weight / problem.given["depth"])
    return replace(
        problem,
        energy=problem.energy + weight * L1("y"),
        distance=lambda y: norm(y - answer.to(y)),
        name=f"Bowl + {weight} L1 over {tuple(answer.shape)}",
    )


def boxed(*shape: int, seed: int = 0) -> Posed:
    """A bowl over y (B, *shape) within [-½, ½], begun at 0."""
    problem = bowl(*shape, seed=seed)
    center = problem.given["center"]
    return replace(
        problem,
        energy=problem.energy + Box("y", -0.5, 0.5),
        over=torch.zeros_like(center),
        distance=lambda y: norm(y - center.to(y).clamp(-0.5, 0.5)),
        name=f"Bowl + Box over {tuple(center.shape)}",
    )


def lasso(atoms: int = 6, size: int = 8, batch: int = 4, weight: float = 0.3, seed: int = 0) -> Posed:
    """Sparse codes z (B, atoms) of x (B, size) in a dictionary of correlated atoms, begun at 0."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(atoms, size, dtype=torch.float64, generator=generator)
    dictionary = dictionary / dictionary.norm(dim=1, keepdim=True)
    y = torch.randn(batch, size, dtype=torch.float64, generator=generator)

    def residual(z: Tensor) -> Tensor:
        d = dictionary.to(z)
        slope = (z @ d - y.to(z)) @ d.T
        return norm(z - soften(z - slope, torch.full_like(z, weight)))

    energy = Reconstruction(dictionary) + weight * L1("z")
    return Posed(energy, {"z": y.new_zeros(batch, atoms)}, {"y": y}, lambda v: residual(v["z"]), name="lasso")


def soften(v: Tensor, t: Tensor) -> Tensor:
    """S(v, t) = sign(v) max(|v| - t, 0)."""
    return v.sign() * (v.abs() - t).clamp(min=0)

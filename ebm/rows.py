"""Arithmetic of rows: numbers per row, (B,), and tensors whose first dimension is the rows, (B, *shape).

⟨a, b⟩_i = Σ_j a_ij b_ij,        |a|_i = √⟨a, a⟩_i        for every row i on its own
"""

from __future__ import annotations

import torch
from torch import Tensor


def expand(step: Tensor, like: Tensor) -> Tensor:
    """A number per row, (B,), shaped to multiply `like`, (B, *shape)."""
    return step.view(-1, *(1,) * (like.ndim - 1))


def flat(a: Tensor) -> Tensor:
    """Each row as a vector, (B, *shape) -> (B, D); (B,) -> (B, 1)."""
    return a.flatten(1) if a.ndim > 1 else a.unsqueeze(1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each row, (B, *shape) x (B, *shape) -> (B,)."""
    return torch.linalg.vecdot(flat(a), flat(b))


def norm(a: Tensor) -> Tensor:
    """The Euclidean norm of each row, (B, *shape) -> (B,)."""
    return torch.linalg.vector_norm(flat(a), dim=1)


def square(a: Tensor) -> Tensor:
    """|a|² of each row, (B, *shape) -> (B,); one look at a, where `dot(a, a)` makes a product first."""
    return norm(a).square()

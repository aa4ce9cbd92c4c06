"""Arithmetic of rows: numbers per row, (B,), and tensors whose first dimension is the rows, (B, *shape).

⟨a, b⟩_i = Σ_j a_ij b_ij,        |a|_i = √⟨a, a⟩_i        for every row i on its own
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

BLOCK = 2**18  # numbers in a block of rows


def expand(step: Tensor, like: Tensor) -> Tensor:
    """A number per row, (B,), shaped to multiply `like`, (B, *shape)."""
    return step.view(-1, *(1,) * (like.ndim - 1))


def flat(a: Tensor) -> Tensor:
    """Each row as a vector, (B, *shape) -> (B, D); (B,) -> (B, 1)."""
    if a.ndim == 2:
        return a
    return a.flatten(1) if a.ndim > 2 else a.unsqueeze(1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each row, (B, *shape) x (B, *shape) -> (B,)."""
    return by_blocks(lambda *rows: (torch.linalg.vecdot(*rows),), flat(a), flat(b))[0]


def mean_dot(a: Tensor, b: Tensor) -> Tensor:
    """The mean of `dot(a, b)` over rows, 0-dimensional; cheaper to differentiate than by way of rows."""
    return (a * b).sum() * (1 / a.shape[0])


def half_mean_square(a: Tensor) -> Tensor:
    """½⟨|a|²⟩, a mean over rows, 0-dimensional; as few operations as it can be."""
    return a.square().sum() * (0.5 / a.shape[0])


def half_mean_distance(a: Tensor, b: Tensor) -> Tensor:
    """½⟨|a - b|²⟩, a mean over rows, 0-dimensional; likewise."""
    return mse_loss(a, b, reduction="sum") * (0.5 / a.shape[0])


def norm(a: Tensor) -> Tensor:
    """The Euclidean norm of each row, (B, *shape) -> (B,)."""
    return torch.linalg.vector_norm(flat(a), dim=1)


def square(a: Tensor) -> Tensor:
    """|a|² of each row, (B, *shape) -> (B,); one look at a, where `dot(a, a)` makes a product first."""
    return norm(a).square()


def by_blocks(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """What a function of rows returns, computed for as many rows at a time as stay in a CPU's cache.

    On a large batch the tensors between input and output would be new memory of all rows, at every step of a
    method, and cost more than the arithmetic. All rows at once where a graph is kept.

    Args:
        function: of tensors (B, ...), returns tensors (B, ...); a row's results depend on that row alone.
        tensors: the first one's size decides how many rows make a block.
    """
    first = tensors[0]
    if first.numel() <= BLOCK or torch.is_grad_enabled() or first.device.type != "cpu":
        return function(*tensors)
    rows, whole = max(1, BLOCK * len(first) // first.numel()), None
    for start in range(0, len(first), rows):
        parts = function(*(tensor[start : start + rows] for tensor in tensors))
        if whole is None:
            whole = tuple(part.new_empty(len(first), *part.shape[1:]) for part in parts)
        for target, part in zip(whole, parts, strict=True):
            target[start : start + rows] = part
    return whole or ()

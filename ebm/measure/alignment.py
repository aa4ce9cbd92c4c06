"""Alignment and uniformity: views of one example together, examples spread out over the sphere.

    alignment = ⟨|x_i - y_i|^α⟩_i
    uniformity = ln ⟨exp(-t |z_i - z_j|²)⟩_{i<j}

Codes are set to length 1 first. Both are better lower: alignment is 0 where the two views of each example
have one code; uniformity is 0 where all codes are the same, and about -2t where many codes are spread
evenly in many dimensions, since then |z_i - z_j|² is about 2. They equal the official functions on codes of
length 1.

Reference: Wang & Isola (2020), "Understanding contrastive representation learning through alignment and
uniformity on the hypersphere", sect. 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

PAIRS = 2**22  # to compare at once, which bounds the memory where no graph is kept


def alignment(x: Tensor, y: Tensor, *, alpha: float = 2.0, normalize: bool = True) -> Tensor:
    """How far apart the codes of two views of an example are, ⟨|x_i - y_i|^α⟩; differentiable.

    Args:
        x, y: codes of two views, (N, D) each, row i of both from one example.
        alpha: α > 0.
        normalize: set codes to length 1 first.

    Returns:
        A 0-dim tensor, at least float32; 0 to 2^α for codes of length 1.

    Raises:
        ValueError: if the shapes differ or aren't (N, D), or α isn't positive.

    Reference: Wang & Isola (2020), eq. 1.

    Example:
        >>> alignment(torch.tensor([[3.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
        tensor(4.)
    """
    if x.shape != y.shape or x.ndim != 2 or not len(x):
        raise ValueError(f"alignment takes two views' codes (N, D); got {tuple(x.shape)}, {tuple(y.shape)}.")
    _positive("alpha", alpha)
    x, y = _prepared(x, normalize), _prepared(y, normalize)
    return torch.linalg.vector_norm(x - y, dim=1).pow(alpha).mean()


def uniformity(z: Tensor, *, t: float = 2.0, normalize: bool = True) -> Tensor:
    """How evenly codes fill the sphere, ln ⟨exp(-t |z_i - z_j|²)⟩ over distinct pairs; differentiable.

    Args:
        z: codes, (N, D), N >= 2.
        t: t > 0.
        normalize: set codes to length 1 first.

    Returns:
        A 0-dim tensor, at least float32, at most 0.

    Raises:
        ValueError: for another shape, or if t isn't positive.

    Reference: Wang & Isola (2020), eq. 2.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))  # a distance of 2
        tensor(-8.)
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"uniformity compares codes of examples, (N, D), N >= 2; got {tuple(z.shape)}.")
    _positive("t", t)
    z, count = _prepared(z, normalize), len(z)
    z = z - z.mean(0).detach()  # moves no distance, and the difference of large numbers becomes one of small
    sizes, block, parts = z.square().sum(1), max(1, PAIRS // count), []
    with torch.autocast(z.device.type, enabled=False):
        for start in range(0, count - 1, block):
            rows, others = slice(start, min(start + block, count - 1)), slice(start, count)
            squares = sizes[rows].unsqueeze(1) + sizes[others] - 2 * z[rows] @ z[others].T
            counted = torch.ones_like(squares, dtype=torch.bool).tril()  # j <= i
            exponents = (-t * squares.clamp(min=0)).masked_fill(counted, -torch.inf)
            parts.append(exponents.flatten().logsumexp(0))
    return torch.stack(parts).logsumexp(0) - math.log(count * (count - 1) / 2)


def _prepared(z: Tensor, normalize: bool) -> Tensor:
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    return unit(z, dim=1) if normalize else z


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} is positive; got {value}.")

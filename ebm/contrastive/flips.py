"""The neighbors of a discrete point: all that differ from it in one site.

    bits, y ∈ {0, 1}^D:          ȳ^d, bit d flipped                                      D neighbors
    one-hot, y ∈ {e_1..e_K}^S:   y with site s moved on to its value + j, j = 1 ... K-1    S (K - 1) neighbors

The losses for discrete data compare E(y) with the energies of these, which are found in batched calls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.contrastive.points import Points
from ebm.infer.suits import refuse_other_than_bits, refuse_other_than_one_hot
from ebm.rows import flat

CONTINUOUS = (
    "Data that are real numbers take score matching, denoising, noise-contrastive estimation or contrastive "
    "divergence"
)


def neighbor_energies(
    points: Points, one_hot: bool = False, sites: Tensor | None = None, max_rows: int | None = None
) -> Tensor:
    """E of the data's neighbors, differentiable.

    Args:
        points: the energy, bound to all but the data, and the data (B, *shape).
        one_hot: whether the last axis of the data holds one-hot sites; else every entry is a bit.
        sites: the sites to change, (B, m), laid out flat; all if None.
        max_rows: evaluate at most about so many points at once; all if None.

    Returns:
        (B, m, 1) for bits, (B, m, K - 1) for one-hot sites.

    Example:
        >>> from ebm import energy
        >>> from ebm.contrastive import PseudoLikelihood
        >>> height = energy(lambda y: (y * torch.tensor([1.0, 2.0])).sum(1))
        >>> points = Points(PseudoLikelihood(), height, "y", {"y": torch.tensor([[0.0, 1.0]])}, None)
        >>> neighbor_energies(points).flatten(1)
        tensor([[3., 0.]])
    """
    y = points.y
    if sites is None:
        total = flat(y)[0].numel() // (y.shape[-1] if one_hot else 1)
        sites = torch.arange(total, device=y.device).expand(len(y), -1)
    others = y.shape[-1] - 1 if one_hot else 1
    chunk = sites.shape[1] if max_rows is None else max(1, max_rows // (len(y) * others))
    parts = []
    for some in sites.split(chunk, 1):
        found = _moved(y, some) if one_hot else _flipped(y, some)  # (B, m, K - 1, *shape)
        parts.append(points.energies(found.flatten(1, 2)).view(found.shape[:3]))
    return torch.cat(parts, 1)


def refuse_continuous(who: str, variable: str, y: Tensor, one_hot: bool = False) -> None:
    """Refuse data that are not zeros and ones (or not one-hot), saying which losses suit them.

    Raises:
        TypeError: if they are no floating point numbers.
        ValueError: naming the first row, and what it holds.
    """
    if not y.is_floating_point():
        cure = "torch.nn.functional.one_hot(index, K).to(dtype) for values, .float() for zeros and ones"
        raise TypeError(
            f"{who} takes discrete data as zeros and ones in floating point; {variable!r} is {y.dtype}. "
            f"Convert it: {cure}."
        )
    check = refuse_other_than_one_hot if one_hot else refuse_other_than_bits
    check(who, variable, y, CONTINUOUS)


def _flipped(y: Tensor, sites: Tensor) -> Tensor:
    """y with each of the bits (B, m) flipped, (B, m, 1, *shape)."""
    rows = flat(y)
    points = rows.unsqueeze(1).repeat(1, sites.shape[1], 1)  # (B, m, D)
    points.scatter_(2, sites.unsqueeze(2), (1 - rows.gather(1, sites)).unsqueeze(2))
    return points.view(*sites.shape, 1, *y.shape[1:])


def _moved(y: Tensor, sites: Tensor) -> Tensor:
    """y with each of the sites (B, m) at each of its other values, (B, m, K - 1, *shape)."""
    values = y.shape[-1]
    table = y.reshape(len(y), -1, values)  # (B, S, K)
    here = table.gather(1, sites.unsqueeze(2).expand(-1, -1, values))  # (B, m, K)
    other = torch.stack([here.roll(j, 2) for j in range(1, values)], 2)  # (B, m, K - 1, K)
    points = table[:, None, None].repeat(1, sites.shape[1], values - 1, 1, 1)  # (B, m, K - 1, S, K)
    at = sites[:, :, None, None, None].expand(*other.shape[:3], 1, values)
    points.scatter_(3, at, other.unsqueeze(3))
    return points.view(*other.shape[:3], *y.shape[1:])

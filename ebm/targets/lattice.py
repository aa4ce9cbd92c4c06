"""The square lattice: which sites are neighbors, and the two colors of its chessboard.

    (r, c) ~ (r, c ± 1), (r ± 1, c);        periodic: the last row meets the first, and so do the columns

A site (r, c) of H rows and W columns has the number rW + c.
"""

from __future__ import annotations

import torch
from torch import Tensor


def neighbors(height: int, width: int, periodic: bool = True) -> Tensor:
    """Which sites are neighbors, (D, D) of zeros and ones with D = height · width, symmetric.

    Args:
        height, width: sides, at least 1; of a periodic lattice at least 3, so that no pair meets twice.
        periodic: whether opposite borders meet.

    Raises:
        ValueError: if a side is too small.

    Example:
        >>> neighbors(3, 3).sum(1), int(neighbors(2, 2, periodic=False).sum())  # 4 a site; 4 bonds, twice
        (tensor([4., 4., 4., 4., 4., 4., 4., 4., 4.]), 8)
    """
    check_sides(height, width, periodic)
    site = torch.arange(height * width).view(height, width)
    pairs = []
    for dim in (0, 1):
        other = site.roll(-1, dim)
        last = 0 if periodic else 1
        pairs.append(torch.stack([site, other]).narrow(dim + 1, 0, site.shape[dim] - last).flatten(1))
    first, second = torch.cat(pairs, 1)
    out = torch.zeros(height * width, height * width)
    out[first, second] = 1.0
    out[second, first] = 1.0
    return out


def chessboard(height: int, width: int) -> Tensor:
    """The color of each site, 0 or 1, (D,): neighbors differ if the sides are even or the borders open.

    Example:
        >>> chessboard(2, 3)
        tensor([0, 1, 0, 1, 0, 1])
    """
    return (torch.arange(height)[:, None] + torch.arange(width)).remainder(2).flatten()


def check_sides(height: int, width: int, periodic: bool) -> None:
    """Refuse sides that are too small.

    Raises:
        ValueError: naming them.
    """
    least = 3 if periodic else 1
    if min(height, width) < least:
        raise ValueError(
            f"a lattice with {'periodic' if periodic else 'open'} borders has sides of {least} sites at least"
            f"{', so that no pair of neighbors meets twice' if periodic else ''}; got {height} x {width}."
        )

"""Fixed positions of tokens: sines and cosines of where a patch lies in an image or a video.

    waves(p) = [sin(p ω_0), ..., sin(p ω_{n-1}), cos(p ω_0), ..., cos(p ω_{n-1})],    ω_k = 10000^(-k/n)

An image's patch gets the waves of its column and of its row, n = width/4; a video's gets those of its time,
its row and its column, a third of the width each.

Reference: Vaswani et al. (2017), "Attention Is All You Need", sect. 3.5; official code of MAE, I-JEPA and
V-JEPA.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def waves(places: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of places (P,): (P, width) in float64, width even.

    Example:
        >>> waves(torch.tensor([0, 1]), 2)
        tensor([[0.0000, 1.0000],
                [0.8415, 0.5403]], dtype=torch.float64)
    """
    omega = 10000 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = places.double()[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], 1)


def sincos(rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions at row r, column c: [sin(cω), cos(cω), sin(rω), cos(rω)], ω_k = 10000^(-4k / width).

    Args:
        rows, columns: of the grid of patches.
        width: of a token, a multiple of 4.

    Returns:
        (rows · columns, width), row by row of the grid.

    Reference: He et al. (2022), "Masked Autoencoders Are Scalable Vision Learners", official code
    (columns come first).

    Example:
        >>> sincos(1, 2, 4)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0000, 1.0000]])
    """
    r, c = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).unbind(1)
    return torch.cat([waves(c, width // 2), waves(r, width // 2)], 1).to(torch.get_default_dtype())


def sincos3(times: int, rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions at time t, row r, column c: the waves of t, of r and of c, a third of the width each.

    A third is rounded up to an even number, and what then is too wide is cut off at the end.

    Args:
        times, rows, columns: of the grid of patches.
        width: of a token, even.

    Returns:
        (times · rows · columns, width), time by time, and row by row within one.

    Reference: Bardes et al. (2024), "Revisiting Feature Prediction for Learning Visual Representations from
    Video", official code (as it was trained, with `uniform_power`).

    Example:
        >>> sincos3(2, 1, 2, 6)[1]  # t = 0, r = 0, c = 1
        tensor([0.0000, 1.0000, 0.0000, 1.0000, 0.8415, 0.5403])
    """
    third = 2 * math.ceil(width / 6)
    places = torch.cartesian_prod(torch.arange(times), torch.arange(rows), torch.arange(columns)).view(-1, 3)
    found = torch.cat([waves(place, third) for place in places.unbind(1)], 1)
    return found[:, :width].to(torch.get_default_dtype())


def fixed_positions(grid: tuple[int, ...], width: int) -> Tensor:
    """Positions on the grid of an image's patches, (rows, columns), or a video's, (times, rows, columns).

    Args:
        grid: how many patches there are along each axis.
        width: of a token; a multiple of 4 for an image, even for a video.

    Returns:
        (P, width), in the order of the grid's axes.

    Raises:
        ValueError: if the grid has other than 2 or 3 axes, or the width doesn't divide as it has to.

    Example:
        >>> fixed_positions((2, 3), 8).shape, fixed_positions((2, 2, 3), 8).shape
        (torch.Size([6, 8]), torch.Size([12, 8]))
    """
    if len(grid) not in (2, 3):
        raise ValueError(f"a grid is (rows, columns) or (times, rows, columns); got {grid}.")
    if width % (4 if len(grid) == 2 else 2):
        raise ValueError(
            f"fixed positions need a width that is a multiple of 4 for images, of 2 for video; got {width} "
            f"for the grid {grid}."
        )
    return sincos(*grid, width) if len(grid) == 2 else sincos3(*grid, width)  # type: ignore[call-arg]

"""A dot as pixels: what an agent sees of itself.

    pixel(r, c) = 255 exp(-((c - x)² + (r - y)²) / 2σ²), rounded,        σ = 1.3 px

Farther than 5.5 px from its center the dot rounds to 0, so a patch of 11 x 11 pixels scattered onto an empty
picture is the whole picture, bit for bit, and much faster than to compute all of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA, REACH = 1.3, 5


def draw_dots(position: Tensor, side: int) -> Tensor:
    """Pictures of a dot, (N, 2) -> (N, side, side) uint8.

    Args:
        position: (x, y) of the center in pixels (column, row), from 5 to side - 6.
        side: of the picture, in pixels.

    Raises:
        ValueError: if a dot would reach beyond the picture.

    Example:
        >>> draw_dots(torch.tensor([[6.0, 5.0]]), 12)[0, 5, 4:9]
        tensor([ 78, 190, 255, 190,  78], dtype=torch.uint8)
    """
    corner = position.round().long() - REACH  # (N, 2)
    if len(position) and (int(corner.min()) < 0 or int(corner.max()) > side - 2 * REACH - 1):
        raise ValueError(
            f"a dot needs {REACH} px around it, so its center lies from {REACH} to {side - 1 - REACH}; got "
            f"{float(position.min()):g} to {float(position.max()):g}."
        )
    near = torch.arange(2 * REACH + 1, device=position.device)
    pixel = corner[:, :, None] + near  # (N, 2, 11)
    profile = torch.exp((pixel - position[:, :, None]).square() / (-2 * SIGMA**2))
    columns, rows = profile.unbind(1)
    patch = (255 * rows[:, :, None] * columns[:, None, :]).round().to(torch.uint8)  # (N, 11, 11)
    place = (corner[:, 1] * side + corner[:, 0])[:, None, None] + near[:, None] * side + near
    picture = torch.zeros(len(position), side * side, dtype=torch.uint8, device=position.device)
    return picture.scatter_(1, place.flatten(1), patch.flatten(1)).view(-1, side, side)

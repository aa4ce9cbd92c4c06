"""A ball that falls on an edge and bounces to the left or to the right: one past, two futures.

    x: the ball at three times of its fall,        y: the ball at three times after it, on one of two ways

Nothing in the past tells which way it will be. Who predicts the mean of what may come predicts a ball in two
pale halves, which never happens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FRAMES, SIDE, RADIUS = 3, 16, 1.6


class Bounces(NamedTuple):
    """Pasts and futures.

    Attributes:
        x, y: frames before and after the bounce, in [0, 1], (N, 3, 16, 16).
        right: which way it went, (N,) bool.
        places: column and row of the ball in all six frames, (N, 6, 2).
    """

    x: Tensor
    y: Tensor
    right: Tensor
    places: Tensor


def bounces(n: int, *, share: float = 0.5, generator: torch.Generator | None = None) -> Bounces:
    """Balls of different heights and speeds, each bouncing once.

    Args:
        n: how many, at least 0.
        share: of those that go to the right, in [0, 1].
        generator: randomness; the global one if None.

    Raises:
        ValueError: if n is negative or the share no probability.

    Example:
        >>> found = bounces(4, generator=torch.Generator().manual_seed(0))
        >>> found.x.shape, found.right.dtype
        (torch.Size([4, 3, 16, 16]), torch.bool)
    """
    if n < 0 or not 0 <= share <= 1:
        raise ValueError(f"bounces needs n >= 0 and a share in [0, 1]; got n={n}, share={share}.")
    home = None if generator is None else generator.device
    u = torch.rand(n, 4, generator=generator, device=home)
    right = u[:, 0] < share
    middle = (SIDE - 1) / 2
    edge, fall = 10.0 + u[:, 1], 2.0 + u[:, 2]
    away = 1.4 + 0.8 * u[:, 3]
    back = torch.arange(FRAMES, 0, -1, device=home)
    before = torch.stack(
        [torch.full((n, FRAMES), middle, device=home), edge[:, None] - fall[:, None] * back], 2
    )
    ahead = torch.arange(1, FRAMES + 1, device=home)
    side = torch.where(right, away, -away)
    after = torch.stack([middle + side[:, None] * ahead, edge[:, None] - 0.6 * fall[:, None] * ahead], 2)
    places = torch.cat([before, after], 1)
    frames = draw_balls(places)
    return Bounces(frames[:, :FRAMES], frames[:, FRAMES:], right, places)


def draw_balls(places: Tensor) -> Tensor:
    """Balls with soft borders at (column, row), (..., 2) -> (..., 16, 16)."""
    axis = torch.arange(SIDE, dtype=places.dtype, device=places.device)
    column, row = axis - places[..., 0, None], axis - places[..., 1, None]
    far = torch.hypot(column.unsqueeze(-2), row.unsqueeze(-1))
    return (RADIUS + 0.5 - far).clamp(0, 1)

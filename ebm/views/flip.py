"""Random flips, left to right.

view_ij = x_i(W-1-j) with probability p, else x_ij
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.views.checks import images, probability, uniform
from ebm.views.transform import Transform


class Flip(NamedTuple):
    """Which images were flipped, (B,) bool."""

    flipped: Tensor


class HorizontalFlip(Transform[Flip]):
    """Each image is flipped left to right with probability p.

    Args:
        p: in [0, 1].

    Raises:
        ValueError: if p is out of its range; on a call, if x isn't (B, C, H, W).
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> HorizontalFlip(1.0)(torch.tensor([[[[1.0, 2.0, 3.0]]]])).value
        tensor([[[[3., 2., 1.]]]])
    """

    def __init__(self, p: float = 0.5):
        self.p = probability("HorizontalFlip", "p", p)

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Flip:
        return Flip(uniform(images("HorizontalFlip", x), len(x), generator=generator) < self.p)

    def apply(self, x: Tensor, parameters: Flip) -> Tensor:
        flipped = images("HorizontalFlip", x).flip(3)
        return torch.where(parameters.flipped[:, None, None, None], flipped, x)

    def source(self, points: Tensor, parameters: Flip) -> Tensor:
        row, column = points.unbind(2)
        column = torch.where(parameters.flipped[:, None], 1 - column, column)
        return torch.stack([row.expand_as(column), column], 2)

"""Masks: which patches of an image or a clip are context, and which are to be predicted from it.

    context ⊂ {0, ..., P-1},  targets ⊂ {0, ..., P-1},  context ∩ targets = ∅,        drawn for every row

A mask is the list of the patches' indices in the grid, row by row (and time by time in a clip). All rows of a
batch have as many, so that tokens stay a tensor: what is too much is left out. Masks belong to the loss, as
views do (`Masked`); an energy is a function of what they are.

Reference: Assran et al. (2023), I-JEPA, sect. 3; Bardes et al. (2024), V-JEPA, sect. 3.2; He et al. (2022),
MAE, sect. 3 (random patches); Tong et al. (2022), VideoMAE, sect. 3.3 (random tubes).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

Range = tuple[float, float]


class Drawn(NamedTuple):
    """Masks of a batch, indices int64.

    Attributes:
        context: the patches that are seen, (B, K), ascending; a tuple of them if there are several masks.
        targets: the patches to predict, (B, M, L): M blocks of L patches; a tuple likewise.
    """

    context: Tensor | tuple[Tensor, ...]
    targets: Tensor | tuple[Tensor, ...]


class Masks(ABC):
    """Draws masks: `masks.draw(batch, generator)`, on the generator's device."""

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator | None = None) -> Drawn:
        """Masks for so many rows, at least one."""


class SeveralMasks(Masks):
    """Each of several masks, drawn one after the other: the sets of V-JEPA.

    Args:
        masks: at least one.

    Example:
        >>> masks = SeveralMasks(RandomPatches((4, 4), 0.5), RandomPatches((4, 4), 0.75))
        >>> context, targets = masks.draw(2)
        >>> [tuple(each.shape) for each in (*context, *targets)]
        [(2, 8), (2, 4), (2, 1, 8), (2, 1, 12)]
    """

    def __init__(self, *masks: Masks):
        if not masks or any(not isinstance(each, Masks) or isinstance(each, SeveralMasks) for each in masks):
            raise TypeError(
                f"SeveralMasks takes masks such as MultiBlock((14, 14)), one or more; got {masks}."
            )
        self.masks = masks

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Drawn:
        drawn = [each.draw(batch, generator) for each in self.masks]
        return Drawn(tuple(one_mask(d.context) for d in drawn), tuple(one_mask(d.targets) for d in drawn))


class RandomPatches(Masks):
    """Patches hidden at random, all of them one target, the rest context; through all times in a clip.

    Args:
        grid: (rows, columns) or (times, rows, columns).
        share: of the patches that is hidden, in (0, 1); round(share · rows · columns) places are.

    Raises:
        ValueError: if a number is out of its range, or nothing is hidden, or nothing left.

    Example:
        >>> context, targets = RandomPatches((2, 2, 2), 0.75).draw(1)
        >>> context.shape, bool(context[0, 1] == context[0, 0] + 4), targets.shape
        (torch.Size([1, 2]), True, torch.Size([1, 1, 6]))
    """

    def __init__(self, grid: tuple[int, ...], share: float):
        self.grid = checked_grid("RandomPatches", grid)
        self.places = grid[-2] * grid[-1]
        self.hidden = round(share * self.places)
        if not 0 < self.hidden < self.places:
            raise ValueError(
                f"RandomPatches hides some patches of {self.places} and leaves some; a share of {share} "
                f"hides {self.hidden}."
            )

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Drawn:
        order = uniform(refuse_none(batch), self.places, generator=generator).argsort(1)
        hidden = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : self.hidden], True)
        context, targets = (through_time(indices(mask), self.grid) for mask in (~hidden, hidden))
        return Drawn(context, targets[:, None])


# --- blocks -------------------------------------------------------------------------------------------------


def block_size(grid: tuple[int, int], scale: float, aspect: float) -> tuple[int, int]:
    """Rows and columns of a block: ⌊scale · P⌋ = h w patches, h / w = aspect, rounded and no more than fit.

    Example:
        >>> block_size((16, 16), 0.15, 0.75), block_size((16, 16), 0.2, 1.5)  # I-JEPA's smallest and largest
        ((5, 7), (9, 6))
    """
    area = int(grid[0] * grid[1] * scale)
    high, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(high, 1), grid[0]), min(max(wide, 1), grid[1])


def block_masks(grid: tuple[int, int], size: tuple[int, int], top: Tensor, left: Tensor) -> Tensor:
    """Blocks of one size as masks, corners (*K) -> (*K, P), True inside.

    Example:
        >>> block_masks((2, 3), (1, 2), torch.tensor([1]), torch.tensor([0])).int()
        tensor([[0, 0, 0, 1, 1, 0]], dtype=torch.int32)
    """
    row = torch.arange(grid[0], device=top.device) - top[..., None]  # (*K, H)
    column = torch.arange(grid[1], device=top.device) - left[..., None]
    inside = ((row >= 0) & (row < size[0]))[..., :, None] & ((column >= 0) & (column < size[1]))[..., None, :]
    return inside.flatten(-2)


def indices(mask: Tensor, generator: torch.Generator | None = None, raster: bool = False) -> Tensor:
    """What a mask holds as ascending indices, (B, P) -> (B, K): K is the least count of all rows.

    Args:
        mask: True for what is in it.
        generator: chooses which ones are left out where a row has more, uniformly.
        raster: leave out the last ones instead.

    Example:
        >>> indices(torch.tensor([[True, False, True], [False, True, False]]), raster=True)
        tensor([[0],
                [1]])
    """
    counts = mask.sum(1)
    least, most = int(counts.min()), int(counts.max())
    if raster or least == most:
        order = torch.arange(mask.shape[1], device=mask.device).expand_as(mask).to(torch.float32)
    else:
        order = uniform(*mask.shape, generator=generator).to(mask.device)
    return order.masked_fill(~mask, torch.inf).argsort(1)[:, :least].sort(1).values


def through_time(index: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The indices of places, (B, k), at all times of a grid, (B, T · k), ascending."""
    times = torch.arange(math.prod(grid[:-2]), device=index.device)
    return (index[:, None] + times[:, None] * (grid[-2] * grid[-1])).flatten(1)


def uniform(*shape: int, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), float32, on the generator's device."""
    return torch.rand(shape, generator=generator, device=None if generator is None else generator.device)


def offsets(count: int, *shape: int, generator: torch.Generator | None) -> Tensor:
    """Whole numbers from 0 to count - 1, uniform, int64, on the generator's device."""
    home = None if generator is None else generator.device
    return torch.randint(count, shape, generator=generator, device=home)


def one_mask(mask: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The tensor of a mask that isn't one of several."""
    if isinstance(mask, tuple):
        raise TypeError("expected one mask, not several.")
    return mask


def refuse_none(batch: int) -> int:
    """The batch size, if there is a row.

    Raises:
        ValueError: if there is none.
    """
    if batch < 1:
        raise ValueError(f"masks are drawn for one row or more; got {batch}.")
    return batch


def checked_grid(who: str, grid: tuple[int, ...], axes: tuple[int, ...] = (2, 3)) -> tuple[int, ...]:
    """A grid of patches, if it has as many axes as it should.

    Raises:
        ValueError: if it hasn't, or is empty.
    """
    if len(grid) not in axes or any(n < 1 for n in grid):
        kinds = " or ".join({2: "(rows, columns)", 3: "(times, rows, columns)"}[n] for n in axes)
        raise ValueError(
            f"{who} needs the grid of the patches, {kinds}; got {grid}. An encoder has its .grid."
        )
    return tuple(grid)


def checked_range(who: str, name: str, value: Range, most: float = math.inf) -> Range:
    """An interval of positive numbers.

    Raises:
        ValueError: if it isn't one.
    """
    low, high = value
    if not 0 < low <= high <= most:
        bound = "" if most == math.inf else f" <= {most:g}"
        raise ValueError(f"{who} needs {name}=(low, high) with 0 < low <= high{bound}; got {value}.")
    return float(low), float(high)

"""The masks of V-JEPA: blocks that span all of the time, so that nothing can be copied from another frame.

    target = the union of blocks,    context = all the rest
    each block: all times, h w ≈ s H W,  h/w = a,  a ~ U[0.75, 1.5]

    short range:  8 blocks with s = 0.15        long range:  2 blocks with s = 0.7

Both ranges are masked in every step (`vjepa_masks`), and hide some nine tenths of a clip. A size is drawn
once a batch, positions for every clip; scale and aspect are drawn apart, and a block may lie at the last row
and column, all as in the official code.

Reference: Bardes et al. (2024), "Revisiting Feature Prediction for Learning Visual Representations from
Video", sect. 3.2; official code, facebookresearch/jepa.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.jepa.masks import (
    Drawn,
    Masks,
    Range,
    SeveralMasks,
    block_masks,
    block_size,
    checked_grid,
    checked_range,
    indices,
    offsets,
    refuse_none,
    through_time,
    uniform,
)

TRIES = 1000  # positions of the blocks of a row, before it is given up that something is left of it


class TubeBlocks(Masks):
    """Masks of V-JEPA for clips: the union of blocks through all times is the one target.

    A clip of which too little is left is masked anew. Rows with more context (or more targets) than another
    of the batch lose some places, chosen at random, through all times; with `official=True` they lose the
    last patches instead, those of the last times, as in the official code.

    Args:
        grid: (times, rows, columns) of tubelets, the encoder's `grid`.
        blocks: how many.
        scale: share of the places in a block, (low, high) or one number.
        aspect: rows over columns of a block.
        min_keep: places of context that are too few; 0 in the official code.
        official: whether to leave out the last ones.

    Raises:
        ValueError: if a setting is out of its range; on a draw, if nothing is ever left.

    Example:
        >>> context, targets = TubeBlocks((8, 14, 14), 8, 0.15).draw(2, torch.Generator().manual_seed(0))
        >>> context.shape[1] % 8, targets.shape[2] % 8  # all times of each place
        (0, 0)
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        blocks: int,
        scale: float | Range,
        *,
        aspect: Range = (0.75, 1.5),
        min_keep: int = 0,
        official: bool = False,
    ):
        self.grid = checked_grid("TubeBlocks", grid, (3,))
        if blocks < 1:
            raise ValueError(f"TubeBlocks needs one block or more; got {blocks}.")
        self.blocks, self.min_keep, self.official = blocks, min_keep, official
        ends = scale if isinstance(scale, tuple) else (scale, scale)
        self.scale = checked_range("TubeBlocks", "scale", ends, 1.0)
        self.aspect = checked_range("TubeBlocks", "aspect", aspect)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Drawn:
        refuse_none(batch)
        u, v = uniform(2, generator=generator).tolist()
        places = (self.grid[1], self.grid[2])
        (least, most), (low, high) = self.scale, self.aspect
        size = block_size(places, least + u * (most - least), low + v * (high - low))
        hidden = torch.zeros(0)
        for attempt in range(TRIES):
            corners = (
                offsets(n - k + 1, batch, self.blocks, generator=generator)
                for n, k in zip(places, size, strict=True)
            )
            found = block_masks(places, size, *corners).any(1)  # (B, H · W)
            if attempt == 0:
                hidden, missing = found, torch.ones_like(found[:, 0])
            hidden = torch.where(missing[:, None], found, hidden)
            missing = missing & ((~hidden).sum(1) <= self.min_keep)
            if not missing.any():
                break
        else:
            raise ValueError(
                f"{self.blocks} blocks of {size[0]} x {size[1]} never leave more than {self.min_keep} of "
                f"{places[0]} x {places[1]} places; choose fewer, smaller ones, or a finer grid."
            )
        context, targets = (self._indices(mask, generator) for mask in (~hidden, hidden))
        return Drawn(context, targets[:, None])

    def _indices(self, mask: Tensor, generator: torch.Generator | None) -> Tensor:
        """What a mask of places (B, H · W) holds, at all times, (B, K)."""
        if self.official:
            return indices(mask.repeat(1, self.grid[0]), raster=True)
        return through_time(indices(mask, generator), self.grid)


def vjepa_masks(grid: tuple[int, ...], *, min_keep: int = 0, official: bool = False) -> SeveralMasks:
    """Both ranges of V-JEPA: 8 blocks of 0.15 of the places each, and 2 blocks of 0.7.

    Args:
        grid: (times, rows, columns) of tubelets.
        min_keep, official: as for `TubeBlocks`.

    Example:
        >>> context, targets = vjepa_masks((8, 14, 14)).draw(2)
        >>> len(context), len(targets)
        (2, 2)
    """
    return SeveralMasks(
        TubeBlocks(grid, 8, 0.15, min_keep=min_keep, official=official),
        TubeBlocks(grid, 2, 0.7, min_keep=min_keep, official=official),
    )

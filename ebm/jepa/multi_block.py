"""The multi-block masks of I-JEPA: several target blocks, and a large context block with holes for them.

    target block     h w ≈ s P,  h/w = a,    s ~ U[0.15, 0.2],  a ~ U[0.75, 1.5],      M = 4 of them
    context block    h = w,  h w ≈ s P,      s ~ U[0.85, 1.0],    less all target blocks

Targets are large enough to mean something, and context is spread out enough to predict it from. Sizes are
drawn once a batch, so that all of its target blocks have L patches; positions are drawn for every image.

Reference: Assran et al. (2023), "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", sect. 3 and 4; official code, facebookresearch/ijepa.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.jepa.masks import (
    Drawn,
    Masks,
    Range,
    block_masks,
    block_size,
    checked_grid,
    checked_range,
    indices,
    offsets,
    refuse_none,
    uniform,
)

TRIES = 20  # positions of a context block, before it may overlap one more target block
UNIT: Range = (1.0, 1.0)


class MultiBlock(Masks):
    """Masks of I-JEPA for images.

    A context that keeps `min_keep` patches or fewer is placed anew; after 20 failures it may overlap the last
    target block, after 20 more the last two, and so on. Rows with more context than another of the batch lose
    some, chosen at random.

    The official code departs from its paper in small ways, which `official=True` repeats: one random number
    gives both scale and aspect, so that small blocks are wide and large ones tall; a block has at most H - 1
    rows and W - 1 columns, and its position excludes the last row and column, so that a context block of a
    grid of 14 x 14 never reaches those; surplus context is always lost at the bottom.

    Args:
        grid: (rows, columns) of patches, the encoder's `grid`.
        targets: M, number of target blocks; they may overlap one another.
        scale: share of the patches in a target block.
        aspect: rows over columns of a target block.
        context_scale: share of the patches in the context block, before the targets are cut out.
        min_keep: patches of context that are too few.
        official: whether to repeat what the official code does otherwise.

    Raises:
        ValueError: if a setting is out of its range, or the context block can be too small for `min_keep`.

    Example:
        >>> context, targets = MultiBlock((14, 14)).draw(8, torch.Generator().manual_seed(0))
        >>> targets.shape[:2], bool((context[:, :, None] == targets.flatten(1)[:, None]).any())
        (torch.Size([8, 4]), False)
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        *,
        targets: int = 4,
        scale: Range = (0.15, 0.2),
        aspect: Range = (0.75, 1.5),
        context_scale: Range = (0.85, 1.0),
        min_keep: int = 10,
        official: bool = False,
    ):
        rows, columns = checked_grid("MultiBlock", grid, (2,))
        self.grid = (rows, columns)
        if targets < 1:
            raise ValueError(f"MultiBlock needs one target block or more; got {targets}.")
        self.targets, self.min_keep, self.official = targets, min_keep, official
        self.scale = checked_range("MultiBlock", "scale", scale, 1.0)
        self.aspect = checked_range("MultiBlock", "aspect", aspect)
        self.context_scale = checked_range("MultiBlock", "context_scale", context_scale, 1.0)
        high, wide = self.size(self.context_scale, UNIT, 0.0, 0.0)
        if high * wide <= min_keep:
            raise ValueError(
                f"a context block of {high} x {wide} patches cannot keep more than min_keep={min_keep}; ask "
                f"for less, or for smaller patches, so that the grid {rows} x {columns} has more of them."
            )

    def size(self, scale: Range, aspect: Range, u: float, v: float) -> tuple[int, int]:
        """Rows and columns of a block for random numbers u and v in [0, 1), of its scale and aspect."""
        v = u if self.official else v
        high, wide = block_size(
            self.grid, scale[0] + u * (scale[1] - scale[0]), aspect[0] + v * (aspect[1] - aspect[0])
        )
        if self.official:
            high, wide = min(high, max(self.grid[0] - 1, 1)), min(wide, max(self.grid[1] - 1, 1))
        return high, wide

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Drawn:
        refuse_none(batch)
        u, v, w = uniform(3, generator=generator).tolist()
        size = self.size(self.scale, self.aspect, u, v)
        hidden = self._blocks(size, batch, self.targets, generator)  # (B, M, P)
        targets = indices(hidden.flatten(0, 1)).unflatten(0, (batch, self.targets))
        context = self._context(self.size(self.context_scale, UNIT, w, w), hidden, generator)
        return Drawn(indices(context, generator, raster=self.official), targets)

    def _context(self, size: tuple[int, int], hidden: Tensor, generator: torch.Generator | None) -> Tensor:
        """A block without what is hidden in each row, as a mask (B, P)."""
        keep = torch.zeros_like(hidden[:, 0])
        missing = torch.ones_like(keep[:, 0])
        for respected in range(self.targets, -1, -1):
            free = ~hidden[:, :respected].any(1)
            for _ in range(TRIES):
                found = self._blocks(size, len(hidden), 1, generator)[:, 0] & free
                fits = missing & (found.sum(1) > self.min_keep)
                keep[fits], missing = found[fits], missing & ~fits
                if not missing.any():
                    return keep
        return keep  # never got to: a whole block is more than min_keep

    def _blocks(
        self, size: tuple[int, int], batch: int, count: int, generator: torch.Generator | None
    ) -> Tensor:
        """Blocks of one size at random places, as masks (B, count, P)."""
        last = 0 if self.official else 1
        top, left = (
            offsets(max(n - k + last, 1), batch, count, generator=generator)
            for n, k in zip(self.grid, size, strict=True)
        )
        return block_masks(self.grid, size, top, left)

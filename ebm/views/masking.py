"""Random masks: entries, or whole patches of images, become one value.

    y_i = value if m_i else x_i,    m_i ~ Bernoulli(share) for each entry
                                    or m over patches, exactly round(share · P) of them in each image

Reference: Vincent et al. (2010), "Stacked Denoising Autoencoders", sect. 3.3; He et al. (2022), "Masked
Autoencoders Are Scalable Vision Learners", sect. 3 (random sampling of patches without replacement).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.views.checks import images, numbers, probability, uniform
from ebm.views.transform import Transform


class Hidden(NamedTuple):
    """What was hidden, bool: (B, *shape) for entries; (B, P) for patches, row by row of their grid."""

    hidden: Tensor


class MaskEntries(Transform[Hidden]):
    """Each entry is hidden with a probability, for rows of any shape.

    Args:
        share: the probability, in [0, 1].
        value: what hidden entries become.

    Raises:
        ValueError: if the share is out of its range.
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> MaskEntries(1.0, value=-1.0)(torch.zeros(1, 3)).value
        tensor([[-1., -1., -1.]])
    """

    def __init__(self, share: float, *, value: float = 0.0):
        self.share, self.value = probability("MaskEntries", "share", share), value

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Hidden:
        return Hidden(uniform(numbers("MaskEntries", x), *x.shape, generator=generator) < self.share)

    def apply(self, x: Tensor, parameters: Hidden) -> Tensor:
        return numbers("MaskEntries", x).masked_fill(parameters.hidden, self.value)


class MaskPatches(Transform[Hidden]):
    """A share of the patches of each image is hidden, the same number in all images.

    Args:
        patch: side of a patch in pixels; divides both sides of the images.
        share: of the patches, in [0, 1]; round(share · P) of them are hidden.
        value: what hidden pixels become.

    Raises:
        ValueError: if a setting is out of its range; on a call, if x isn't (B, C, H, W) or patches don't fit.
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> view, mask = MaskPatches(2, 0.75)(torch.ones(1, 1, 4, 4))
        >>> mask.hidden.sum().item(), view.sum().item()
        (3, 4.0)
    """

    def __init__(self, patch: int, share: float, *, value: float = 0.0):
        if patch < 1:
            raise ValueError(f"MaskPatches needs a patch of at least 1 pixel; got {patch}.")
        self.patch, self.share, self.value = patch, probability("MaskPatches", "share", share), value

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Hidden:
        rows, columns = self._grid(x)
        u = uniform(x, len(x), rows * columns, generator=generator)
        return Hidden(
            u.argsort(1) < round(self.share * rows * columns)
        )  # a random permutation's least numbers

    def apply(self, x: Tensor, parameters: Hidden) -> Tensor:
        grid = parameters.hidden.view(-1, 1, *self._grid(x))
        hidden = grid.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)
        return x.masked_fill(hidden, self.value)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        rows, columns = images("MaskPatches", x).shape[2:]
        if rows % self.patch or columns % self.patch:
            raise ValueError(
                f"patches of {self.patch} x {self.patch} pixels don't divide images of {rows} x {columns}; "
                f"resize the images or choose another patch."
            )
        return rows // self.patch, columns // self.patch

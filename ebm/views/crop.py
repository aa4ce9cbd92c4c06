"""Random crops, resized: a rectangle of random size, shape and place, seen at one resolution.

    area = |image| · s,  s ~ U(scale);    width / height = r,  log r ~ U(log ratio);    place uniform
    view = A_rows · crop · A_columnsᵀ,    A_ij ∝ [1 - |c_i - j| / m]₊,    c_i the source of pixel i

The rows of A are triangles on the crop's pixels, normalized: bilinear interpolation with half-width m = 1. If
the crop shrinks and `antialias` is set, m is the factor by which it shrinks, so that every pixel of the crop
counts. One product of matrices does this for the whole batch, exactly: a crop that keeps its size is a slice.

Drawn as published and as in torchvision's code: sides are whole pixels, the first of ten proposals that fits
is taken, and the largest centered rectangle of an allowed shape if none does.

Reference: Szegedy et al. (2015), "Going Deeper with Convolutions", sect. 6.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.views.checks import images, interval, uniform
from ebm.views.transform import Transform, without_autocast

PROPOSALS = 10


class Box(NamedTuple):
    """Rectangles in the original images, in pixels, (B,) each, floating point.

    Attributes:
        top, left: the upper left corner; (0, 0) is the corner of the image's first pixel.
        height, width: sides.
        image_height, image_width: sides of the original image.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    image_height: Tensor
    image_width: Tensor


class RandomResizedCrop(Transform[Box]):
    """A random rectangle of each image, resized to one size.

    Applied to images of another size than those it was drawn for, a box cuts out the same part.

    Args:
        size: of the view in pixels, one side of a square or (H, W).
        scale: the least and greatest share of the image's area, in (0, 1].
        ratio: the least and greatest width / height, positive.
        antialias: average over all pixels where a crop shrinks; if not, some are skipped.

    Raises:
        ValueError: if a setting is out of its range; on a call, if x isn't (B, C, H, W).
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> x, crop = torch.rand(1, 3, 8, 8), RandomResizedCrop(4, scale=(0.25, 0.25), ratio=(1.0, 1.0))
        >>> view, box = crop(x)
        >>> top, left = int(box.top), int(box.left)
        >>> torch.equal(view, x[:, :, top : top + 4, left : left + 4])
        True
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = True,
    ):
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"RandomResizedCrop needs a size in pixels, a number or (H, W); got {size}.")
        self.scale = interval("RandomResizedCrop", "scale", scale, most=1.0)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio)
        if not self.scale[0] > 0 or not self.ratio[0] > 0:
            raise ValueError(f"scale and ratio start above 0; got {scale} and {ratio}.")
        self.antialias = antialias

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Box:
        rows, columns = images("RandomResizedCrop", x).shape[2:]
        u = uniform(x, len(x), 2, PROPOSALS, generator=generator)
        area = rows * columns * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0])
        least, most = (math.log(value) for value in self.ratio)
        root = torch.exp(0.5 * (least + (most - least) * u[:, 1]))
        width, height = (area.sqrt() * root).round(), (area.sqrt() / root).round()  # (B, PROPOSALS)
        fits = (width >= 1) & (width <= columns) & (height >= 1) & (height <= rows)
        first, found = fits.byte().argmax(1, keepdim=True), fits.any(1)
        shape = min(max(columns / rows, self.ratio[0]), self.ratio[1])
        high, wide = max(1, min(rows, round(columns / shape))), max(1, min(columns, round(rows * shape)))
        height = torch.where(found, height.gather(1, first)[:, 0], high)
        width = torch.where(found, width.gather(1, first)[:, 0], wide)
        down, across = uniform(x, 2, len(x), generator=generator)
        top = torch.where(found, ((rows - height + 1) * down).floor(), (rows - high) // 2)
        left = torch.where(found, ((columns - width + 1) * across).floor(), (columns - wide) // 2)
        return Box(top, left, height, width, torch.full_like(top, rows), torch.full_like(top, columns))

    @without_autocast
    def apply(self, x: Tensor, parameters: Box) -> Tensor:
        batch, channels, rows, columns = images("RandomResizedCrop", x).shape
        box, (high, wide) = parameters, self.size
        down = triangles(box.top, box.height, rows / box.image_height, rows, high, self.antialias)
        across = triangles(box.left, box.width, columns / box.image_width, columns, wide, self.antialias)
        narrow = torch.bmm(x.reshape(batch, channels * rows, columns), across.to(x.dtype).mT)
        return torch.matmul(down.to(x.dtype)[:, None], narrow.view(batch, channels, rows, wide))

    def shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:2], *self.size))

    def source(self, points: Tensor, parameters: Box) -> Tensor:
        box = parameters
        corner = torch.stack([box.top / box.image_height, box.left / box.image_width], 1)
        sides = torch.stack([box.height / box.image_height, box.width / box.image_width], 1)
        return corner[:, None] + points * sides[:, None]


def triangles(
    start: Tensor, length: Tensor, zoom: Tensor, inputs: int, outputs: int, antialias: bool
) -> Tensor:
    """The matrices A that resize the part [start, start + length) of a line of pixels, (B, outputs, inputs).

    Args:
        start, length: of the crop, (B,), in pixels of the image that it was drawn for.
        zoom: pixels of this image per pixel of that one, (B,).
        inputs, outputs: numbers of pixels, before and after.
        antialias: widen the triangles where the crop shrinks.
    """
    start, length = start * zoom, length * zoom
    step = length / outputs
    reach = step.clamp(min=1) if antialias else torch.ones_like(step)  # m, half the width of a triangle
    place = torch.arange(outputs, dtype=step.dtype, device=step.device) + 0.5
    pixel = torch.arange(inputs, dtype=step.dtype, device=step.device)
    center = start[:, None] + place * step[:, None]  # (B, outputs), from the corner of the image
    distance = (center[:, :, None] - (pixel + 0.5)).abs() / reach[:, None, None]
    inside = (pixel + 1 > start[:, None]) & (pixel < (start + length)[:, None])  # (B, inputs)
    weight = (1 - distance).clamp(min=0) * inside[:, None]
    return weight / weight.sum(2, keepdim=True)

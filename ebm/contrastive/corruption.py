"""Corruptions: ways to spoil data, so that an energy can learn what is wrong with the result.

    ỹ = c(y, randomness),        c_1.then(c_2)(y) = c_2(c_1(y))

Every row is spoilt on its own draw, whatever the shape of a row, (B, *shape); blocks need rows that are
images, (B, ..., H, W).

Reference: Vincent, Larochelle, Lajoie, Bengio, Manzagol (2010), "Stacked Denoising Autoencoders", sect. 3.3
(Gaussian, masking, salt and pepper).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ebm.rows import expand


class Corruption(ABC):
    """Spoils data: `corruption(y, generator)` is like y, (B, *shape)."""

    @abstractmethod
    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Spoilt data; y is left as it is."""

    def then(self, other: Corruption) -> Corruption:
        """This corruption, and the other one on its result.

        Example:
            >>> spoil = Masking(0.5).then(SaltAndPepper(0.1))
            >>> spoil(torch.full((2, 3), 0.7), torch.Generator().manual_seed(0))
            tensor([[0.0000, 0.7000, 0.0000],
                    [0.0000, 0.0000, 0.7000]])
        """
        return Chain(self, other)


class Chain(Corruption):
    """One corruption after the other; made by `then`."""

    def __init__(self, first: Corruption, second: Corruption):
        self.first, self.second = first, second

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.second(self.first(y, generator), generator)


class Gaussian(Corruption):
    """ỹ = y + σ ε, ε ~ N(0, I).

    Args:
        scale: σ, at least 0, in units of y.
        lowest: if given, each row draws its own σ, uniform in [lowest, scale].
    """

    def __init__(self, scale: float, lowest: float | None = None):
        if not 0 <= (scale if lowest is None else lowest) <= scale:
            raise ValueError(f"Gaussian needs 0 <= lowest <= scale; got lowest={lowest}, scale={scale}.")
        self.scale, self.lowest = scale, lowest

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        refuse_whole_numbers("Gaussian", y)
        noise = torch.empty_like(y).normal_(generator=generator)
        if self.lowest is None:
            return y + self.scale * noise
        scale = self.lowest + (self.scale - self.lowest) * _uniform(y, len(y), generator=generator)
        return y + expand(scale, y) * noise


class Masking(Corruption):
    """ỹ_i = value with probability `share`, else y_i.

    Args:
        share: in [0, 1], of the entries to hide.
        value: what hidden entries become.
    """

    def __init__(self, share: float, value: float = 0.0):
        self.share, self.value = probability("Masking", "share", share), value

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return y.masked_fill(_uniform(y, *y.shape, generator=generator) < self.share, self.value)


class SaltAndPepper(Corruption):
    """ỹ_i = low or high, with probability share / 2 each, else y_i.

    Args:
        share: in [0, 1], of the entries to spoil.
        low, high: the two values.
    """

    def __init__(self, share: float, low: float = 0.0, high: float = 1.0):
        self.share, self.low, self.high = probability("SaltAndPepper", "share", share), low, high

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        u = _uniform(y, *y.shape, generator=generator)
        return y.masked_fill(u < self.share, self.high).masked_fill(u < 0.5 * self.share, self.low)


class BlockMasking(Corruption):
    """A random rectangle of each image becomes `value`.

    Args:
        smallest, largest: sides of the rectangle in pixels, each drawn uniformly from this range.
        value: what hidden pixels become.
    """

    def __init__(self, smallest: int, largest: int, value: float = 0.0):
        self.smallest, self.largest = _sides("BlockMasking", smallest, largest)
        self.value = value

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return y.masked_fill(rectangles(y, self.smallest, self.largest, generator), self.value)


class BlockSwap(Corruption):
    """A random rectangle of each image comes from another one: every part is real, the whole is not.

    Where the rectangle covers more than half of the image, the rest is swapped instead.

    Args:
        share: in [0, 1], of the rows that are spoilt.
        smallest, largest: sides of the rectangle in pixels, each drawn uniformly from this range.
    """

    def __init__(self, share: float, smallest: int, largest: int):
        self.share = probability("BlockSwap", "share", share)
        self.smallest, self.largest = _sides("BlockSwap", smallest, largest)

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        batch = len(y)
        if batch < 2:
            raise ValueError(f"BlockSwap takes blocks from other rows of the batch; got {batch} row(s).")
        block = rectangles(y, self.smallest, self.largest, generator)
        large = block.flatten(1).to(y.dtype).mean(1) > 0.5
        chosen = _uniform(y, batch, generator=generator) < self.share
        block = (block ^ expand(large, y)) & expand(chosen, y)
        home = None if generator is None else generator.device
        shift = int(torch.randint(1, batch, (), generator=generator, device=home))
        return torch.where(block, y.roll(shift, 0), y)


class Shift(Corruption):
    """ỹ_i = y_{i + d}: each image moved by a whole number of pixels, and `value` where it came from nowhere.

    Args:
        largest: how far at most, in pixels; d is uniform in [-largest, largest], on its own down and across.
        value: what comes in from outside.
    """

    def __init__(self, largest: int, value: float = 0.0):
        if largest < 0:
            raise ValueError(f"Shift needs largest >= 0, in pixels; got {largest}.")
        self.largest, self.value = largest, value

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if y.ndim < 3:
            raise ValueError(
                f"Shift needs images, (B, ..., H, W); got {tuple(y.shape)}. Reshape rows to images first: "
                f"y.unflatten(1, (H, W))."
            )
        for dim in (-2, -1):
            u = _uniform(y, len(y), generator=generator)
            moved = ((2 * self.largest + 1) * u).floor().long() - self.largest  # (B,)
            source = torch.arange(y.shape[dim], device=y.device) + moved[:, None]  # (B, size)
            outside = (source < 0) | (source >= y.shape[dim])
            shape = [len(y), *(1,) * (y.ndim - 1)]
            shape[dim] = y.shape[dim]
            y = y.gather(dim, source.clamp(0, y.shape[dim] - 1).view(shape).expand_as(y))
            y = y.masked_fill(outside.view(shape), self.value)
        return y


def rectangles(y: Tensor, smallest: int, largest: int, generator: torch.Generator | None = None) -> Tensor:
    """A random rectangle of each image as a mask that broadcasts, (B, ..., H, W) -> (B, 1, ..., H, W).

    Raises:
        ValueError: if the rows are no images, or are smaller than a rectangle.
    """
    if y.ndim < 3 or min(y.shape[-2:]) < largest:
        raise ValueError(
            f"blocks of up to {largest} x {largest} pixels need images at least as large, (B, ..., H, W); "
            f"got {tuple(y.shape)}. Reshape rows to images first: y.unflatten(1, (H, W))."
        )
    inside = []
    for size in y.shape[-2:]:
        u, v = _uniform(y, 2, len(y), generator=generator)
        side = smallest + ((largest - smallest + 1) * u).floor()  # (B,)
        first = ((size - side + 1) * v).floor()
        place = torch.arange(size, device=y.device)
        inside.append((place >= first[:, None]) & (place < (first + side)[:, None]))  # (B, size)
    rows, columns = inside
    mask = rows[:, :, None] & columns[:, None, :]
    return mask.view(len(y), *(1,) * (y.ndim - 3), *mask.shape[1:])


def refuse_whole_numbers(who: str, y: Tensor) -> None:
    """Raise TypeError for data that are no real numbers."""
    if not y.is_floating_point():
        raise TypeError(
            f"{who} spoils real numbers, and the data are {y.dtype}. Tokens are hidden by MaskTokens; "
            f"numbers that merely came as integers: y.float()."
        )


def _uniform(like: Tensor, *shape: int, generator: torch.Generator | None) -> Tensor:
    refuse_whole_numbers("this corruption", like)
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


def probability(who: str, name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{who} needs {name} in [0, 1]; got {value}.")
    return value


def _sides(who: str, smallest: int, largest: int) -> tuple[int, int]:
    if not 1 <= smallest <= largest:
        raise ValueError(f"{who} needs 1 <= smallest <= largest, in pixels; got {smallest} and {largest}.")
    return smallest, largest

"""Random changes of color: brightness, contrast, saturation and hue, gray, solarized.

    brightness    x ← f x                                  f ~ U[max(0, 1 - b), 1 + b]
    contrast      x ← f x + (1 - f) mean(gray(x))          likewise, the mean over the image's pixels
    saturation    x ← f x + (1 - f) gray(x)                likewise
    hue           x ← x turned by h around the circle of hues, h ~ U[-hue, hue] in turns
    gray(x) = 0.299 R + 0.587 G + 0.114 B;    solarize: x ← 1 - x where x >= threshold

All on values in [0, 1], to which each step is clipped; every row takes the four steps of `ColorJitter`
in its own random order. The steps have torchvision's form. The official codes of SimCLR and BYOL differ: the
contrast's mean is that of each channel, and BYOL's brightness is added, not multiplied.

Reference: Howard (2013), "Some Improvements on Deep Convolutional Neural Network Based Image Classification",
sect. 2; Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning", app. A.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.rows import expand
from ebm.views.checks import between, images, probability, uniform, unit_range
from ebm.views.transform import Nothing, Transform, without_autocast

GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


class Jitter(NamedTuple):
    """What was done to the colors.

    Attributes:
        brightness, contrast, saturation: factors, (B,); 1 changes nothing.
        hue: turns, (B,); 0 changes nothing.
        order: the steps' numbers in the order in which they were taken, (B, 4): 0 to 3 as listed above.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor


class ColorJitter(Transform[Jitter]):
    """Brightness, contrast, saturation and hue, changed at random and in random order.

    Args:
        brightness, contrast, saturation: how far the factors may lie from 1, at least 0.
        hue: how far hues may be turned, in [0, 0.5] turns.

    Raises:
        ValueError: if a setting is out of its range; on a call, if x isn't (B, 3, H, W) or gray (B, 1, H, W),
            if gray images are to change saturation or hue, or if values lie outside of [0, 1].
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> view, jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)(torch.rand(2, 3, 8, 8))
        >>> jitter.brightness.shape, sorted(jitter.order[0].tolist())
        (torch.Size([2]), [0, 1, 2, 3])
    """

    def __init__(
        self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ):
        if not all(0 <= value < float("inf") for value in (brightness, contrast, saturation)):
            got = f"{brightness}, {contrast} and {saturation}"
            raise ValueError(f"brightness, contrast, saturation are finite and at least 0; got {got}.")
        if not 0 <= hue <= 0.5:
            raise ValueError(f"hue is in [0, 0.5] turns; got {hue}.")
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Jitter:
        if _colors("ColorJitter", x) == 1 and (self.saturation or self.hue):
            raise ValueError(
                "gray images, (B, 1, H, W), have neither saturation nor hue to jitter: leave these at 0, as "
                "ColorJitter(0.4, 0.4) does."
            )
        brightness, contrast, saturation = (
            between(x, max(0.0, 1 - reach), 1 + reach, generator)
            for reach in (self.brightness, self.contrast, self.saturation)
        )
        hue = between(x, -self.hue, self.hue, generator)
        order = uniform(x, len(x), 4, generator=generator).argsort(1)
        return Jitter(brightness, contrast, saturation, hue, order)

    @without_autocast
    def apply(self, x: Tensor, parameters: Jitter) -> Tensor:
        colors = _colors("ColorJitter", x)
        unit_range("ColorJitter", x)
        brightness, contrast, saturation, hue, order = parameters
        table = torch.stack([brightness, contrast, saturation, torch.ones_like(hue)], 1)
        for step in order.unbind(1):
            factor = expand(table.gather(1, step[:, None]), x).to(x.dtype)
            gray = luma(x)
            target = torch.where(expand(step == SATURATION, x), gray, 0.0)
            target = torch.where(expand(step == CONTRAST, x), gray.mean((2, 3), keepdim=True), target)
            x = torch.lerp(target, x, factor).clamp_(0, 1)
            turned = ((step == HUE) & (hue != 0)).nonzero()[:, 0]  # unchanged so far: their factor is 1
            if colors == 3 and len(turned):
                x = x.index_copy_(0, turned, turn_hue(x[turned], hue[turned]))
        return x


class Grayscale(Transform[Nothing]):
    """All three channels become gray(x); `Maybe(0.2, Grayscale())` does it to one row in five.

    Raises:
        ValueError: on a call, if x isn't (B, 3, H, W).
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> Grayscale()(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).value.flatten()
        tensor([0.2990, 0.2990, 0.2990])
    """

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Nothing:
        if _colors("Grayscale", x) != 3:
            raise ValueError("Grayscale takes color images (B, 3, H, W); these are gray, leave it out.")
        return Nothing()

    def apply(self, x: Tensor, parameters: Nothing) -> Tensor:
        return luma(x).repeat(1, 3, 1, 1) if _colors("Grayscale", x) == 3 else x


class Solarize(Transform[Nothing]):
    """Values from the threshold on become 1 - x: the light parts of the image, negated.

    Args:
        threshold: in [0, 1].

    Raises:
        ValueError: if the threshold is out of its range; on a call, if x isn't (B, C, H, W) or values lie
            outside of [0, 1].
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> Solarize()(torch.tensor([[[[0.25, 0.5, 0.75]]]])).value
        tensor([[[[0.2500, 0.5000, 0.2500]]]])
    """

    def __init__(self, threshold: float = 0.5):
        self.threshold = probability("Solarize", "threshold", threshold)

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Nothing:
        images("Solarize", x)
        return Nothing()

    def apply(self, x: Tensor, parameters: Nothing) -> Tensor:
        unit_range("Solarize", images("Solarize", x))
        return torch.where(x < self.threshold, x, 1 - x)


def luma(x: Tensor) -> Tensor:
    """gray(x), (B, 3, H, W) -> (B, 1, H, W); gray images (B, 1, H, W) are what they are."""
    if x.shape[1] == 1:
        return x
    r, g, b = x.split(1, 1)
    return (GRAY[0] * r).add_(g, alpha=GRAY[1]).add_(b, alpha=GRAY[2])


def turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Colors turned around the circle of hues; their greatest and smallest channel keep their values.

    With m = min(R, G, B), C = max(R, G, B) - m and the hue h in sixths of a turn, 0 to 6, a color is
    R = m + C [|h - 3| - 1],  G = m + C [2 - |h - 2|],  B = m + C [2 - |h - 4|],  [.] clipped to [0, 1].

    Args:
        x: colors in [0, 1], (B, 3, H, W).
        turns: (B,).

    Returns:
        (B, 3, H, W).
    """
    r, g, b = x.split(1, 1)
    most, least = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma, red, green = most - least, most == r, most == g
    hue = torch.where(red, g - b, torch.where(green, b - r, r - g)) / torch.where(chroma == 0, 1.0, chroma)
    hue = hue + torch.where(red, 0.0, torch.where(green, 2.0, 4.0)).to(x.dtype)
    hue = (hue + expand(6 * turns, x).to(x.dtype)).remainder(6)
    weights = (hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()
    return torch.addcmul(least, chroma, torch.cat(weights, 1).clamp(0, 1))


def _colors(who: str, x: Tensor) -> int:
    """The number of channels, 1 or 3."""
    if images(who, x).shape[1] not in (1, 3):
        raise ValueError(
            f"{who} takes color images (B, 3, H, W) or gray ones (B, 1, H, W); got shape {tuple(x.shape)}."
        )
    return x.shape[1]

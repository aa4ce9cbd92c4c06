"""The energies of images that `image_energies` learns: a number or a restoration, at all levels of noise.

    ImageEnergy       E(y) = f(y) + ½|y - ½|²/4
    Restoration       E(y) = ½|y - r(y)|²,        r gives back an image
    Leveled           E(y, σ) = E(y) / σ^p

A score is steep where noise is weak: that of a number grows as 1/σ at most by the network, hence p = 1. The
distance to what r restores is itself about σ√D at noise σ, so p = 2.

Reference: Song & Ermon (2020), "Improved Techniques for Training Score-Based Generative Models", sect. 3.3
(one network for all levels, divided by σ); an energy that is a restoration's error, trained by denoising
score matching: Salimans & Ho (2021), "Should EBMs Model the Energy or the Score?".
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, silu

from ebm import Energy
from ebm.nets.layers import convolution, linear, uniform


class ImageEnergy(Energy):
    """E(y) = f(y) + ½|y - ½|²/4, f three convolutions and a linear layer."""

    def __init__(self, side: int, channels: int, generator: Generator):
        super().__init__()
        make = partial(convolution, generator=generator)
        first = 1 if side < 16 else 2
        sizes = (channels, 2 * channels, 4 * channels)
        self.network = nn.Sequential(
            make(1, sizes[0], 3, stride=first), nn.SiLU(),
            make(sizes[0], sizes[1], 3, stride=2), nn.SiLU(),
            make(sizes[1], sizes[2], 3, stride=2), nn.SiLU(),
            nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            outputs = self.network(torch.zeros(1, 1, side, side)).shape[1]
        self.head = linear(outputs, 1, generator=generator)

    def forward(self, y: Tensor) -> Tensor:
        f: Tensor = self.head(self.network(y)).squeeze(1)
        return f + (y - 0.5).square().flatten(1).sum(1) / 8


class Restoration(Energy):
    """E(y) = ½|y - r(y)|², r a small U-net: blocks of 2 x 2 pixels, one halving, then the whole image."""

    def __init__(self, side: int, channels: int, generator: Generator):
        super().__init__()
        make = partial(_with_bias, generator=generator)
        c, flat = channels, 2 * channels * (side // 4) ** 2
        self.enter, self.fine = make(4, c), make(c, c)
        self.halve, self.coarse, self.again = make(c, 2 * c, 2), make(2 * c, 2 * c), make(2 * c, 2 * c)
        squeeze, spread = linear(flat, 64, generator=generator), linear(64, flat, generator=generator)
        self.whole = nn.Sequential(nn.Flatten(), squeeze, nn.SiLU(), spread)
        self.widen, self.join, self.leave = make(2 * c, c), make(2 * c, c), make(c, 4)

    def restored(self, y: Tensor) -> Tensor:
        """r(y), (B, 1, H, W), H and W multiples of 4."""
        h = silu(self.enter(pixel_unshuffle(4 * y - 2, 2)))
        h = h + silu(self.fine(h))
        k = silu(self.halve(h))
        k = k + silu(self.coarse(k))
        k = k + self.whole(k).view_as(k)
        k = k + silu(self.again(k))
        up = silu(self.widen(interpolate(k, scale_factor=2.0, mode="nearest")))
        return pixel_shuffle(self.leave(silu(self.join(torch.cat([h, up], 1)))), 2)

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.restored(y)).square().flatten(1).sum(1)


def _with_bias(inputs: int, outputs: int, stride: int = 1, *, generator: Generator) -> nn.Conv2d:
    """A 3 x 3 convolution as torch begins it."""
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, 3, stride=stride, padding=1)
    return uniform(layer, 9 * inputs, generator)


class Leveled(Energy):
    """E(y, σ) = E(y) / σ^p: one network for all levels of noise, its slope as steep as scores are."""

    def __init__(self, part: Energy, power: float = 1.0):
        super().__init__()
        self.part, self.power = part, power

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = self.part.forward(y) / sigma**self.power
        return value

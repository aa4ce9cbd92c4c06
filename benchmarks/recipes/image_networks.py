"""The energies of images that `image_energies` learns, and the same at all levels of noise."""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, silu

from ebm import Energy
from ebm.nets.layers import convolution, linear


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
    """E(y) = ½|y - r(y)|², r a U-net of two scales below the image's: what of y is not as r would have it.

    Where r removes noise of any scale σ, E(y + σε) = ½σ²|ε|², so that E / σ² has the slope of a score.
    """

    def __init__(self, channels: int, generator: Generator):
        super().__init__()
        make, (a, b, c) = partial(convolution, generator=generator), (channels, 2 * channels, 4 * channels)
        self.first, self.down, self.deep = make(1, a, 3), make(a, b, 3, stride=2), make(b, c, 3, stride=2)
        self.middle, self.up, self.out = make(c, c, 3), make(c, b, 3), make(b, a, 3)
        self.last = make(a, 1, 3)

    def restored(self, y: Tensor) -> Tensor:
        """r(y), like y."""
        large = silu(self.first(y))
        half = silu(self.down(large))
        quarter = silu(self.middle(silu(self.deep(half))))
        half = half + silu(self.up(interpolate(quarter, size=half.shape[2:])))
        large = large + silu(self.out(interpolate(half, size=large.shape[2:])))
        restored: Tensor = self.last(large)
        return restored

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.restored(y)).square().flatten(1).sum(1)


class Leveled(Energy):
    """E(y, σ) = E(y) / σ^p: one network for all levels of noise, its slope as steep as scores are."""

    def __init__(self, part: Energy, power: int):
        super().__init__()
        self.part, self.power = part, power

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = self.part.forward(y) / sigma**self.power
        return value

"""The energies of images that `image_energies` learns: one network, and the same at all levels of noise."""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor, nn

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


class Leveled(Energy):
    """E(y, σ) = E(y) / σ: one network for all levels of noise, its slope as steep as scores are."""

    def __init__(self, part: Energy):
        super().__init__()
        self.part = part

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = self.part.forward(y) / sigma
        return value

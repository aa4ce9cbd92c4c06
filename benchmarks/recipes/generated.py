"""Color images made from random numbers, of kinds that a small network tells apart: for trying things out."""

from __future__ import annotations

import math

import torch

from ebm.data import LabeledImages

KINDS = (
    (0.0, (1.0, 0.5, 0.2)),
    (60.0, (0.3, 1.0, 0.5)),
    (120.0, (0.4, 0.3, 1.0)),
)  # degrees; red, green, blue


def striped_images(number: int, side: int = 32, *, seed: int = 0, noise: float = 0.1) -> LabeledImages:
    """Stripes of three directions, each with a tint of its own; width, place and strength differ.

    Args:
        number: N.
        side: of the images in pixels.
        seed: of the random numbers.
        noise: standard deviation of what is added to each pixel.

    Returns:
        images (N, 3, side, side) in [0, 1], float32, and labels (N,), 0 to 2.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(KINDS), (number,), generator=generator)
    angle = torch.tensor([math.radians(angle) for angle, _ in KINDS])[labels]
    tint = torch.tensor([tint for _, tint in KINDS])[labels][:, :, None, None]  # (N, 3, 1, 1)
    waves, phase, strength = torch.rand(3, number, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    along = angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y  # (N, side, side)
    stripes = torch.sin(2 * math.pi * ((3 + 3 * waves) * along + phase))
    images = tint * (0.5 + (0.2 + 0.3 * strength) * stripes)[:, None]
    images += noise * torch.randn(images.shape, generator=generator)
    return LabeledImages(images.clamp_(0, 1), labels)

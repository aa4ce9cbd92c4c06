"""A small convolutional network that turns images of about 30 x 30 pixels into codes.

    maps = c_3(c_2(c_1(image))),    c_l(h) = ReLU(N(W_l * h)) at half the resolution of h
    code = W mean(maps) + b         the mean over the pixels

Three convolutions 3 x 3 that halve the image and double the channels, the mean over what is left of the
pixels, and one linear layer: 28 x 28 pixels become maps of 4 x 4 cells.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Generator, nn

from ebm.nets.layers import check_sizes, convolution, linear

GROUP = 8  # channels normalized together in group normalization


def convnet(
    channels: int,
    outputs: int,
    *,
    width: int = 32,
    stages: int = 3,
    normalization: Literal["batch", "group"] = "batch",
    generator: Generator | None = None,
) -> nn.Sequential:
    """A small convolutional encoder, as a sequence of "maps", "pool" and "linear".

    Args:
        channels: of the images: 1 for gray, 3 for color.
        outputs: width of the codes.
        width: channels after the first convolution; every further one doubles them.
        stages: how often the resolution is halved.
        normalization: "batch" mixes the rows of a batch in training mode and needs `net.eval()` before
            `minimize`; "group" (8 channels of one image together) never mixes rows.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, channels, H, W) -> (B, outputs); `net.maps` gives (B, width · 2^(stages-1), h, w).

    Raises:
        ValueError: if a size isn't positive, or `normalization` is unknown, or groups of 8 don't fit.

    Example:
        >>> import torch
        >>> net, images = convnet(1, 64, generator=Generator().manual_seed(0)), torch.zeros(5, 1, 28, 28)
        >>> net(images).shape, net.maps(images).shape
        (torch.Size([5, 64]), torch.Size([5, 128, 4, 4]))
    """
    check_sizes("convnet", channels, outputs, width, stages)
    if normalization not in ("batch", "group"):
        raise ValueError(f'normalization is "batch" or "group"; got {normalization!r}.')
    if normalization == "group" and width % GROUP:
        raise ValueError(f"group normalization needs a width that is a multiple of {GROUP}; got {width}.")
    maps: list[nn.Module] = []
    inputs, size = channels, width
    for _ in range(stages):
        norm = nn.BatchNorm2d(size) if normalization == "batch" else nn.GroupNorm(size // GROUP, size)
        maps += [convolution(inputs, size, 3, stride=2, generator=generator), norm, nn.ReLU()]
        inputs, size = size, 2 * size
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = linear(inputs, outputs, generator=generator)
    return nn.Sequential(OrderedDict(maps=nn.Sequential(*maps), pool=pool, linear=head))

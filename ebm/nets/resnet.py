"""Residual networks: every block adds to what it was given.

    h_{l+1} = ReLU(P h_l + F_l(h_l)),    P = identity, or a 1 x 1 convolution where size or channels change

    basic        F = BN conv3x3 ReLU BN conv3x3                        ResNet-18
    bottleneck   F = BN conv1x1 ReLU BN conv3x3 ReLU BN conv1x1        ResNet-50; the stride is in conv3x3

Parameters bear the names that are usual for these networks (conv1, layer1.0.bn2, fc, ...), so published
weights load. Convolutions start as in He et al. (2015), normalizations as the identity, fc as
`ebm.nets.layers.linear`.

In training mode batch normalization lets the code of a row depend on all rows; in evaluation mode it doesn't.

Reference: He, Zhang, Ren, Sun (2016), "Deep Residual Learning for Image Recognition", table 1; the small
stem: Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning", app. B.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ebm.nets.layers import check_sizes, convolution, linear

Stem = Literal["imagenet", "cifar"]


class Basic(nn.Module):
    """F = BN conv3x3 ReLU BN conv3x3, (B, inputs, H, W) -> (B, width, H / stride, ...)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, generator: Generator | None):
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride=stride, generator=generator)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, generator=generator)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride, generator)

    def forward(self, h: Tensor) -> Tensor:
        f = torch.relu(self.bn1(self.conv1(h)))
        return torch.relu(self.bn2(self.conv2(f)) + self.downsample(h))


class Bottleneck(nn.Module):
    """F = BN conv1x1 ReLU BN conv3x3 ReLU BN conv1x1, (B, inputs, H, W) -> (B, 4 width, H / stride, ...)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, generator: Generator | None):
        super().__init__()
        self.conv1 = convolution(inputs, width, 1, generator=generator)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride=stride, generator=generator)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1, generator=generator)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride, generator)

    def forward(self, h: Tensor) -> Tensor:
        f = torch.relu(self.bn1(self.conv1(h)))
        f = torch.relu(self.bn2(self.conv2(f)))
        return torch.relu(self.bn3(self.conv3(f)) + self.downsample(h))


class ResNet(nn.Module):
    """Four stages of residual blocks; the mean of the last maps is the code. See `resnet18` and `resnet50`.

    Args:
        block: `Basic` or `Bottleneck`.
        blocks: how many of them in each of the four stages.
        channels: of the images: 1 for gray, 3 for color.
        width: channels of the first stage; every further one doubles them.
        stem: "imagenet" (7 x 7 convolution at stride 2, then maximum over 3 x 3 at stride 2: for images of
            about 224 pixels) or "cifar" (3 x 3 at stride 1, no maximum: for about 32 pixels).
        outputs: width of a linear layer on the code, "fc"; none if None.
        zero_init_residual: start the scale of every block's last normalization at 0, so that F = 0 at first.
        generator: source of the weights; the global one if None.

    Attributes:
        code: width of the mean of the last maps.

    Raises:
        ValueError: if a size isn't positive, there aren't four stages, or the stem is unknown.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: Sequence[int],
        *,
        channels: int = 3,
        width: int = 64,
        stem: Stem = "imagenet",
        outputs: int | None = None,
        zero_init_residual: bool = False,
        generator: Generator | None = None,
    ):
        super().__init__()
        check_sizes("ResNet", channels, width, *blocks, *([] if outputs is None else [outputs]))
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f'stem is "imagenet" or "cifar"; got {stem!r}.')
        if len(blocks) != 4:
            raise ValueError(f"a ResNet has four stages, such as blocks=(2, 2, 2, 2); got {tuple(blocks)}.")
        large = stem == "imagenet"
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1 = convolution(channels, width, kernel, stride=stride, generator=generator)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        inputs, stages = width, []
        for stage, count in enumerate(blocks):
            size = width * 2**stage
            layers: list[nn.Module] = []
            for number in range(count):
                layers.append(block(inputs, size, 2 if stage and not number else 1, generator))
                inputs = size * block.expansion
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.code = inputs
        self.fc = nn.Identity() if outputs is None else linear(inputs, outputs, generator=generator)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Basic | Bottleneck):
                    nn.init.zeros_((module.bn2 if isinstance(module, Basic) else module.bn3).weight)

    def maps(self, images: Tensor) -> Tensor:
        """The last maps, (B, code, h, w): 1/32 of the images' resolution, 1/8 with the small stem."""
        h = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(h))))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.maps(images).mean((2, 3)))


def resnet18(
    *,
    channels: int = 3,
    width: int = 64,
    stem: Stem = "imagenet",
    outputs: int | None = None,
    zero_init_residual: bool = False,
    generator: Generator | None = None,
) -> ResNet:
    """ResNet-18: two basic blocks a stage; 11,689,512 parameters with outputs=1000.

    Args:
        channels, width, stem, outputs, zero_init_residual, generator: as for `ResNet`.

    Returns:
        A module (B, channels, H, W) -> (B, 512), or (B, outputs).

    Raises:
        ValueError: as `ResNet`.

    Example:
        >>> net = resnet18(stem="cifar", channels=1, width=8, generator=Generator().manual_seed(0))
        >>> net(torch.zeros(2, 1, 28, 28)).shape, net.maps(torch.zeros(2, 1, 28, 28)).shape
        (torch.Size([2, 64]), torch.Size([2, 64, 4, 4]))
    """
    return ResNet(
        Basic,
        (2, 2, 2, 2),
        channels=channels,
        width=width,
        stem=stem,
        outputs=outputs,
        zero_init_residual=zero_init_residual,
        generator=generator,
    )


def resnet50(
    *,
    channels: int = 3,
    width: int = 64,
    stem: Stem = "imagenet",
    outputs: int | None = None,
    zero_init_residual: bool = False,
    generator: Generator | None = None,
) -> ResNet:
    """ResNet-50: 3, 4, 6 and 3 bottleneck blocks; 25,557,032 parameters with outputs=1000.

    Args:
        channels, width, stem, outputs, zero_init_residual, generator: as for `ResNet`.

    Returns:
        A module (B, channels, H, W) -> (B, 2048), or (B, outputs).

    Raises:
        ValueError: as `ResNet`.

    Example:
        >>> resnet50(width=4, generator=Generator().manual_seed(0))(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 128])
    """
    return ResNet(
        Bottleneck,
        (3, 4, 6, 3),
        channels=channels,
        width=width,
        stem=stem,
        outputs=outputs,
        zero_init_residual=zero_init_residual,
        generator=generator,
    )


def _shortcut(inputs: int, outputs: int, stride: int, generator: Generator | None) -> nn.Sequential:
    """P: the identity where F keeps the shape (an empty sequence), else a normalized 1 x 1 convolution."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(
        convolution(inputs, outputs, 1, stride=stride, generator=generator), nn.BatchNorm2d(outputs)
    )

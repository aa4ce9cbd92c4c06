"""Layers whose weights come from a generator: the same module as torch's, the global generator left alone.

    Linear          W, b ~ U(-1/√n, 1/√n),    n inputs                           (torch's own start)
    convolution     W ~ N(0, 2/m),            m = outputs · kernel², no bias     (He et al.)

Reference: He, Zhang, Ren, Sun (2015), "Delving Deep into Rectifiers", eq. 14: in this form a gradient keeps
its variance on its way back through convolutions and ReLUs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Generator, nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.Conv3d)


def linear(inputs: int, outputs: int, *, bias: bool = True, generator: Generator | None = None) -> nn.Linear:
    """A linear layer, weights and bias uniform in ±1/√inputs.

    Args:
        inputs, outputs: widths, positive.
        bias: whether there is one.
        generator: source of the weights; the global one if None.

    Returns:
        A module (..., inputs) -> (..., outputs).

    Raises:
        ValueError: if a width isn't positive.

    Example:
        >>> linear(4, 2, bias=False, generator=Generator().manual_seed(0)).weight.abs().max().item() <= 0.5
        True
    """
    check_sizes("linear", inputs, outputs)
    return uniform(undrawn(nn.Linear, inputs, outputs, bias=bias), inputs, generator)


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, generator: Generator | None = None
) -> nn.Conv2d:
    """A convolution without bias that keeps the size of images, weights from N(0, 2 / (outputs · kernel²)).

    Args:
        inputs, outputs: channels, positive.
        kernel: side of the kernel in pixels, odd.
        stride: pixels from one output to the next.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, inputs, H, W) -> (B, outputs, ⌈H / stride⌉, ⌈W / stride⌉).

    Raises:
        ValueError: if a number isn't positive, or the kernel is even.

    Example:
        >>> import torch
        >>> convolution(3, 8, 5, stride=2)(torch.zeros(1, 3, 28, 28)).shape
        torch.Size([1, 8, 14, 14])
    """
    check_sizes("convolution", inputs, outputs, kernel, stride)
    if kernel % 2 == 0:
        raise ValueError(f"a kernel with a pixel in its middle has an odd side; got {kernel}.")
    layer = undrawn(nn.Conv2d, inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (outputs * kernel**2)), generator=generator)
    return layer


def undrawn(kind: Callable[..., Layer], *sizes: Any, **options: Any) -> Layer:
    """A layer whose parameters are memory without numbers: nothing has been drawn for them from anywhere.

    As `torch.nn.utils.skip_init`, which for the first one in a process loads sympy: half a second.
    """
    layer = kind(*sizes, device="meta", **options)
    for name, parameter in list(layer.named_parameters()):
        memory = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
        layer.register_parameter(name, nn.Parameter(memory))
    return layer


def uniform(layer: Layer, inputs: int, generator: Generator | None) -> Layer:
    """The layer with all its parameters drawn uniformly in ±1/√inputs, as torch starts them."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
    return layer


def check_sizes(who: str, *sizes: int) -> None:
    """Refuse sizes that aren't positive whole numbers.

    Raises:
        ValueError: naming the sizes.
    """
    if any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(
            f"{who} needs positive whole numbers for its sizes; got {', '.join(map(str, sizes))}."
        )

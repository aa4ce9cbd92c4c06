"""What views ask of their input, and how they draw numbers for its rows.

u ~ U[0, 1) on x's device, in x's dtype, or in float32 where x has half precision
"""

from __future__ import annotations

import torch
from torch import Tensor


def numbers(who: str, x: Tensor) -> Tensor:
    """x, if it is a batch of rows of floating-point numbers.

    Raises:
        TypeError: if it isn't a tensor of floating-point numbers.
        ValueError: if it is a single number.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        cure = " Images of bytes: divide by 255." if isinstance(x, Tensor) else ""
        raise TypeError(f"{who} takes a tensor of floating-point numbers; got {got}.{cure}")
    if x.ndim == 0:
        raise ValueError(f"{who} takes rows, (B, ...); got a single number.")
    return x


def images(who: str, x: Tensor) -> Tensor:
    """x, if it is a batch of images.

    Raises:
        TypeError: if it isn't a tensor of floating-point numbers.
        ValueError: if it isn't (B, C, H, W) with at least one channel and pixel.
    """
    numbers(who, x)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(
            f"{who} takes images (B, C, H, W); got shape {tuple(x.shape)}. x.unsqueeze(1) gives gray images "
            f"(B, H, W) their channel, x.unsqueeze(0) makes a batch of one image (C, H, W)."
        )
    return x


def unit_range(who: str, x: Tensor) -> Tensor:
    """x, if its values lie in [0, 1], up to the rounding of averages.

    Raises:
        ValueError: naming the range that came.
    """
    if x.numel():
        low, high = (float(value) for value in torch.aminmax(x.detach()))
        slack = torch.finfo(x.dtype).eps ** 0.5
        if not (low >= -slack and high <= 1 + slack):
            raise ValueError(
                f"{who} takes images in [0, 1]; got values from {low:.4g} to {high:.4g}. Divide bytes "
                f"by 255, and standardize after the views, not before."
            )
    return x


def uniform(x: Tensor, *shape: int, generator: torch.Generator | None) -> Tensor:
    """Numbers uniform in [0, 1), as the parameters of a view of x."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.rand(shape, generator=generator, dtype=dtype, device=x.device)


def between(x: Tensor, low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """One number for each row of x, uniform in [low, high), (B,)."""
    return low + (high - low) * uniform(x, len(x), generator=generator)


def interval(
    who: str, name: str, value: tuple[float, float], least: float = 0.0, most: float = float("inf")
) -> tuple[float, float]:
    """The interval from which a parameter is drawn.

    Raises:
        ValueError: if not least <= low <= high <= most, or an end is infinite.
    """
    low, high = value
    if not (least <= low <= high <= most and high < float("inf")):
        bound = "" if most == float("inf") else f" <= {most:g}"
        raise ValueError(f"{who} needs {name}=(low, high) with {least:g} <= low <= high{bound}; got {value}.")
    return float(low), float(high)


def probability(who: str, name: str, value: float) -> float:
    """A number in [0, 1].

    Raises:
        ValueError: if it isn't.
    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{who} needs {name} in [0, 1]; got {value}.")
    return float(value)

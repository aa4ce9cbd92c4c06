"""Random changes of numbers of any kind, (B, *shape): noise added to every entry, rows scaled.

    noise      y = x + s · u ⊙ ε,    ε ~ N(0, I),    s ~ U(scale),    u the units of the entries
    scaling    y = f x,              log f ~ U(log factor), one number for each row

Called jitter and scaling where x is a signal.

Reference: Um et al. (2017), "Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring
using Convolutional Neural Networks" (with one s for all rows, and normally distributed f).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.rows import expand
from ebm.views.checks import between, interval, numbers
from ebm.views.transform import Transform


class Noise(NamedTuple):
    """What was added.

    Attributes:
        scale: s, (B,).
        noise: ε, (B, *shape).
    """

    scale: Tensor
    noise: Tensor


class GaussianNoise(Transform[Noise]):
    """Gaussian noise on every entry, for rows of any shape.

    Args:
        scale: the standard deviation, at least 0; or (low, high), from which every row draws its own.
        units: what a deviation of 1 means for each entry, shaped to multiply a row, such as the standard
            deviations (D,) of features; 1 if None.

    Raises:
        ValueError: if the scale is out of its range.
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> view, noise = GaussianNoise(0.1)(torch.zeros(2, 3))
        >>> torch.equal(view, 0.1 * noise.noise)
        True
    """

    def __init__(self, scale: float | tuple[float, float], *, units: Tensor | None = None):
        both = scale if isinstance(scale, tuple) else (scale, scale)
        self.scale = interval("GaussianNoise", "scale", both)
        self.units = units

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Noise:
        scale = between(numbers("GaussianNoise", x), *self.scale, generator)
        noise = torch.randn(x.shape, generator=generator, dtype=scale.dtype, device=x.device)
        return Noise(scale, noise)

    def apply(self, x: Tensor, parameters: Noise) -> Tensor:
        scale, noise = parameters
        noise = expand(scale, numbers("GaussianNoise", x)) * noise
        return x + (noise if self.units is None else noise * self.units.to(noise)).to(x.dtype)


class Scale(NamedTuple):
    """The factors by which rows were multiplied, (B,)."""

    factor: Tensor


class Scaling(Transform[Scale]):
    """Each row is multiplied by a number of its own; as likely by f as by 1/f if the interval is (1/m, m).

    Args:
        factor: the least and greatest, positive.

    Raises:
        ValueError: if the factor is out of its range.
        TypeError: on a call, if x isn't floating point.

    Example:
        >>> view, scale = Scaling((0.5, 2.0))(torch.ones(2, 3))
        >>> torch.equal(view, scale.factor[:, None].expand(2, 3))
        True
    """

    def __init__(self, factor: tuple[float, float]):
        self.factor = interval("Scaling", "factor", factor)
        if not self.factor[0] > 0:
            raise ValueError(f"Scaling needs positive factors; got {factor}.")

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Scale:
        low, high = (math.log(value) for value in self.factor)
        return Scale(between(numbers("Scaling", x), low, high, generator).exp())

    def apply(self, x: Tensor, parameters: Scale) -> Tensor:
        return x * expand(parameters.factor, numbers("Scaling", x)).to(x.dtype)

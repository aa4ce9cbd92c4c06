"""Where a solve begins: an object that makes the starting value of a free variable from the given ones.

    u_0 = start(given, noise)

An encoder that guesses z from what is observed is amortized inference: LISTA, the encoder of a VAE and a
mode-1 actor are all `Network` starts, and the minimizer refines their guess.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.choices import Choices


class Start(nn.Module, ABC):
    """Makes a starting value (B, *shape). All randomness is drawn in `draw`, once a bind."""

    def draw(self, binder: Binder) -> Tensor | None:
        """Noise for B rows, or None if the start is not random."""
        return None

    @abstractmethod
    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        """The starting value, from the other variables' values and the noise."""


def start_of(value: Any) -> Start | None:
    """The start object of a free variable (for a discrete one, that in its `Choices`); None without one."""
    inner = value.start if isinstance(value, Choices) else value
    return inner if isinstance(inner, Start) else None


def begin(
    start: Start,
    like: Tensor,
    variables: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """What a start object makes outside a solve, for as many rows as `like` has, in its dtype and place.

    Args:
        start: the object.
        like: (B, ...); nothing but its B, dtype and device is used.
        variables: what a start such as `Data` or `Network` may read.
        generator: source of all randomness.

    Example:
        >>> begin(Zeros(2), torch.ones(3, 5))
        tensor([[0., 0.],
                [0., 0.],
                [0., 0.]])
    """
    binder = Binder(generator, len(like), like.dtype, like.device)
    made: Tensor = start(variables or {}, start.draw(binder), binder)
    return made


def as_choices(value: Tensor, n: int) -> Tensor:
    """What a start object made for a discrete variable, as indices that were checked, int64."""
    checked: Tensor = Choices(value.long(), n).start
    return checked


def _empty(binder: Binder, shape: tuple[int, ...], who: str) -> Tensor:
    batch = binder.need_batch(who)
    return torch.empty(batch, *shape, dtype=binder.dtype or torch.get_default_dtype(), device=binder.device)


class Zeros(Start):
    """u_0 = 0, of the given shape (without the batch)."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        return _empty(binder, self.shape, "Zeros").zero_()


class Normal(Start):
    """u_0 ~ N(0, scale²), of the given shape (without the batch)."""

    def __init__(self, *shape: int, scale: float = 1.0):
        super().__init__()
        if not scale >= 0:
            raise ValueError(f"scale is a standard deviation, at least 0; got {scale}.")
        self.shape, self.scale = shape, scale

    def draw(self, binder: Binder) -> Tensor:
        return _empty(binder, self.shape, "Normal").normal_(0.0, self.scale, generator=binder.generator)

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        if drawn is None:
            raise ValueError("Normal starts from noise; draw it first.")
        return drawn


class Uniform(Start):
    """u_0 uniform between two numbers, of the given shape (without the batch)."""

    def __init__(self, *shape: int, low: float = 0.0, high: float = 1.0):
        super().__init__()
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"low and high are finite, low below high; got {low} and {high}.")
        self.shape, self.low, self.high = shape, low, high

    def draw(self, binder: Binder) -> Tensor:
        return _empty(binder, self.shape, "Uniform").uniform_(self.low, self.high, generator=binder.generator)

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        if drawn is None:
            raise ValueError("Uniform starts from noise; draw it first.")
        return drawn


class Bits(Start):
    """u_0 of zeros and ones, each 1 with the same probability, of the given shape (without the batch)."""

    def __init__(self, *shape: int, chance: float = 0.5):
        super().__init__()
        if not 0 <= chance <= 1:
            raise ValueError(f"chance is the probability of a 1, in [0, 1]; got {chance}.")
        self.shape, self.chance = shape, chance

    def draw(self, binder: Binder) -> Tensor:
        return _empty(binder, self.shape, "Bits").bernoulli_(self.chance, generator=binder.generator)

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        if drawn is None:
            raise ValueError("Bits start from chance; draw it first.")
        return drawn


class Data(Start):
    """u_0 = the value of another variable: denoising starts at what was observed."""

    def __init__(self, variable: str):
        super().__init__()
        self.variable = variable

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        return _read(variables, self.variable, "Data")


class Network(Start):
    """u_0 = network(variables): amortized inference."""

    def __init__(self, network: nn.Module, *variables: str):
        super().__init__()
        if not variables:
            raise ValueError("Network needs the names of the variables that it reads: Network(encoder, 'y').")
        self.network, self.reads = network, variables

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        return self.network(*(_read(variables, name, "Network") for name in self.reads))


def _read(variables: Mapping[str, Any], name: str, who: str) -> Any:
    if name not in variables:
        raise ValueError(
            f"{who} starts from {name!r}, which has no value here; there are {', '.join(variables)}."
        )
    return variables[name]

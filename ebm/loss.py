"""Losses: what shapes an energy. A loss says how badly an energy is shaped for given data.

    L(E, data) = (1/B) Σ_i ℓ(E, data_i),        a sum of losses is a loss, and so is a multiple of one

A loss that only pushes the energy of the data down is smallest for an energy that is low everywhere. So
either the loss also pushes up elsewhere (`ebm.contrastive`), or the energy is built such that it cannot be
low everywhere (`ebm.regularized`); then `AverageEnergy` is all it takes.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.pose import check_generator
from ebm.memory import targets
from ebm.processes import world_size
from ebm.signature import check_output, refuse_faulty, refuse_missing

ON_DATA, OFF_DATA = "energy on data", "energy off data"


class LossOutput(NamedTuple):
    """A loss and what it is made of.

    Attributes:
        loss: what to differentiate, 0-dimensional.
        terms: numbers worth watching, 0-dimensional and detached. "energy on data" is the mean energy of the
            data; "energy off data", where there is one, that of the points which the loss pushes up.
    """

    loss: Tensor
    terms: dict[str, Tensor]

    @property
    def gap(self) -> Tensor | None:
        """The energy gap, off the data minus on it; None where the loss has no points off the data."""
        return self.terms[OFF_DATA] - self.terms[ON_DATA] if {ON_DATA, OFF_DATA} <= set(self.terms) else None


class Loss(nn.Module, ABC):
    """A functional of an energy; subclasses write `forward(self, energy, generator=None, **data)`.

    Losses add and scale: `AverageEnergy() + 0.1 * Denoising(Gaussian(0.2))`. A loss is a module, since some
    have parameters of their own (a learned log Z, a generator of contrastive points).
    """

    @abstractmethod
    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        """The loss of `energy` on `data`, variables and options of the energy by name, B rows first."""

    def __call__(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if not isinstance(energy, Energy):
            raise TypeError(f"{self.label} is called as loss(energy, generator, y=y); got {energy!r} first.")
        if data:  # else the data may have come by position, and what is missing is told
            check_generator(generator)
        try:
            output: LossOutput = super().__call__(energy, generator, **data)
        except (RuntimeError, ValueError):
            refuse_faulty(energy, data)
            raise
        # on a GPU to look is to wait, and one of several processes must not stop alone: there `fit` looks
        if output.loss.device.type == "cpu" and not math.isfinite(output.loss.item()) and world_size() == 1:
            refuse_faulty(energy, data)
        return output

    @property
    def label(self) -> str:
        """The name under which a sum reports this loss."""
        return type(self).__name__

    @property
    def described(self) -> str:
        """The loss with its weights, in words: a checkpoint is not gone on from with another one."""
        return self.label

    def __add__(self, other: Loss) -> Loss:
        return SumOfLosses(self, other) if isinstance(other, Loss) else NotImplemented

    def __radd__(self, other: Any) -> Loss:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # sum([...]) begins with 0

    def __sub__(self, other: Loss) -> Loss:
        return self + (-1.0) * other if isinstance(other, Loss) else NotImplemented

    def __mul__(self, weight: float) -> Loss:
        return ScaledLoss(self, float(weight)) if isinstance(weight, int | float) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Loss:
        return self * (1.0 / divisor)

    def __neg__(self) -> Loss:
        return self * -1.0


class AverageEnergy(Loss):
    """The mean energy of the data: pushes down, and does nothing else.

    L = (1/B) Σ_i E(y_i). It trains every energy that cannot be low everywhere, and collapses every other.

    An energy with a memory (`ebm.memory`: DINO, MoCo) is shown the targets of the batch, each one once,
    however many pairs it is part of. In evaluation mode, which a loss is in after `.eval()`, nothing is
    remembered.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def bowl(y):
        ...     return (y**2).sum(1)
        >>> output = (0.5 * AverageEnergy())(bowl, y=torch.ones(4, 3))
        >>> output.loss, output.terms
        (tensor(1.5000), {'energy on data': tensor(3.)})
    """

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        bound = _bound(energy, data, generator)
        mean = _value(bound, energy).mean()
        terms = {ON_DATA: mean.detach()}
        with torch.no_grad():
            for leaf, s_y in targets(bound):
                terms |= leaf.report(s_y)
                if self.training:
                    leaf.remember(s_y)
        return LossOutput(mean, terms)


class SumOfLosses(Loss):
    """L = Σ_i L_i on the same data; a name that two parts report is numbered from the second on."""

    def __init__(self, *losses: Loss):
        super().__init__()
        self.parts = nn.ModuleList()
        for loss in losses:
            self.parts.extend(loss.parts if isinstance(loss, SumOfLosses) else [loss])

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for part in self.parts:
            output = part(energy, generator, **data)
            total = output.loss if total is None else total + output.loss
            for name, value in {part.label: output.loss.detach(), **output.terms}.items():
                terms[unused_name(name, terms)] = value
        if total is None:
            raise ValueError("a sum of no losses is no loss; add at least one.")
        return LossOutput(total, terms)

    @property
    def described(self) -> str:
        return " + ".join(str(part.described) for part in self.parts)


class ScaledLoss(Loss):
    """L = weight · L_0; the terms are reported as they are."""

    def __init__(self, part: Loss, weight: float):
        super().__init__()
        self.part, self.weight = part, weight

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        output = self.part(energy, generator, **data)
        return LossOutput(self.weight * output.loss, output.terms)

    @property
    def label(self) -> str:
        return self.part.label

    @property
    def described(self) -> str:
        return f"{self.weight:g} {self.part.described}"


def energy_of(energy: Energy, data: Mapping[str, Any], generator: torch.Generator | None = None) -> Tensor:
    """The energy of every row of the data, (B,); what the energy draws comes from `generator`.

    Raises:
        TypeError: if a variable of the energy is missing or a name is unknown to it.
        ValueError: if there is no row, or the energy is not one number a row.
    """
    return _value(_bound(energy, data, generator), energy)


def _bound(energy: Energy, data: Mapping[str, Any], generator: torch.Generator | None) -> Bound:
    refuse_missing(energy, data)
    bound = energy.bind(data, generator)
    if bound.batch == 0:
        raise ValueError("the data has 0 rows, so it has no mean energy; pass at least one.")
    return bound


def _value(bound: Bound, energy: Energy) -> Tensor:
    value = bound()
    if bound.batch is not None:
        check_output(value, bound.batch, energy.label)
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value  # means need the digits


def unused_name(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or with the first number from 2 on, name_2, under which nothing is kept yet."""
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return candidate

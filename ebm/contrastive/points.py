"""The energy at the data and at other points: what most contrastive losses are made of.

    (y_i, x_i)  ->  E(y_i, x_i)    and    E(y'_ik, x_i),  k = 1 ... K        x: all that is given beside y

The energy is bound once to what is given. So an observation is encoded once, however many points are tried
against it, and what the energy draws is the same for the data and for what stands against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.loss import OFF_DATA, ON_DATA, Loss
from ebm.problem import Problem
from ebm.signature import check_output, describe, refuse_missing


class Points:
    """An energy bound to everything but one variable, and the data of that variable.

    Attributes:
        y: the data, (B, *shape).
        bound: the energy of the one free variable.

    Args:
        loss: on whose behalf; it is named in errors.
        energy: an energy of the variable, and of others.
        variable: the name of the data.
        data: values of all variables, B rows first; options of the energy may stand here too.
        generator: source of what the energy draws when it is bound.
        real: whether the loss moves the data by small steps, so that discrete data is refused.

    Raises:
        TypeError: for a variable that is missing, unknown or discrete, saying what to do.
        ValueError: if there is no row.
    """

    def __init__(
        self,
        loss: Loss,
        energy: Energy,
        variable: str,
        data: Mapping[str, Any],
        generator: torch.Generator | None,
        real: bool = True,
    ):
        y = data_of(loss, energy, variable, data, real)
        self.y, self.variable, self.label = y, variable, energy.label
        given = {name: value for name, value in data.items() if name != variable}
        self.bound = energy.bind(given, generator, like={variable: y})

    def energy(self, y: Tensor) -> Tensor:
        """E(y_i, x_i), (B,), at one point a row, (B, *shape)."""
        return self._checked(self.bound(**{self.variable: y}), y.shape[0])

    def energies(self, y: Tensor) -> Tensor:
        """E(y_ik, x_i), (B, K), at K points a row, (B, K, *shape), in one call."""
        batch, points = y.shape[:2]
        value = self.bound.repeat(points)(**{self.variable: y.flatten(0, 1)})
        return self._checked(value, batch * points).view(batch, points)

    def problem(self, generator: torch.Generator | None = None) -> Problem:
        """The energy as a method of inference sees it, without a graph; it draws from `generator`."""
        shapes = {self.variable: self.y.shape[1:]}
        return Problem(self.bound.detach(), shapes, generator=generator, batch=self.y.shape[0])

    def _checked(self, value: Tensor, rows: int) -> Tensor:
        check_output(value, rows, self.label)
        return in_full(value)


def data_of(loss: Loss, energy: Energy, variable: str, data: Mapping[str, Any], real: bool = True) -> Tensor:
    """The data of one variable, (B, *shape), after checking that a loss can do with it; as `Points` does.

    Raises:
        TypeError: for a variable that is missing, unknown or, with `real`, discrete.
        ValueError: if there is no row.
    """
    if variable not in energy.variables:
        raise TypeError(
            f"{loss.label} shapes an energy over {variable!r}, and {describe(energy)}; name its data: "
            f"{loss.label}(..., variable={energy.variables[0] if energy.variables else 'y'!r})."
        )
    refuse_missing(energy, data)
    y = data[variable]
    if not isinstance(y, Tensor) or y.ndim == 0:
        raise TypeError(
            f"{variable!r} is a tensor of B rows, (B, *shape); got {type(y).__name__}. torch.as_tensor makes "
            f"one of lists and arrays."
        )
    if y.shape[0] == 0:
        raise ValueError(f"the data has 0 rows, so {loss.label} has no value; pass at least one.")
    if real and not y.is_floating_point():
        raise TypeError(
            f"{loss.label} moves {variable!r} by small steps, and it holds {y.dtype}. For discrete data "
            f"take MaximumLikelihood(AllChoices(...)) where all states can be listed, or a loss that "
            f"compares states with their neighbors: pseudo-likelihood, ratio matching, probability "
            f"flow. Numbers that merely came as integers: {variable}.float()."
        )
    return y


def in_full(value: Tensor) -> Tensor:
    """Half precision as float32, since means need the digits."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def on_and_off(on_data: Tensor, off_data: Tensor) -> dict[str, Tensor]:
    """The mean energy on the data and off it, as terms of a loss."""
    return {ON_DATA: on_data.detach().mean(), OFF_DATA: off_data.detach().mean()}


def gap_terms(points: Points, off_data: Tensor, show_gap: bool) -> dict[str, Tensor]:
    """The terms of a loss that knows the energy off the data alone: on the data it is one more evaluation."""
    if not show_gap:
        return {OFF_DATA: off_data.detach().mean()}
    with torch.no_grad():
        return on_and_off(points.energy(points.y), off_data)


def like_data(noise: Tensor, y: Tensor, who: str) -> Tensor:
    """Draws (n, *event) of a density as points of the data's shape, (n, *shape), in its dtype and place.

    Raises:
        TypeError: if the data are whole numbers: a density of real numbers says nothing of them.
        ValueError: if a draw holds another number of entries than a row of the data.
    """
    if noise.is_floating_point() and not y.is_floating_point():
        raise TypeError(
            f"{who} draws {noise.dtype}, and the data are discrete, {y.dtype}. Zeros and ones in floating "
            f"point, y.float(), take noise of bits (ebm.targets.Ising); see also PseudoLikelihood."
        )
    if noise[0].numel() != y[0].numel():
        raise ValueError(
            f"{who} draws points of shape {tuple(noise.shape[1:])}, and a row of the data is "
            f"{tuple(y.shape[1:])}; give it a density with as many entries, {y[0].numel()}."
        )
    return noise.detach().reshape(len(noise), *y.shape[1:]).to(y)

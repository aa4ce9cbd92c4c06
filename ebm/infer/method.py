"""The protocol of a minimizer: state in, state out, a verdict per row, nothing hidden on `self`.

    state_0 = init(problem, u_0),    state_{k+1} = step(problem, state_k)    until verdict(state_k) ≠ 0

A state is a dict of tensors whose first dimension is the rows. It always holds `u` and `value` = E(u), and
`gradient_norm` where there is a gradient. The loop, the stopping of rows, the record of the best point and
differentiation belong to the driver (`ebm.infer.minimize`); a method is the update alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real

import torch
from torch import Tensor

from ebm.problem import Problem
from ebm.rows import norm
from ebm.solution import Stop

State = dict[str, Tensor]


class Method(ABC):
    """A way to minimize an energy; subclasses say what they can take."""

    monotone: bool = False  # no step ever raises the energy, so the last point is the best
    proximal: bool = False  # uses the prox of terms that have one
    population: bool = False  # compares energies without a gradient: +inf, constraints are fine
    constrained: bool = False  # keeps to `subject_to`, as every population does
    discrete: bool = False  # works on Choices
    differentiable: bool = True  # its steps can be unrolled
    reports: tuple[str, ...] = ()  # entries of the state that go into `Solution.report`

    @abstractmethod
    def init(self, problem: Problem, u: Tensor) -> State:
        """The state at the starting point u."""

    @abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """One step for every row; a new state, the old one is left as it was."""

    def verdict(self, state: State, tol: float) -> Tensor:
        """A `Stop` code per row, (B,) uint8; 0 where the row goes on."""
        return (state["gradient_norm"] <= tol).to(torch.uint8)  # Stop.GRADIENT is 1


def stop_where(condition: Tensor, reason: Stop) -> Tensor:
    """The code of `reason` where the condition holds, 0 elsewhere, (B,) uint8."""
    return condition.to(torch.uint8) * int(reason)


def with_gradient(u: Tensor, value: Tensor, gradient: Tensor, **more: Tensor) -> State:
    """The state of a gradient method at u."""
    return {"u": u, "value": value, "gradient": gradient, "gradient_norm": norm(gradient), **more}


def positive(name: str, value: float | Tensor, zero: bool = False) -> float | Tensor:
    """Check that a setting, one number or one per row, is positive (or zero, if allowed).

    Raises:
        TypeError: if it is no number.
        ValueError: if it isn't, naming the setting.
    """
    if not isinstance(value, Tensor | Real):
        raise TypeError(f"{name} is a number, or a tensor with one a row; got {value!r}.")
    if isinstance(value, Tensor):
        fits = bool((value.isfinite() & ((value >= 0) if zero else (value > 0))).all())
    else:
        fits = math.isfinite(value) and (value >= 0 if zero else value > 0)
    if not fits:
        raise ValueError(f"{name} must be finite and {'at least 0' if zero else 'positive'}; got {value}.")
    return value


def number(name: str, value: float, zero: bool = False) -> float:
    """The same for a setting that is one number whatever the rows, as a float.

    Raises:
        TypeError: if it is no number, or a tensor of several.
        ValueError: if it isn't positive (or zero, if allowed), naming the setting.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        raise TypeError(f"{name} is one number; got a tensor of shape {tuple(value.shape)}.")
    return float(positive(name, value, zero))


def fraction(name: str, value: float) -> float:
    """Check that a setting lies in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be at least 0 and below 1; got {value}.")
    return value


def count(name: str, value: int, least: int = 1) -> int:
    """Check that a setting is an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return value

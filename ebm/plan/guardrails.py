"""Guardrails: what must not happen, at no step that is imagined and in no action that is done.

    allowed:  max_{t=1..T} excess(s_t) <= 0,    else a safe action is done in place of the planned one

A guardrail is an energy, allowed where it is <= 0, and a constraint of the solve (`subject_to`). Whatever the
solve returns is checked once more, `Guard`, against the path that the model predicts from what is seen now.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3.2 (the intrinsic cost is
immutable); Dalal et al. (2018), "Safe Exploration in Continuous Action Spaces".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.regularizers import Regularizer
from ebm.world.model import ModelState

TOLERANCE = 1e-6  # of a violation: what rounding makes of a plan on the guardrail


class Guardrail(Energy):
    """max_{t=1..T} excess(s_t), allowed where it is at most 0.

    Args:
        excess: of states (B, T, S), (B, T): positive where it must not be.
        name: under which violations are reported.

    Example:
        >>> roof = Guardrail(lambda states: states[..., 0] - 2.0, "roof")
        >>> roof(states=torch.tensor([[[0.0], [1.0], [3.0]]]))
        tensor([1.])
    """

    def __init__(self, excess: Callable[[Tensor], Tensor], name: str = "guardrail"):
        super().__init__()
        self.excess, self.name = excess, name

    def forward(self, states: Tensor) -> Tensor:
        return self.excess(states[:, 1:]).amax(1)

    @property
    def label(self) -> str:
        return self.name


class KeepOut(Guardrail):
    """No state within a ball: max_t radius - |s_t - center|.

    Args:
        center: (D,), of the first D entries of a state.
        radius: positive.
        name: under which violations are reported.

    Raises:
        ValueError: if the radius isn't positive.

    Example:
        >>> KeepOut(torch.zeros(2), 1.0)(states=torch.tensor([[[3.0, 0.0], [0.5, 0.0]]]))
        tensor([0.5000])
    """

    center: Tensor

    def __init__(self, center: Tensor, radius: float, name: str = "keep out"):
        if not radius > 0:
            raise ValueError(f"the radius is positive; got {radius}.")
        super().__init__(self._depth, name)
        self.register_buffer("center", center)
        self.radius = float(radius)

    def _depth(self, states: Tensor) -> Tensor:
        away = states[..., : len(self.center)] - self.center
        return self.radius - torch.linalg.vector_norm(away, dim=-1)


class Fallback(ABC):
    """What is done where a plan would break a guardrail, or where there is none."""

    @abstractmethod
    def __call__(self, state: ModelState, actions: Tensor) -> Tensor:
        """Safe actions (B, A) in these states, in place of the planned ones (B, A)."""


class Brake(Fallback):
    """Do nothing: the action 0.

    Example:
        >>> Brake()(torch.zeros(1, 2), torch.ones(1, 3))
        tensor([[0., 0., 0.]])
    """

    def __call__(self, state: ModelState, actions: Tensor) -> Tensor:
        return torch.zeros_like(actions)


class Guard:
    """The last look at an action before it is done.

    Args:
        guardrails: energies of `state` and `actions`, by name, allowed where they are <= 0.
        fallback: what is done in place of an action that is refused.
        bounds: an indicator of "actions", whose projection keeps what is done in it; None for none.
    """

    def __init__(
        self, guardrails: Sequence[tuple[str, Energy]], fallback: Fallback, bounds: Regularizer | None
    ):
        self.guardrails, self.fallback, self.bounds = tuple(guardrails), fallback, bounds

    def __call__(
        self, actions: Tensor, known: Mapping[str, Any], sound: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What is done, (B, A), where that is the fallback, (B,), and by how much each guardrail is broken.

        Args:
            actions: planned, (B, T, A).
            known: the state and the other variables of the energies.
            sound: whether there is a plan at all, (B,).
        """
        action, violation = self._bounded(actions[:, 0]), {}
        refused = ~sound | ~action.isfinite().all(1)
        if self.guardrails:
            ahead = torch.cat([action.unsqueeze(1), actions[:, 1:]], 1)
            violation = violations(self.guardrails, {**known, "actions": ahead})
            refused = refused | (torch.stack(list(violation.values())).amax(0) > TOLERANCE)
        safe = self._bounded(self.fallback(known["state"], action))
        return torch.where(refused[:, None], safe, action), refused, violation

    def _bounded(self, action: Tensor) -> Tensor:
        if self.bounds is None:
            return action
        return self.bounds.prox(action, action.new_ones(len(action)))  # type: ignore[operator]


def checked(guardrails: Sequence[Energy]) -> tuple[Energy, ...]:
    """Guardrails that can be checked on a path alone.

    Raises:
        TypeError: if one has other variables than states and actions.
    """
    for each in guardrails:
        if not isinstance(each, Energy) or not set(each.variables) <= {"states", "actions"}:
            raise TypeError(f"a guardrail is an energy of states and actions; got {each!r}.")
    return tuple(guardrails)


def violations(guardrails: Sequence[tuple[str, Energy]], known: Mapping[str, Any]) -> dict[str, Tensor]:
    """By how much each is broken where these variables are known, (B,), by its name; NaN breaks it."""
    out: dict[str, Tensor] = {}
    for name, guardrail in guardrails:
        value = guardrail(**{variable: known[variable] for variable in guardrail.variables})
        value = value.clamp(min=0).nan_to_num(nan=torch.inf, posinf=torch.inf)
        out[name] = value.maximum(out[name]) if name in out else value
    return out

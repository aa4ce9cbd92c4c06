"""Costs of imagined trajectories, each an energy; a planning energy is a weighted sum of them.

    GoalDistance    E(states, goal) = (1/T) Σ_{t=1..T} |s_t - g|²,  or |s_T - g|²
    ActionPenalty   E(actions) = (1/T) Σ_t |a_t|²
    Smoothness      E(actions) = (1/(T-1)) Σ_t |a_{t+1} - a_t|²
    Barrier         E(states) = (1/T) Σ_{t=1..T} max(0, margin - clearance(s_t))²
    StageCost       E(states, actions) = Σ_{t<T} c(s_{t+1}, a_t)
    LearnedCost     E(states, goal) = (1/T) Σ_{t=1..T} d(s_t, g),  or d(s_T, g), with a network d

States are (B, T + 1, S) with the present one first, which no action changes: costs begin with s_1. `goal` is
a state (B, S), or a tuple whose first tensor is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.world.model import ModelState, moving

When = Literal["path", "end"]


class GoalDistance(Energy):
    """The squared distance to the goal, on average over the path or at its end.

    Over the path a plan also hurries, and one that comes near on its way is told from one that doesn't; at
    the end alone detours are free.

    Args:
        when: "path" or "end".

    Raises:
        ValueError: if `when` is something else; on a call, if states and goal differ in width.

    Example:
        >>> path = torch.tensor([[[0.0], [1.0], [3.0]]])
        >>> GoalDistance()(states=path, goal=torch.tensor([[3.0]]))
        tensor([2.])
        >>> GoalDistance("end")(states=path, goal=torch.tensor([[3.0]]))
        tensor([0.])
    """

    def __init__(self, when: When = "path"):
        super().__init__()
        self.when = _when(when)

    def forward(self, states: Tensor, goal: ModelState) -> Tensor:
        target = moving(goal)
        if target.shape[-1] != states.shape[-1]:
            raise ValueError(
                f"states (B, T + 1, S) and the goal (B, S) need the same width S; got {tuple(states.shape)} "
                f"and {tuple(target.shape)}. Is the goal an observation that was not encoded?"
            )
        future = states[:, -1:] if self.when == "end" else states[:, 1:]
        return (future - target.unsqueeze(1)).square().sum(2).mean(1)


class ActionPenalty(Energy):
    """The mean squared size of the actions, (1/T) Σ_t |a_t|².

    Example:
        >>> ActionPenalty()(actions=torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))
        tensor([12.5000])
    """

    def forward(self, actions: Tensor) -> Tensor:
        return actions.square().sum(2).mean(1)


class Smoothness(Energy):
    """The mean squared change of the actions, (1/(T-1)) Σ_t |a_{t+1} - a_t|²; 0 for a single one.

    Example:
        >>> Smoothness()(actions=torch.tensor([[[0.0], [2.0], [2.0]]]))
        tensor([2.])
    """

    def forward(self, actions: Tensor) -> Tensor:
        if actions.shape[1] < 2:
            return actions.new_zeros(len(actions))
        return (actions[:, 1:] - actions[:, :-1]).square().sum(2).mean(1)


class Barrier(Energy):
    """What coming near costs, (1/T) Σ_{t=1..T} max(0, margin - clearance(s_t))².

    A soft wall that a gradient feels; what must never happen is a `Guardrail`.

    Args:
        clearance: of states (B, T, S), (B, T): positive outside, negative inside.
        margin: the clearance from which it costs nothing.

    Example:
        >>> keep_right = Barrier(lambda states: states[..., 0], margin=1.0)
        >>> keep_right(states=torch.tensor([[[0.0], [0.5], [2.0]]]))
        tensor([0.1250])
    """

    def __init__(self, clearance: Callable[[Tensor], Tensor], margin: float = 0.0):
        super().__init__()
        self.clearance, self.margin = clearance, float(margin)

    def forward(self, states: Tensor) -> Tensor:
        return torch.relu(self.margin - self.clearance(states[:, 1:])).square().mean(1)


class StageCost(Energy):
    """The sum of what each step costs, Σ_{t<T} c(s_{t+1}, a_t).

    Args:
        cost: of states (..., S) after actions (..., A), (...).

    Example:
        >>> effort = StageCost(lambda s, a: s[..., 0] + a.square().sum(-1))
        >>> effort(states=torch.tensor([[[0.0], [1.0], [2.0]]]), actions=torch.tensor([[[1.0], [0.0]]]))
        tensor([4.])
    """

    def __init__(self, cost: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.cost = cost

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.cost(states[:, 1:], actions).sum(1)


class LearnedCost(Energy):
    """A learned distance to the goal, on average over the path or at its end: a critic as an energy.

    Args:
        distance: a module of states and goals, (N, S) and (N, S) -> (N,), e.g. a `Quasimetric`.
        when: "path" or "end".

    Example:
        >>> class L1(nn.Module):
        ...     def forward(self, s, goal):
        ...         return (s - goal).abs().sum(-1)
        >>> LearnedCost(L1(), "end")(states=torch.tensor([[[0.0], [1.0]]]), goal=torch.tensor([[3.0]]))
        tensor([2.])
    """

    def __init__(self, distance: nn.Module, when: When = "path"):
        super().__init__()
        self.distance, self.when = distance, _when(when)

    def forward(self, states: Tensor, goal: ModelState) -> Tensor:
        future = states[:, -1:] if self.when == "end" else states[:, 1:]
        target = moving(goal).unsqueeze(1).expand_as(future)
        return self.distance(future.flatten(0, 1), target.flatten(0, 1)).view(future.shape[:2]).mean(1)


def _when(when: When) -> When:
    if when not in ("path", "end"):
        raise ValueError(f'when is "path" or "end"; got {when!r}.')
    return when

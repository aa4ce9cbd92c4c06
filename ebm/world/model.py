"""World models: what comes of an action, predicted in representation space.

    s_0 = encode(o),    s_{t+1} = step(s_t, a_t),    rollout(s_0, a_0 ... a_{T-1}) = (s_0, s_1, ..., s_T)

A planner sees nothing else. A state is a tensor (B, S); or a tuple whose first tensor is that, and whose
others are context, which is part of what was observed and stays: the walls of a room. An observation is
encoded once, however many actions are tried from it.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3 and 4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import map_rows

ModelState = Tensor | tuple[Tensor, ...]


class WorldModel(nn.Module, ABC):
    """A model of a world; subclasses write `encode` and `step`.

    Attributes:
        action_size: A, numbers in an action.
    """

    action_size: int

    @abstractmethod
    def encode(self, observation: Any) -> ModelState:
        """The state that an observation (B, *shape) shows."""

    @abstractmethod
    def step(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> ModelState:
        """The states after actions (B, A); z, (B, *shape), is what the actions don't tell, if anything."""

    def rollout(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        """The predicted path under actions (B, T, A), from the state given, (B, T + 1, S).

        One z goes for the whole path; one of (B, T, Z) has an entry for each step.
        """
        path = [moving(state)]
        for t, action in enumerate(actions.unbind(1)):
            state = self.step(state, action, z[:, t] if z is not None and z.ndim == 3 else z)
            path.append(moving(state))
        return torch.stack(path, 1)

    def encode_frames(self, observations: Tensor) -> tuple[Tensor, ModelState]:
        """The codes of all frames, (B, K, *shape) -> (B, K, S), and the state that the first one shows."""
        batch, count = observations.shape[:2]
        states = self.encode(observations.flatten(0, 1))
        first = map_rows(states, lambda t: t.unflatten(0, (batch, count))[:, 0])
        return moving(states).unflatten(0, (batch, count)), first

    def at(self, path: Tensor, state: ModelState, t: int) -> ModelState:
        """Entry t of a path (B, T + 1, S) that began at `state`, as a state with its context."""
        return path[:, t] if isinstance(state, Tensor) else (path[:, t], *state[1:])


class Encode(nn.Module):
    """A world model's `encode` as a module, to be composed into an energy."""

    def __init__(self, model: WorldModel):
        super().__init__()
        self.model = model

    def forward(self, observation: Any) -> ModelState:
        return self.model.encode(observation)


class Rollout(nn.Module):
    """A world model's `rollout` as a module, to be composed into an energy."""

    def __init__(self, model: WorldModel):
        super().__init__()
        self.model = model

    def forward(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        return self.model.rollout(state, actions, z)


def moving(state: ModelState) -> Tensor:
    """The part of a state that moves, (B, S)."""
    return state if isinstance(state, Tensor) else state[0]

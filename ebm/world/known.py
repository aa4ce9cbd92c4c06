"""Known dynamics as a world model: for teaching, and as the yardstick of learned ones.

s' = f(s, a),    the observation is the state
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ebm.world.model import ModelState, WorldModel


class KnownDynamics(WorldModel):
    """A world model whose dynamics are written down.

    Args:
        dynamics: states (N, S) and actions (N, A) to the next states (N, S); if there are latent variables,
            of z (N, Z) too.
        action_size: A.

    Example:
        >>> import torch
        >>> walk = KnownDynamics(lambda s, a: s + a, action_size=1)
        >>> walk.rollout(torch.zeros(1, 1), torch.ones(1, 3, 1)).flatten()
        tensor([0., 1., 2., 3.])
    """

    def __init__(self, dynamics: Callable[..., Tensor], action_size: int):
        super().__init__()
        self.dynamics, self.action_size = dynamics, action_size

    def encode(self, observation: Any) -> Tensor:
        return observation

    def step(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        return self.dynamics(state, actions) if z is None else self.dynamics(state, actions, z)

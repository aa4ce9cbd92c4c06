"""The pendulum that is to be swung up with too weak a motor.

    ω' = clip(ω + (3g/2l sin θ + 3u/ml²) dt, ±8),   θ' = θ + ω' dt,        |u| <= 2,  dt = 0.05
    cost(θ, ω, u) = θ² + 0.1 ω² + 0.001 u²,  θ in [-π, π), 0 upright;  g = 10, m = l = 1

Reference: gymnasium's Pendulum-v1, with which it agrees step for step; written from its equations.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ebm.regularizers import Box
from ebm.world.shapes import DARK, VERMILION, Pictures
from ebm.world.world import State, World

GRAVITY, MASS, LENGTH, DT = 10.0, 1.0, 1.0, 0.05
MAX_SPEED, MAX_TORQUE = 8.0, 2.0
SIDE, ROD = 128, 48.0  # of a picture and of the rod in it, pixels


class Pendulum(World):
    """The world of the pendulum; its state holds "state", (B, 2): the angle from upright and its speed.

    An observation is (cos θ, sin θ, ω). An episode begins at an angle drawn evenly from [-π, π] with a speed
    drawn evenly from [-1, 1], and never ends before its time.

    Args:
        steps: length of an episode.

    Raises:
        ValueError: if steps isn't positive.

    Example:
        >>> world, state = Pendulum(), {"state": torch.tensor([[math.pi, 0.0]])}
        >>> world.step(state, torch.tensor([[2.0]]))["state"]
        tensor([[3.1566, 0.3000]])
        >>> world.cost(state, torch.tensor([[2.0]]))
        tensor([9.8736])
    """

    action_size = 1

    def __init__(self, *, steps: int = 200):
        if steps < 1:
            raise ValueError(f"steps is positive; got {steps}.")
        self.steps = steps

    @property
    def bounds(self) -> Box:
        return Box("actions", -MAX_TORQUE, MAX_TORQUE)

    def reset(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        u = 2 * torch.rand(batch, 2, generator=generator, device=device, dtype=dtype) - 1
        return {"state": u * u.new_tensor([math.pi, 1.0])}

    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        return {**state, "state": self.dynamics(state["state"], actions)}

    def dynamics(self, state: Tensor, actions: Tensor) -> Tensor:
        """The next state as a differentiable function, (..., 2), (..., 1) -> (..., 2).

        Actions out of bounds are brought into them.
        """
        angle, speed = state.unbind(-1)
        torque = actions[..., 0].clamp(-MAX_TORQUE, MAX_TORQUE)
        pull = 3 * GRAVITY / (2 * LENGTH) * angle.sin() + 3.0 / (MASS * LENGTH**2) * torque
        speed = (speed + pull * DT).clamp(-MAX_SPEED, MAX_SPEED)
        return torch.stack([angle + speed * DT, speed], -1)

    def stage_cost(self, state: Tensor, actions: Tensor) -> Tensor:
        """What actions cost in states, (..., 2), (..., 1) -> (...)."""
        angle, speed = state.unbind(-1)
        from_upright = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        torque = actions[..., 0].clamp(-MAX_TORQUE, MAX_TORQUE)
        return from_upright**2 + 0.1 * speed**2 + 0.001 * torque**2

    def observe(self, state: State) -> Tensor:
        angle, speed = state["state"].unbind(-1)
        return torch.stack([angle.cos(), angle.sin(), speed], -1)

    def cost(self, state: State, actions: Tensor) -> Tensor:
        """The stage cost of the states and the actions taken in them, (B,)."""
        return self.stage_cost(state["state"], actions)

    def frames(self, state: State) -> Tensor:
        angle = state["state"][:, 0].float()
        pictures = Pictures(len(angle), SIDE, SIDE, angle.device)
        axle = angle.new_full((len(angle), 2), (SIDE - 1) / 2)
        pictures.line(axle, axle - ROD * torch.stack([angle.sin(), angle.cos()], 1), 5.0, VERMILION)
        pictures.disc(axle, 2.0, DARK)
        return pictures.frames()

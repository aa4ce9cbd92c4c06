"""A point mass that is pushed around an obstacle: the double integrator in the plane.

    v' = v + a dt,   p' = p + ½ (v + v') dt,        |a_x|, |a_y| <= 1,  dt = 0.2
    cost(s', a) = |p' - g|² + 0.1 |v'|² + 0.01 |a|² + 500 max(0, 0.05 - clearance(p'))²

From (-1.5, 0) at rest to g = (1.5, 0), past a disc of radius 0.5 around (0, 0.05) that lies across the
straight way, a little off it: to go around below is shorter than above, and a search that begins with the
straight way has to choose. The dynamics are known, linear and differentiable; a usual horizon is 30 steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ebm.regularizers import Box
from ebm.world.shapes import BLUE, LIGHT, VERMILION, Pictures
from ebm.world.world import State, World

DT = 0.2
START = (-1.5, 0.0, 0.0, 0.0)
GOAL = (1.5, 0.0)
CENTER, RADIUS = (0.0, 0.05), 0.5
MARGIN = 0.05  # nearer to the obstacle than this costs
HEIGHT, WIDTH, SCALE = 96, 160, 32  # of a picture, pixels and pixels per unit


class PointMass(World):
    """The world of the point mass; its state holds "state", (B, 4): x, y and their velocities.

    Args:
        spread: starts are drawn evenly from START ± spread: one number for all four entries, or four.
        steps: length of an episode.

    Raises:
        ValueError: if a spread is negative, or there aren't four, or steps isn't positive.

    Example:
        >>> world, state = PointMass(), PointMass().reset(1)
        >>> for _ in range(3):
        ...     state = world.step(state, torch.tensor([[1.0, -1.0]]))
        >>> state["state"]
        tensor([[-1.3200, -0.1800,  0.6000, -0.6000]])
    """

    action_size = 2
    near = 0.1  # between the point and the goal; counts as reached

    def __init__(self, *, spread: float | Sequence[float] = 0.0, steps: int = 30):
        self.spread = (float(spread),) * 4 if isinstance(spread, int | float) else tuple(spread)
        if len(self.spread) != 4 or not all(0 <= each < torch.inf for each in self.spread):
            raise ValueError(f"spread is a number or four, for (x, y, vx, vy), none negative; got {spread}.")
        if steps < 1:
            raise ValueError(f"steps is positive; got {steps}.")
        self.steps = steps

    @property
    def bounds(self) -> Box:
        return Box("actions", -1.0, 1.0)

    def reset(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        u = 2 * torch.rand(batch, 4, generator=generator, device=device, dtype=dtype) - 1
        return {"state": u.new_tensor(START) + u.new_tensor(self.spread) * u}

    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        return {**state, "state": self.dynamics(state["state"], actions)}

    def dynamics(self, state: Tensor, actions: Tensor) -> Tensor:
        """The next state as a differentiable function, (..., 4), (..., 2) -> (..., 4).

        Actions out of bounds are brought into them.

        Example:
            >>> PointMass().dynamics(torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 5.0]))
            tensor([0.2000, 0.0200, 1.0000, 0.2000])
        """
        before = state[..., 2:]
        velocity = before + DT * actions.clamp(-1, 1)
        return torch.cat([state[..., :2] + DT * (before + velocity) / 2, velocity], -1)

    def stage_cost(self, arrived: Tensor, actions: Tensor) -> Tensor:
        """What it costs to arrive in states by actions, differentiable, (..., 4), (..., 2) -> (...).

        Example:
            >>> PointMass().stage_cost(torch.tensor([0.5, 0.05, 1.0, 0.0]), torch.tensor([1.0, 0.0]))
            tensor(2.3625)
        """
        position, velocity = arrived[..., :2], arrived[..., 2:]
        missing = (position - position.new_tensor(GOAL)).square().sum(-1)
        too_near = torch.relu(MARGIN - self.clearance(arrived))
        effort = 0.1 * velocity.square().sum(-1) + 0.01 * actions.square().sum(-1)
        return missing + effort + 500 * too_near.square()

    def clearance(self, state: Tensor) -> Tensor:
        """The distance to the obstacle, negative inside, (..., 4) -> (...)."""
        position = state[..., :2]
        return torch.linalg.vector_norm(position - position.new_tensor(CENTER), dim=-1) - RADIUS

    def observe(self, state: State) -> Tensor:
        return state["state"].clone()

    def distance(self, state: State) -> Tensor:
        """|position - goal|, (B,)."""
        position = state["state"][:, :2]
        return torch.linalg.vector_norm(position - position.new_tensor(GOAL), dim=1)

    def reached(self, state: State) -> Tensor:
        """Whether the goal is nearer than 0.1, (B,) bool."""
        return self.distance(state) < self.near

    def cost(self, state: State, actions: Tensor) -> Tensor:
        """The stage cost of the states that the actions lead to, (B,)."""
        return self.stage_cost(self.dynamics(state["state"], actions), actions)

    def frames(self, state: State) -> Tensor:
        position = state["state"][:, :2].float()
        pictures = Pictures(len(position), HEIGHT, WIDTH, position.device)
        pictures.disc(_pixels(position.new_tensor([CENTER])), RADIUS * SCALE, LIGHT)
        pictures.disc(_pixels(position.new_tensor([GOAL])), 0.1 * SCALE, BLUE)
        pictures.disc(_pixels(position), 0.1 * SCALE, VERMILION)
        return pictures.frames()


def _pixels(position: Tensor) -> Tensor:
    """(x, y) with y upwards, as column and row."""
    center = position.new_tensor([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    return center + SCALE * position * position.new_tensor([1.0, -1.0])

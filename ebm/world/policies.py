"""What to do in Two Rooms without any planning: the floors that a planner is measured against.

    random:  a uniform on the disc |a| <= speed             greedy:  a = goal - p, shortened to the speed
    expert:  a = q - p with q the goal if it is in sight, else the door's far mouth, else its near mouth

Each is a function of the state, positions and all, so the last two know what an agent has to learn from
pixels. The greedy one stands at the wall unless the way straight ahead leads through the door; the expert
shows how few steps are enough.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ebm.world.two_rooms import HALF_WALL, travel
from ebm.world.world import State

SPEED = 2.45  # of TwoRooms


def random_policy(state: State, generator: Generator | None = None, *, speed: float = SPEED) -> Tensor:
    """Actions drawn evenly from the disc of radius `speed`, (B, 2).

    Args:
        state: of `TwoRooms`, B rows.
        generator: draws the actions.
        speed: greatest norm of an action, px.

    Example:
        >>> from ebm.world import TwoRooms
        >>> actions = random_policy(TwoRooms().reset(5), torch.Generator().manual_seed(0))
        >>> bool((actions.norm(dim=1) <= 2.45).all())
        True
    """
    like = state["position"]
    u = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    radius, angle = speed * u[:, :1].sqrt(), 2 * math.pi * u[:, 1:]
    return radius * torch.cat([angle.cos(), angle.sin()], 1)


def greedy_policy(state: State, generator: Generator | None = None, *, speed: float = SPEED) -> Tensor:
    """Straight to the goal, whatever stands between, (B, 2).

    Args:
        state: of `TwoRooms`, B rows.
        generator: draws nothing.
        speed: greatest norm of an action, px.

    Example:
        >>> greedy_policy({"position": torch.tensor([[10.0, 10.0]]), "goal": torch.tensor([[13.0, 14.0]])})
        tensor([[1.4700, 1.9600]])
    """
    return _toward(state["goal"], state, speed)


def expert_policy(state: State, generator: Generator | None = None, *, speed: float = SPEED) -> Tensor:
    """To the goal by the door, (B, 2).

    Args:
        state: of `TwoRooms`, B rows.
        generator: draws nothing.
        speed: greatest norm of an action, px.

    Example:
        >>> state = {"position": torch.tensor([[20.0, 32.0]]), "goal": torch.tensor([[50.0, 50.0]])}
        >>> expert_policy({**state, "wall": torch.tensor([32.0]), "door": torch.tensor([32.0])})
        tensor([[2.4500, 0.0000]])
    """
    wall, door, goal = state["wall"], state["door"], state["goal"]
    side = torch.where(goal[:, 0] > wall, HALF_WALL, -HALF_WALL)
    near, far = torch.stack([wall - side, door], 1), torch.stack([wall + side, door], 1)
    target = torch.where(_in_sight(far, state)[:, None], far, near)
    return _toward(torch.where(_in_sight(goal, state)[:, None], goal, target), state, speed)


def _in_sight(target: Tensor, state: State) -> Tensor:
    """Whether the way straight to a target meets no wall, (B,) bool."""
    _, hit = travel(state["position"], target - state["position"], state["wall"], state["door"])
    return ~hit


def _toward(target: Tensor, state: State, speed: float) -> Tensor:
    """The way to a target, shortened to `speed`."""
    way = target - state["position"]
    return way * (speed / torch.linalg.vector_norm(way, dim=1, keepdim=True).clamp(min=speed))

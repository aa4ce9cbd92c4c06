"""Two Rooms from above, as a world that is known: where a move leads, how far the goal is, where walls are.

    p' = p + a · min(1, t),    |a| <= 7.35 px,    t = the share of the move at which it meets a wall

One move is three steps of `ebm.world.TwoRooms` in one direction, without the bounce. A distance to the goal
is the plan's cost: as the crow flies, blind to the wall, or on foot, as a perfect critic would say:

    d(p, g) = |p - g|,        or |p - door| + |door - g| where p and g are in different rooms
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ebm.world import KnownDynamics
from ebm.world.model import ModelState
from ebm.world.two_rooms import DOOR_PADDING, HALF_DOOR, HALF_WALL, HIGH, LOW, SIDE, WALL_PADDING, travel

REACH = 7.35  # px, the longest move
DOORS = (
    WALL_PADDING,
    SIDE - 1 - WALL_PADDING,
    DOOR_PADDING,
    SIDE - 1 - DOOR_PADDING,
)  # where the door may be


class KnownRooms(KnownDynamics):
    """The rooms as a world model, which remembers the last paths that it imagined.

    A cost and a guardrail that are asked about the same plans, one after the other, share one walk.

    Args:
        wall, door: the wall's x and the door's y, px.

    Attributes:
        seen: the last paths of several plans at once, (N, T + 1, 2); none before the first.

    Example:
        >>> rooms = KnownRooms(32.0, 16.0)
        >>> rooms.rollout(torch.tensor([[26.0, 40.0]]), torch.tensor([[[7.0, 0.0], [0.0, 7.0]]]))
        tensor([[[26.0000, 40.0000],
                 [30.5000, 40.0000],
                 [30.5000, 47.0000]]])
    """

    def __init__(self, wall: float, door: float):
        super().__init__(self._move, action_size=2)
        self.wall, self.door = float(wall), float(door)
        self.seen = torch.empty(0, 1, 2)
        self._last: tuple[Tensor, ...] | None = None  # where from, which moves, and where they led

    def _move(self, position: Tensor, move: Tensor) -> Tensor:
        there: Tensor = travel(
            position, move, position.new_tensor(self.wall), position.new_tensor(self.door)
        )[0]
        return there

    def rollout(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        """The path of every plan, (B, T + 1, 2)."""
        last = self._last if z is None else None
        if last is not None and _same(state, last[0]) and _same(actions, last[1]):
            return last[2]
        path = super().rollout(state, actions, z)
        if isinstance(state, Tensor) and not path.requires_grad:  # a graph is walked once
            self._last = (state.clone(), actions.clone(), path)  # clones, as they may change in place
        else:
            self._last = None
        if len(path) > 1:
            self.seen = path.detach()
        return path

    def outside(self, x: float, y: float) -> tuple[float, float]:
        """The nearest place in the field that is not in the wall."""
        x, y = min(max(x, LOW), HIGH), min(max(y, LOW), HIGH)
        if abs(x - self.wall) < HALF_WALL and abs(y - self.door) > HALF_DOOR:
            x = self.wall + (HALF_WALL if x > self.wall else -HALF_WALL)
        return x, y

    def lines(self) -> np.ndarray:
        """The border and the two parts of the wall, as one line with gaps, (K, 2)."""
        gap = [np.nan, np.nan]
        border = [[LOW, LOW], [HIGH, LOW], [HIGH, HIGH], [LOW, HIGH], [LOW, LOW], gap]
        low, high = self.door - HALF_DOOR, self.door + HALF_DOOR
        left, right = self.wall - HALF_WALL, self.wall + HALF_WALL
        below = [[left, LOW], [left, low], [right, low], [right, LOW], gap]
        above = [[left, HIGH], [left, high], [right, high], [right, HIGH]]
        return np.array(border + below + above)


def _same(one: ModelState, other: Tensor) -> bool:
    """Whether a plain tensor has the same values as another, and asks for no gradient."""
    if not isinstance(one, Tensor) or one.requires_grad:
        return False
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


class AsTheCrowFlies(nn.Module):
    """|p - g| of places (N, 2) and goals (N, 2), (N,)."""

    def forward(self, position: Tensor, goal: Tensor) -> Tensor:
        return torch.linalg.vector_norm(position - goal, dim=-1)


class OnFoot(nn.Module):
    """The way from places (N, 2) to goals (N, 2), through the door where it has to be, (N,).

    Args:
        rooms: whose wall and door.

    Example:
        >>> OnFoot(KnownRooms(32.0, 16.0))(torch.tensor([[29.0, 12.0]]), torch.tensor([[35.0, 12.0]]))
        tensor([10.])
    """

    def __init__(self, rooms: KnownRooms):
        super().__init__()
        self.wall, self.door = rooms.wall, rooms.door

    def forward(self, position: Tensor, goal: Tensor) -> Tensor:
        door = position.new_tensor([self.wall, self.door])
        straight, before, after = (
            torch.linalg.vector_norm(a - b, dim=-1)
            for a, b in ((position, goal), (position, door), (door, goal))
        )
        same = (position[..., 0] < self.wall) == (goal[..., 0] < self.wall)
        return torch.where(same, straight, before + after)

"""Two Rooms: a dot that walks through a wall by its door, seen as pixels.

    p' = p + a · min(1, t),    |a| <= 2.45,    t = the share of the step at which it meets a wall
    where it met one:  p'' = p' + ½ ε, ε ~ N(0, 1)², which stops at walls as well

A field of 65 x 65 pixels with a border of 5; a wall 3 px wide stands at x = w, its door reaches 4 px up and
down from y = d. Start and goal lie in different rooms, so that the way straight ahead is shut: who follows
the distance to the goal stands at the wall. An observation has two channels of uint8, the dot and the walls.

Reference: the task of "EB-JEPA", arXiv 2602.03604, and of Sobal et al. (2025), "Learning from Reward-Free
Offline Data", arXiv 2502.14819; written from their descriptions.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ebm.regularizers import Ball
from ebm.world.dots import draw_dots
from ebm.world.world import State, World

SIDE, BORDER = 65, 5
LOW, HIGH = float(BORDER), float(SIDE - 1 - BORDER)  # where the dot may be, in both coordinates
HALF_WALL, HALF_DOOR = 1.5, 4.0
WALL_PADDING, DOOR_PADDING = 20, 10
BOUNCE = 0.5
MARGIN = 1.0  # px from the wall at which an episode begins at least


class TwoRooms(World):
    """The world of two rooms; a state holds "position" and "goal", (B, 2), and "wall" and "door", (B,).

    Positions are (x, y) in pixels: column and row. Distances below `near` count as reached.

    Args:
        wall: the wall's x; drawn for every episode from 20 to 44 if None.
        door: the door's y; drawn for every episode from 10 to 54 if None.
        steps: length of an episode.
        speed: the greatest norm of an action, px; a longer one is shortened.

    Raises:
        ValueError: if wall or door lie elsewhere, or a setting isn't positive.

    Example:
        >>> world, g = TwoRooms(wall=32, door=10), torch.Generator().manual_seed(0)
        >>> state = world.reset(4, g)
        >>> (state["position"][:, 0] < 32) != (state["goal"][:, 0] < 32)
        tensor([True, True, True, True])
        >>> state = world.step(state, torch.tensor([[9.0, 0.0]]).expand(4, 2), g)
        >>> world.observe(state).shape, world.observe(state).dtype
        (torch.Size([4, 2, 65, 65]), torch.uint8)
    """

    action_size = 2
    near = 4.5  # px between the dot and a goal that counts as reached

    def __init__(
        self, wall: int | None = None, door: int | None = None, *, steps: int = 200, speed: float = 2.45
    ):
        for name, value, padding in (("wall", wall, WALL_PADDING), ("door", door, DOOR_PADDING)):
            if value is not None and not padding <= value < SIDE - padding:
                raise ValueError(f"{name} lies from {padding} to {SIDE - 1 - padding} px; got {value}.")
        if steps < 1 or not speed > 0:
            raise ValueError(f"steps and speed are positive; got steps={steps}, speed={speed}.")
        self.wall, self.door, self.steps, self.speed = wall, door, steps, float(speed)

    @property
    def bounds(self) -> Ball:
        return Ball("actions", self.speed)

    def reset(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        u = torch.rand(batch, 7, generator=generator, device=device, dtype=dtype)
        wall = _line(self.wall, u[:, 0], WALL_PADDING)
        door = _line(self.door, u[:, 1], DOOR_PADDING)
        left = u[:, 2] < 0.5
        start = torch.stack([_in_room(u[:, 3], wall, left), LOW + (HIGH - LOW) * u[:, 4]], 1)
        goal = torch.stack([_in_room(u[:, 5], wall, ~left), LOW + (HIGH - LOW) * u[:, 6]], 1)
        return {"position": start, "goal": goal, "wall": wall, "door": door}

    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        noise = torch.empty_like(state["position"]).normal_(generator=generator)
        walls = state["wall"], state["door"]
        position, hit = travel(state["position"], actions, *walls)
        bounced, _ = travel(position, BOUNCE * noise * hit[:, None], *walls)
        return {**state, "position": bounced}

    def observe(self, state: State) -> Tensor:
        return torch.stack([draw_dots(state["position"], SIDE), draw_walls(state["wall"], state["door"])], 1)

    def goal_observation(self, state: State) -> Tensor:
        """What would be seen at the goal, (B, 2, 65, 65) uint8."""
        return self.observe({**state, "position": state["goal"]})

    def distance(self, state: State) -> Tensor:
        """|position - goal| in px, (B,)."""
        return torch.linalg.vector_norm(state["position"] - state["goal"], dim=1)

    def reached(self, state: State) -> Tensor:
        """Whether the goal is nearer than 4.5 px, (B,) bool."""
        return self.distance(state) < self.near

    def cost(self, state: State, actions: Tensor) -> Tensor:
        return self.distance(state)

    def frames(self, state: State) -> Tensor:
        dot, goal = draw_dots(state["position"], SIDE), draw_dots(state["goal"], SIDE)
        walls = draw_walls(state["wall"], state["door"])
        ink = torch.stack([dot, goal, walls], -1).to(torch.float32) / 255  # (B, H, W, 3)
        colors = ink.new_tensor([[0.835, 0.369, 0.0], [0.0, 0.447, 0.698], [0.25, 0.25, 0.25]])
        cover = 1 - torch.clamp((ink.unsqueeze(-1) * (1 - colors)).sum(-2), max=1.0)
        return (255 * cover).round().to(torch.uint8)


def travel(position: Tensor, move: Tensor, wall: Tensor, door: Tensor) -> tuple[Tensor, Tensor]:
    """Go straight until a wall is met.

    Args:
        position: of points outside the walls, (..., 2).
        move: where to, relative to it, (..., 2).
        wall, door: the wall's x and the door's y, (...).

    Returns:
        Where the points are then, (..., 2), and whether they met a wall, (...) bool.
    """
    left, right, low, high = wall - HALF_WALL, wall + HALF_WALL, door - HALF_DOOR, door + HALF_DOOR
    onward, still = move > 0, move == 0
    edge = torch.where(onward, HIGH, LOW)
    ahead_of, behind = torch.stack([left, high], -1), torch.stack([right, low], -1)
    met = torch.where(onward, ahead_of, behind)  # the wall's face, the door's side
    slope = torch.where(still, 1.0, move)
    to_edge = torch.where(still, math.inf, (edge - position) / slope)  # shares of the move
    to_met = torch.where(still, math.inf, (met - position) / slope)
    to_face, to_side = to_met.unbind(-1)
    at_side, at_face = (position + to_met.flip(-1) * move).unbind(-1)
    ahead, shut = to_face >= 0, (at_face < low) | (at_face > high)
    x = position[..., 0]
    in_door = (ahead & ~shut) | ((x > left) & (x < right))  # enters it, or is there
    within = torch.where(onward[..., 0], at_side < right, at_side > left)  # before it is left beyond
    blocked = torch.stack([ahead & shut, (to_side >= 0) & in_door & within], -1)
    to_met = torch.where(blocked, to_met, math.inf)
    first = torch.minimum(to_edge, to_met).amin(-1, keepdim=True)
    hit = first <= 1
    there = position + first.clamp(max=1) * move
    there = torch.where(hit & (to_met == first), met, there).clamp(LOW, HIGH)  # exactly on what was met
    return there, hit.squeeze(-1)


def draw_walls(wall: Tensor, door: Tensor) -> Tensor:
    """The wall with its door, and the border, as pixels of 0 or 255, (B,), (B,) -> (B, 65, 65) uint8."""
    pixel = torch.arange(SIDE, device=wall.device)
    outside = (pixel < BORDER) | (pixel >= SIDE - BORDER)
    empty = (outside[:, None] | outside).to(torch.uint8) * 255
    shut = ((pixel - door[:, None]).abs() > HALF_DOOR).to(torch.uint8) * 255  # (B, H)
    columns = (wall - HALF_WALL).ceil().long()[:, None] + pixel[: round(2 * HALF_WALL)]  # (B, 3)
    place = pixel[:, None] * SIDE + columns[:, None]  # (B, H, 3)
    pictures = empty.flatten().repeat(len(wall), 1)
    ink = shut[:, :, None].expand(place.shape)
    return pictures.scatter_(1, place.flatten(1), ink.flatten(1)).view(-1, SIDE, SIDE)


def _line(fixed: int | None, u: Tensor, padding: int) -> Tensor:
    """A fixed place, or whole pixels drawn from `padding` to 64 - `padding`, (B,)."""
    if fixed is not None:
        return torch.full_like(u, fixed)
    return padding + torch.floor(u * (SIDE - 2 * padding)).clamp(max=SIDE - 2 * padding - 1)


def _in_room(u: Tensor, wall: Tensor, left: Tensor) -> Tensor:
    """An x in the left or right room, (B,)."""
    low = torch.where(left, LOW, wall + HALF_WALL + MARGIN)
    high = torch.where(left, wall - HALF_WALL - MARGIN, HIGH)
    return low + (high - low) * u


def draw_frames(position: Tensor, wall: Tensor, door: Tensor) -> Tensor:
    """Observations of Two Rooms along paths, (B, K, 2) -> (B, K, 2, 65, 65) uint8."""
    batch, count = position.shape[:2]
    dots = draw_dots(position.flatten(0, 1), SIDE).view(batch, count, SIDE, SIDE)
    walls = draw_walls(wall, door).unsqueeze(1).expand_as(dots)
    return torch.stack([dots, walls], 2)

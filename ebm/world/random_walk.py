"""Random walks in Two Rooms: what a world model learns from, without rewards and without goals.

    a_t = r_t (cos φ_t, sin φ_t),    r_t ~ N(1, 0.4²) clipped to [0.2, 1.8],    φ_t ~ vonMises(φ, κ)

Each window begins anywhere in the two rooms or the door and keeps one mean heading φ, drawn uniformly. Only
positions are stored: 17 steps are 136 bytes, their pictures 143,650, and drawing is faster than reading.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data", arXiv 2502.14819, app. (the walks).
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ebm.world.two_rooms import HALF_DOOR, HALF_WALL, HIGH, LOW, TwoRooms
from ebm.world.world import State

NODES = 4096  # of the table from which headings are drawn
AROUND_DOOR = (12.0, 8.0)  # px to the side, and up or down


def random_walks(
    world: TwoRooms,
    batch: int,
    length: int = 16,
    generator: Generator | None = None,
    *,
    concentration: float = 5.0,
    near_door: float = 0.0,
    device: torch.device | str | None = None,
) -> State:
    """Windows of random walks.

    Args:
        world: its layout and its bounce.
        batch: N, windows.
        length: T, actions in a window.
        generator: source of everything.
        concentration: κ > 0 of the headings around their window's mean.
        near_door: share of the windows that begin at most 12 px to the side of the door and 8 px up or down.
        device: where to make them.

    Returns:
        "position" (N, T + 1, 2) and "actions" (N, T, 2) in px, "wall" and "door" (N,).

    Raises:
        ValueError: if a size or the concentration isn't positive.

    Example:
        >>> walks = random_walks(TwoRooms(), 5, generator=torch.Generator().manual_seed(0))
        >>> walks["position"].shape, walks["actions"].shape
        (torch.Size([5, 17, 2]), torch.Size([5, 16, 2]))
    """
    if batch < 1 or length < 1 or not concentration > 0 or not 0 <= near_door <= 1:
        raise ValueError(
            f"batch, length and concentration are positive, near_door is a share; got {batch}, {length}, "
            f"{concentration}, {near_door}."
        )
    state = world.reset(batch, generator, device=device)
    state["position"] = _anywhere(state, near_door, generator)
    u = torch.rand(batch, length + 1, generator=generator, device=device)
    heading = 2 * math.pi * u[:, :1] + von_mises(u[:, 1:], concentration)  # (N, T)
    size = torch.empty_like(heading).normal_(1.0, 0.4, generator=generator).clamp(0.2, 1.8)
    actions = size.unsqueeze(-1) * torch.stack([heading.cos(), heading.sin()], -1)
    path = [state["position"]]
    for t in range(length):
        state = world.step(state, actions[:, t], generator)
        path.append(state["position"])
    return {
        "position": torch.stack(path, 1),
        "actions": actions,
        "wall": state["wall"],
        "door": state["door"],
    }


def von_mises(u: Tensor, concentration: float) -> Tensor:
    """Angles with density ∝ exp(κ cos φ) from uniform numbers, by the inverse of a tabulated distribution.

    Args:
        u: uniform on [0, 1), any shape.
        concentration: κ > 0.

    Returns:
        Angles in [-π, π], like u.

    Example:
        >>> von_mises(torch.tensor([0.0, 0.5]), 5.0).round(decimals=4).abs()
        tensor([3.1416, 0.0000])
    """
    angle = torch.linspace(-math.pi, math.pi, NODES + 1, device=u.device, dtype=torch.float64)
    middle = torch.exp(concentration * ((angle[1:] + angle[:-1]) / 2).cos() - concentration)
    below = torch.cat([middle.new_zeros(1), middle.cumsum(0)]) / middle.sum()
    at = torch.searchsorted(below, u.to(torch.float64).contiguous(), right=True).clamp(1, NODES)
    share = (u - below[at - 1]) / (below[at] - below[at - 1]).clamp(min=1e-300)
    return (angle[at - 1] + share * (angle[at] - angle[at - 1])).to(u.dtype)


def _anywhere(state: State, near_door: float, generator: Generator | None) -> Tensor:
    """Points all over the free space, (N, 2), a share of them around the door; none inside the wall."""
    wall, door = state["wall"], state["door"]
    u = torch.rand(len(wall), 3, generator=generator, device=wall.device)
    field = LOW + (HIGH - LOW) * u[:, :2]
    around = torch.stack([wall, door], 1) + (2 * u[:, :2] - 1) * u.new_tensor(AROUND_DOOR)
    point = torch.where(u[:, 2:] < near_door, around, field).clamp(LOW, HIGH)
    clear = (point[:, 0] - wall).abs() >= HALF_WALL
    in_door = (point[:, 1] - door).abs() <= HALF_DOOR
    side = wall + torch.where(point[:, 0] < wall, -HALF_WALL, HALF_WALL)
    return torch.stack([torch.where(clear | in_door, point[:, 0], side), point[:, 1]], 1)

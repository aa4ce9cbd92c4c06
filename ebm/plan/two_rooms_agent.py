"""The agent of Two Rooms: a search for a way through the imagined rooms, and a finer look near the goal.

    far     c* = argmin_c Σ λ k + |s_T - g|     over primitives, by `GraphSearch`, every k actions
    near    a* = argmin_a mean_t |s_t - g|²     over short straight moves, by `Enumerate`, every action

All lengths are in the units of the codes, whose scale nobody knows beforehand: they are read off the model,
as the median distance of what is seen k steps apart.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ebm.infer.enumerate import Enumerate
from ebm.infer.graph_search import GraphSearch
from ebm.plan.costs import GoalDistance
from ebm.plan.primitives import PrimitivePlan, headings
from ebm.plan.receding_horizon import RecedingHorizon
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.world.model import WorldModel
from ebm.world.random_walk import random_walks
from ebm.world.two_rooms import TwoRooms, draw_frames

STRIDE = 1.8  # px, the longest action that the walks have shown
WINDOWS = 500  # from which scales are read


def two_rooms_agent(
    model: WorldModel,
    world: TwoRooms,
    *,
    memory: bool = True,
    directions: int = 12,
    held: int = 4,
    expand: int = 24,
    waves: int = 40,
) -> RecedingHorizon:
    """An agent that searches the graph of imagined places.

    Args:
        model: of the world, trained.
        world: for its bounds and its walks.
        memory: whether edges that surprised are pruned for the rest of an episode.
        directions: headings of the primitives.
        held: actions of a primitive.
        expand, waves: of `GraphSearch`.

    Example:
        >>> from ebm.plan import run_episodes
        >>> from ebm.world import TwoRoomsModel
        >>> world = TwoRooms()
        >>> agent = two_rooms_agent(TwoRoomsModel(), world, waves=2)
        >>> run_episodes(world, agent, 2, steps=2).actions.shape
        torch.Size([2, 2, 2])
    """
    apart = code_scale(model, world, (1, 3, 5))
    place = next(model.parameters())
    primitives = headings(directions, STRIDE, held).to(place)
    far = PrimitivePlan(model, primitives, time=0.01 * apart[1], forget=apart[3])
    moves = [headings(16, length, held) for length in (0.3, 0.8, 1.3, STRIDE)]
    fine = torch.cat([*moves, torch.zeros(1, held, 2)]).to(place)
    near = RecedingHorizon(
        TrajectoryEnergy(model, GoalDistance()), Enumerate(fine), horizon=held, bounds=world.bounds
    )
    return RecedingHorizon(
        far,
        GraphSearch(apart[3], expand, waves, good_enough=apart[3]),  # where the other agent takes over
        horizon=waves,
        every=held,
        near=near,
        within=apart[5],
        surprise=apart[3] if memory else None,
        margin=0.5 * apart[3],
        bounds=world.bounds,
    )


@torch.no_grad()
def code_scale(
    model: WorldModel, world: TwoRooms, steps: tuple[int, ...], generator: Generator | None = None
) -> dict[int, float]:
    """The median distance of codes that are so many steps of a random walk apart.

    Args:
        model: encodes observations.
        world: to walk in.
        steps: how many, each at least 1.
        generator: source of the walks; the same walks every time if None.
    """
    source = torch.Generator().manual_seed(0) if generator is None else generator
    walks = random_walks(world, WINDOWS, max(steps), source)
    frames = draw_frames(walks["position"], walks["wall"], walks["door"])
    codes: Tensor = model.encode_frames(frames.to(next(model.parameters()).device))[0]
    return {k: float(torch.linalg.vector_norm(codes[:, k:] - codes[:, :-k], dim=2).median()) for k in steps}

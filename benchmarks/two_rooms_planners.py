"""What is measured in Two Rooms: episodes with one of several planners, the floors, and what a model knows.

interval    Wilson's, of a share k/n at 95 %
leak, pass  share of straight pushes of 12 px that the model lets through the wall, and through the door
probe       mean distance of the position from what a linear regression reads off the code, px
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ebm.energy import Energy
from ebm.infer import CEM, MPPI, MultiStart, SpaRSA
from ebm.infer.method import Method
from ebm.jepa import Quasimetric, Sequence, TemporalDistance
from ebm.plan import (
    GRASP,
    GoalDistance,
    LearnedCost,
    RecedingHorizon,
    TrajectoryEnergy,
    run_episodes,
    two_rooms_agent,
)
from ebm.world import TwoRooms, TwoRoomsModel, random_walks
from ebm.world.policies import expert_policy, greedy_policy, random_policy
from ebm.world.two_rooms import draw_frames

PUSH, PUSHES = 1.5, 8  # px and actions of a push
HALF = 2.0  # px from the middle of the door at which a push through it is aimed at most


def interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share of k in n.

    Example:
        >>> [round(p, 3) for p in interval(159, 160)]
        [0.965, 0.999]
    """
    share, spread = k / n, z * math.sqrt(k * (n - k) / n + z**2 / 4) / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = spread / (1 + z**2 / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def floors(world: TwoRooms, episodes: int) -> dict[str, Any]:
    """Shares of episodes that policies without a model end at the goal, and are ever there."""
    rows = {}
    policies = {"random": random_policy, "greedy": greedy_policy, "expert": expert_policy}
    for name, policy in policies.items():
        generator = Generator().manual_seed(3000)
        state, ever = world.reset(episodes, generator), torch.zeros(episodes, dtype=torch.bool)
        first = torch.full((episodes,), math.nan)
        for t in range(world.steps):
            state = world.step(state, policy(state, generator), generator)
            new = world.reached(state) & ~ever
            first, ever = torch.where(new, t + 1.0, first), ever | new
        rows[name] = {
            "last": float(world.reached(state).float().mean()),
            "ever": float(ever.float().mean()),
            "median steps": float(first.nanmedian()) if bool(ever.any()) else None,
            "episodes": episodes,
        }
    return rows


@torch.no_grad()
def measured(model: TwoRoomsModel, seed: int = 4000, count: int = 2000) -> dict[str, float]:
    """What a model of rooms that vary knows: probe error in px, wall leak, door pass."""
    device = next(model.parameters()).device
    generator = Generator().manual_seed(seed)
    world = TwoRooms()
    walks = random_walks(world, 2 * count, 1, generator)
    codes = _codes(model, walks["position"][:, :1], walks["wall"], walks["door"], device)[:, 0]
    ones = torch.cat([codes, torch.ones(len(codes), 1)], 1).double()
    position = walks["position"][:, 0].double()
    weights = torch.linalg.lstsq(ones[:count], position[:count]).solution
    miss = (ones[count:] @ weights - position[count:]).norm(dim=1).mean()
    pixel = torch.arange(5.0, 60.0)
    grid = torch.cartesian_prod(pixel, pixel)
    state = world.reset(count, generator)
    seen = _codes(model, grid[None], state["wall"][:1], state["door"][:1], device)[0]
    aim = torch.rand(count, 2, generator=generator)
    away = torch.where(aim[:, 0] < 0.5, 6.0, -6.0) * (1 + aim[:, 1] * 3)
    beside = torch.where(
        (state["door"] + away).sub(32).abs() < 26, state["door"] + away, state["door"] - away
    )
    through = state["door"] + HALF * (2 * aim[:, 1] - 1)
    return {
        "probe error": float(miss),
        "leak": _pushed(model, state, beside.clamp(6, 58), seen, grid, aim[:, 0] < 0.5),
        "pass": _pushed(model, state, through, seen, grid, aim[:, 0] < 0.5),
    }


def _pushed(
    model: TwoRoomsModel, state: dict[str, Tensor], y: Tensor, seen: Tensor, grid: Tensor, left: Tensor
) -> float:
    """The share of straight pushes at height y, begun 4 px from the wall, that end beyond it."""
    wall, device = state["wall"], seen.device
    start = torch.stack([torch.where(left, wall - 4, wall + 4), y], 1)
    frames = draw_frames(start[:, None], wall, state["door"])[:, 0]
    actions = torch.zeros(len(y), PUSHES, 2)
    actions[:, :, 0] = torch.where(left, PUSH, -PUSH)[:, None]
    end = model.rollout(model.encode(frames.to(device)), actions.to(device))[:, -1]
    x = grid[torch.cdist(end, seen).argmin(1).cpu(), 0]
    return float(torch.where(left, x > wall + 1.5, x < wall - 1.5).float().mean())


def _codes(
    model: TwoRoomsModel, position: Tensor, wall: Tensor, door: Tensor, device: torch.device
) -> Tensor:
    return model.encode_frames(draw_frames(position, wall, door).to(device))[0].cpu()


@dataclass(frozen=True)
class Budget:
    """What one solve may look at."""

    samples: int
    steps: int
    horizon: int
    every: int = 8

    @property
    def predictions(self) -> int:
        """Steps of the model in a solve."""
        return self.samples * self.steps * self.horizon


BUDGETS = {"small": Budget(100, 3, 30), "medium": Budget(200, 6, 60), "large": Budget(200, 20, 90)}


def agent_of(
    planner: str, model: TwoRoomsModel, world: TwoRooms, critic: torch.nn.Module | None
) -> RecedingHorizon:
    """The agent that a row of the table names: "graph search", or "METHOD, COST, BUDGET"."""
    if planner.startswith("graph search"):
        size = [*planner.split(", "), "medium"][1].split()[0]
        expand = {"small": 8, "medium": 24, "large": 48}[size]
        return two_rooms_agent(model, world, memory="no memory" not in planner, expand=expand)
    method, cost, size = planner.split(", ")
    budget = BUDGETS[size]
    costs: dict[str, Energy] = {"path": GoalDistance(), "last state": GoalDistance("end")}
    if critic is not None:
        costs["learned"] = LearnedCost(critic)
    few = max(
        1, budget.predictions // (budget.horizon * budget.steps * 12)
    )  # a gradient costs about 3 passes
    methods: dict[str, Method] = {
        "MPPI": MPPI(budget.samples, temperature=0.5, std=1.5),
        "CEM": CEM(budget.samples, 20, std=1.5),
        "collocation": GRASP(noise=0.05, iterations=10, rounds=budget.steps, descents=3),
        "gradient": MultiStart(SpaRSA(), few, spread=1.0, exponent=2.0),
    }
    return RecedingHorizon(
        TrajectoryEnergy(model, costs[cost]),
        methods[method],
        horizon=budget.horizon,
        every=budget.every,
        bounds=world.bounds,
        max_steps=budget.steps,
    )


def temporal_distance(model: TwoRoomsModel, world: TwoRooms, steps: int = 800) -> Quasimetric:
    """A quasimetric of codes that counts steps, learned from random walks after the model.

    A code says where the dot is and nothing of the walls, which are drawn anew for every episode; so the
    distance is that of an empty room.
    """
    device = next(model.parameters()).device
    generator = Generator().manual_seed(5000)
    walks = random_walks(world, 3000, 16, generator)
    with torch.no_grad():
        codes = _codes(model, walks["position"], walks["wall"], walks["door"], device)
    distance = Quasimetric(codes.shape[2], generator=generator)
    loss = TemporalDistance(distance, reach=60.0)
    adam = torch.optim.Adam(loss.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = torch.randint(len(codes), (128,), generator=generator)
        adam.zero_grad()
        loss(Sequence(codes[rows], tuple(range(17)))).backward()
        adam.step()
    return distance.to(device).requires_grad_(False)


def cost_of_a_plan(model: TwoRoomsModel, world: TwoRooms, repeats: int = 5) -> dict[str, Any]:
    """CPU seconds of one action planned as published, by 20 iterations x 200 samples x horizon 90."""
    generator = Generator(next(model.parameters()).device).manual_seed(0)
    agent = agent_of("MPPI, path, large", model, world, None)
    state = world.reset(1, generator, device=generator.device)
    seen, goal, seconds = world.observe(state), world.goal_observation(state), []
    for _ in range(repeats):
        plan, began = agent.start(1, generator, device=generator.device), time.process_time()
        agent.step(plan, observation=seen, goal=goal)
        seconds.append(time.process_time() - began)
    return {
        "CPU s": statistics.median(seconds),
        "published CPU s": 18.0,
        "predictions": BUDGETS["large"].predictions,
    }


def tried(
    model: TwoRoomsModel,
    world: TwoRooms,
    planner: str,
    episodes: int,
    seed: int,
    critic: torch.nn.Module | None = None,
) -> dict[str, Any]:
    """Episodes with a planner: how many end at the goal, how many were ever there, and what they cost."""
    device = next(model.parameters()).device
    generator = Generator(device).manual_seed(seed)
    agent = agent_of(planner, model, world, critic)
    done = run_episodes(world, agent, episodes, generator=generator, device=device, progress=planner)
    at = torch.stack([world.reached(state) for state in done.states])  # (T + 1, B)
    first = torch.where(at.any(0), at.int().argmax(0).double(), math.nan)
    reached = int(at[-1].sum())
    low, high = interval(reached, episodes)
    ever = float(at.any(0).float().mean())
    return {
        "reached": reached,
        "episodes": episodes,
        "last": reached / episodes,
        "95 %": [low, high],
        "ever": ever,
        "median steps": float(first.nanmedian()) if ever else None,
        "CPU ms an action": done.cpu_ms_an_action,
        "surprises an episode": float(sum(r.wrong.sum() for r in done.reports)) / episodes,
    }

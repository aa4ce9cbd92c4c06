"""Worlds and agents on another device: they do there what they do on the CPU.

s' and o of a world, there = here           where no random number decides
an agent there comes near the goal,         within the bounds, and the same way with the same generator
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ebm.plan.receding_horizon import RecedingHorizon
from ebm.plan.report import Report
from ebm.testing.planner_list import PlanningProblem
from ebm.testing.verdict import ContractError, require, require_equal
from ebm.world.world import State, World

STEPS, BATCH = 8, 32
CLOSE, GRAY = 1e-6, 0.005


class Episode:
    """What an agent did in eight steps of a planning problem, from a seed.

    Attributes:
        states, actions: (B, 9, S) and (B, 8, A).
        reports: of each step.
        begun: the plan's actions before each step.
        distance: to the goal, (B, 9).
    """

    def __init__(self, agent: RecedingHorizon, problem: PlanningProblem):
        s, goal = problem.start, problem.goal
        plan = agent.start(len(s), Generator(s.device).manual_seed(0), device=s.device)
        states, actions, begun = [s], [], []
        self.reports: list[Report] = []
        for _ in range(STEPS):
            begun.append(plan.actions)
            action, plan, report = agent.step(plan, s, goal)
            s = problem.model.step(s, action)
            states.append(s)
            actions.append(action)
            self.reports.append(report)
        self.begun, self.states, self.actions = begun, torch.stack(states, 1), torch.stack(actions, 1)
        self.distance = (self.states - goal[:, None]).norm(dim=2)


def check_world_on(device: torch.device, world: World) -> None:
    """A world steps and is seen on a device as on the CPU, and stays there.

    Raises:
        ContractError: if it isn't so.
    """
    here = world.reset(BATCH, Generator().manual_seed(0), dtype=torch.float64)
    for step in range(STEPS):
        push = torch.randn(BATCH, world.action_size, generator=Generator().manual_seed(step)).double()
        there = {name: value.to(device) for name, value in here.items()}
        seeds = [Generator(where).manual_seed(1) for where in ("cpu", device)]
        came = world.step(there, push.to(device), seeds[1])
        expected, other = world.step(here, push, seeds[0]), world.step(here, push)
        same = [(expected[k] == other[k]).view(BATCH, -1).all(1) for k in expected]
        settled = torch.stack(same).all(0)
        require(ContractError, int(settled.sum()) > BATCH // 4, "most rows of a world don't hang on chance")
        for what, one, two, tolerance in _looks(world, came, expected, push.to(device)):
            require(ContractError, one.device.type == device.type, f"{what} stays on {device}")
            claim = f"{what} is that on the CPU"
            require_equal(ContractError, one.cpu()[settled], two[settled], claim, tolerance)
        here = expected


def _looks(world: World, came: State, here: State, push: Tensor) -> list[tuple[str, Tensor, Tensor, float]]:
    """What there is to compare, there and here, and how far apart it may be: a picture by a level of gray."""
    found = [(f"state {name!r}", came[name], here[name], CLOSE) for name in here]
    found.append(("the cost", world.cost(came, push), world.cost(here, push.cpu()), CLOSE))
    for what, look in (("the observation", world.observe), ("the picture", world.frames)):
        there, seen = look(came), look(here)
        unit = 1 if seen.is_floating_point() else 255
        found.append((what, there.double() / unit, seen.double() / unit, GRAY))
    return found


def check_planner_on(
    device: torch.device, make: Callable[[PlanningProblem], RecedingHorizon], problem: PlanningProblem
) -> None:
    """An agent on a device comes near the goal within the bounds, and the same way twice.

    Raises:
        ContractError: if it isn't so.
    """
    there = problem._replace(start=problem.start.to(device), goal=problem.goal.to(device))
    agent = make(there)
    done, again = Episode(agent, there), Episode(make(there), there)
    require(ContractError, done.actions.device.type == device.type, f"actions stay on {device}")
    require(ContractError, bool(done.states.isfinite().all()), "an agent's way is finite")
    near = (done.distance[:2, -1] < 0.4 * done.distance[:2, 0]).all() & (done.distance[2] <= 1e-9).all()
    require(ContractError, bool(near), "an agent comes near the goal, and stays where it is there")
    if agent.guard.bounds is not None:
        require(
            ContractError, not bool(problem.bounds(actions=done.actions).any()), "actions are in the bounds"
        )
    require_equal(
        ContractError, again.actions, done.actions, "the same generator gives the same actions", CLOSE
    )

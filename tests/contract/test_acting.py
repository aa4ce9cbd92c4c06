"""What is asked of worlds and agents on another device: asked here on the CPU, and of ones that break it."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from ebm.plan import RecedingHorizon
from ebm.testing import ContractError
from ebm.testing.acting import check_planner_on, check_world_on
from ebm.testing.planner_list import PlanningProblem, planners, problems
from ebm.testing.world_list import worlds
from ebm.world import Pendulum
from ebm.world.world import State

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", worlds())
def test_a_world_agrees_with_itself(name: str) -> None:
    check_world_on(CPU, worlds()[name])


class Drifting(Pendulum):
    """Steps a little farther each time."""

    steps_done = 0

    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        self.steps_done += generator is not None
        moved = super().move(state, actions, generator)
        return {name: value + 1e-3 * self.steps_done for name, value in moved.items()}


class Blinking(Pendulum):
    """Is seen otherwise every second time."""

    looks = 0

    def observe(self, state: State) -> Tensor:
        self.looks += 1
        return super().observe(state) + self.looks % 2


@pytest.mark.parametrize(("world", "what"), [(Drifting(), "state"), (Blinking(), "the observation")])
def test_a_world_that_does_not_is_found(world: Pendulum, what: str) -> None:
    with pytest.raises(ContractError, match=what):
        check_world_on(CPU, world)


def test_an_agent_that_stays_away_or_leaves_the_bounds_is_found() -> None:
    problem, calls = problems()["walk"], []

    def fickle(p: PlanningProblem) -> RecedingHorizon:
        calls.append(p)
        return planners()["CEM" if len(calls) % 2 else "ICEM"](p)

    def wide(p: PlanningProblem) -> RecedingHorizon:
        agent = planners()["MultiStart, LBFGS"](p)
        agent.guard.bounds = p.bounds
        agent.guard._bounded = lambda action: 1.5 * action  # type: ignore[method-assign]
        return agent

    def lazy(p: PlanningProblem) -> RecedingHorizon:
        agent = planners()["CEM"](p)
        agent.guard._bounded = lambda action: 0 * action  # type: ignore[method-assign]
        return agent

    for make, what in ((fickle, "same actions"), (wide, "in the bounds"), (lazy, "comes near")):
        with pytest.raises(ContractError, match=what):
            check_planner_on(CPU, make, problem)

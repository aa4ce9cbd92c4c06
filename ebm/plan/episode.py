"""Episodes: an agent in a world, from reset to the last step, many side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ebm.plan.receding_horizon import RecedingHorizon
from ebm.plan.report import Report
from ebm.progress import tqdm
from ebm.world.world import State, World


@dataclass
class Episodes:
    """What happened in B episodes of T steps.

    Attributes:
        states: T + 1 states, the first one included.
        actions: what was done, (B, T, A).
        costs: of the world, (B, T).
        reports: the agent's, one a step.
        cpu_seconds: of the agent's steps, all together; the world's are not counted.
    """

    states: list[State]
    actions: Tensor
    costs: Tensor
    reports: list[Report]
    cpu_seconds: float

    @property
    def cpu_ms_an_action(self) -> float:
        """CPU time of the agent for one action of one episode, in ms."""
        return 1e3 * self.cpu_seconds / (self.actions.shape[0] * self.actions.shape[1])

    def frames(self, world: World, episode: int = 0) -> Tensor:
        """Pictures of one episode, (T + 1, H, W, 3) uint8."""
        index = torch.tensor([episode], device=self.actions.device)
        return torch.cat([world.frames({k: v[index] for k, v in state.items()}) for state in self.states])


def run_episodes(
    world: World,
    agent: RecedingHorizon,
    batch: int,
    *,
    steps: int | None = None,
    generator: Generator | None = None,
    state: State | None = None,
    device: torch.device | str | None = None,
    progress: bool | str = False,
    **given: Any,
) -> Episodes:
    """Let an agent act in B episodes of a world.

    A world with goals has `goal_observation(state)`, which is encoded once.

    Args:
        world: where.
        agent: who.
        batch: B.
        steps: of an episode; the world's own number if None.
        generator: source of everything: start, noise and plans.
        state: where to begin, B rows; drawn by `world.reset` if None.
        device: where to run.
        progress: show a bar; a string is its title.
        given: further variables of the agent's energy, B rows.

    Raises:
        ValueError: if there are fewer steps than one.

    Example:
        >>> from ebm.infer import CEM
        >>> from ebm.plan import GoalDistance, TrajectoryEnergy
        >>> from ebm.world import TwoRooms, TwoRoomsModel
        >>> world, model = TwoRooms(), TwoRoomsModel()
        >>> E = TrajectoryEnergy(model, GoalDistance())
        >>> agent = RecedingHorizon(E, CEM(8, 2), horizon=4, max_steps=1)
        >>> done = run_episodes(world, agent, 2, steps=3, generator=torch.Generator().manual_seed(0))
        >>> done.actions.shape, len(done.states)
        (torch.Size([2, 3, 2]), 4)
    """
    steps = world.steps if steps is None else steps
    if steps < 1:
        raise ValueError(f"an episode has at least one step; got {steps}.")
    state = world.reset(batch, generator, device=device) if state is None else state
    device = next(iter(state.values())).device
    known = dict(given)
    if hasattr(world, "goal_observation"):
        with torch.no_grad():
            known["goal"] = agent.model.encode(world.goal_observation(state))
    plan = agent.start(batch, generator, device=device)
    states, actions, costs, reports, seconds = [state], [], [], [], 0.0
    title = progress if isinstance(progress, str) else "episodes"
    for _ in tqdm(range(steps), desc=title, disable=not progress):
        seen, began = world.observe(state), time.process_time()
        with torch.no_grad():
            encoded = agent.model.encode(seen)
        action, plan, report = agent.step_encoded(plan, encoded, known)
        seconds += time.process_time() - began
        allowed = world.allowed(action, batch)
        costs.append(world.cost(state, allowed))
        state = world.step(state, action, generator)
        states.append(state)
        actions.append(allowed)
        reports.append(report)
    return Episodes(states, torch.stack(actions, 1), torch.stack(costs, 1), reports, seconds)

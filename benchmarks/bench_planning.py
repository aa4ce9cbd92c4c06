"""Planning by minimization beside planners of other packages: 20 commands in a closed loop, from 3 seeds.

The same step and cost functions on both sides (`benchmarks.planning`), float32, one thread, horizons of 30
(the mass) and 20 (the network). Ours minimizes over the plan with L-BFGS from several starts: 25 or 40 steps
for the first plan, then a few from the plan before, moved on; four actions of a plan are done before the next
is made. To plan anew after every action costs four times as much and gains nothing here: the model is exact,
and a horizon that moves on with every step trades what is counted for what comes after the last one. Times
are means over all commands, the first included; the total cost is the median of the seeds.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.planning import COMMANDS, Network, Plan, PointMass, World, closed_loop
from ebm import minimize
from ebm.infer import LBFGS, MultiStart

SEEDS = (20, 21, 22)
Command = Callable[[Tensor], Tensor]


class Settings(NamedTuple):
    """Of our planner: how long a plan is followed; steps and starts of the first one and of the others."""

    world: type[World]
    every: int
    first_steps: int
    first: MultiStart
    steps: int
    then: MultiStart


def starts(count: int, spread: float, exponent: float) -> MultiStart:
    """L-BFGS from several starts, with noise that is colored along the plan."""
    return MultiStart(LBFGS(), count, spread, exponent=exponent)


MASS = Settings(PointMass, 4, 25, starts(16, 0.5, 3.0), 5, starts(8, 0.4, 3.0))
NETWORK = Settings(Network, 4, 40, starts(16, 0.5, 1.0), 15, starts(4, 0.3, 1.0))


def shifted(plan: Tensor) -> Tensor:
    """The plan one command later, (..., T, A); the last action is repeated."""
    return torch.cat([plan[..., 1:, :], plan[..., -1:, :]], -2)


class Planner:
    """Ours: minimizes over the plan, and begins the next solve at what is left of it."""

    def __init__(self, settings: Settings, world: World, seed: int):
        self.settings, self.energy = settings, Plan(world)
        self.generator = torch.Generator().manual_seed(seed)
        self.plan = torch.zeros(1, world.horizon, world.actions)
        self.commands = 0

    def __call__(self, state: Tensor) -> Tensor:
        _, every, first_steps, first, steps, then = self.settings
        if self.commands % every == 0:
            solution = minimize(
                self.energy,
                {"actions": self.plan},
                then if self.commands else first,
                given={"state": state.unsqueeze(0)},
                max_steps=steps if self.commands else first_steps,
                generator=self.generator,
            )
            self.plan = solution.value["actions"]  # type: ignore[index]
        action = self.plan[0, 0].clamp(-1, 1)
        self.plan, self.commands = shifted(self.plan), self.commands + 1
        return action


def mppi(samples: int, iterations: int) -> Callable[[World, int], Command]:
    """pytorch-mppi with the better of the noises ½, 1 and temperatures 0.1, 1 on both problems."""

    def make(world: World, seed: int) -> Command:
        package = importlib.import_module("pytorch_mppi")
        torch.manual_seed(seed)
        planner = package.MPPI(
            world.step,
            world.cost,
            len(world.start),
            0.25 * torch.eye(world.actions),
            num_samples=samples,
            horizon=world.horizon,
            lambda_=0.1,
            u_min=-torch.ones(world.actions),
            u_max=torch.ones(world.actions),
            U_init=torch.zeros(world.horizon, world.actions),
        )

        def command(state: Tensor) -> Tensor:
            actions = [planner.command(state, shift_nominal_trajectory=i == 0) for i in range(iterations)]
            return actions[-1]

        return command

    return make


def mbrl_cem(samples: int, iterations: int) -> Callable[[World, int], Command]:
    """mbrl's CEM, a tenth of the samples as elites, begun at its plan before."""

    def make(world: World, seed: int) -> Command:
        package = importlib.import_module("mbrl.planning.trajectory_opt")
        torch.manual_seed(seed)
        bound, energy = torch.ones(world.horizon, world.actions).tolist(), Plan(world)
        low = (-torch.ones(world.horizon, world.actions)).tolist()
        optimizer = package.CEMOptimizer(iterations, 0.1, samples, low, bound, 0.1, torch.device("cpu"), True)
        plans = [torch.zeros(world.horizon, world.actions)]

        def command(state: Tensor) -> Tensor:
            def reward(plans: Tensor) -> Tensor:
                return -energy.forward(state.expand(len(plans), -1), plans)

            with torch.no_grad():
                plan = optimizer.optimize(reward, x0=plans.pop())
            plans.append(shifted(plan))
            return plan[0]

        return command

    return make


class Costs(torch.nn.Module):
    """A world as stable-worldmodel's solvers see it."""

    def __init__(self, world: World):
        super().__init__()
        self.energy = Plan(world)

    def get_cost(self, info: dict[str, Any], plans: Tensor) -> Tensor:
        """Costs (B, N) of plans (B, N, T, A)."""
        return self.energy.forward(info["state"].flatten(0, 1), plans.flatten(0, 1)).view(plans.shape[:2])


def stable_worldmodel(name: str, **settings: Any) -> Callable[[World, int], Command]:
    """A solver of stable-worldmodel, begun at its plan before."""

    def make(world: World, seed: int) -> Command:
        solvers, gymnasium = map(importlib.import_module, ("stable_worldmodel.solver", "gymnasium"))
        solver = getattr(solvers, name)(Costs(world), batch_size=1, seed=seed, **settings)
        space = gymnasium.spaces.Box(-1, 1, (1, world.actions))
        solver.configure(
            action_space=space, n_envs=1, config=SimpleNamespace(horizon=world.horizon, action_block=1)
        )
        plans = [torch.zeros(1, world.horizon, world.actions)]

        def command(state: Tensor) -> Tensor:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its times
                plan = solver.solve({"state": state.unsqueeze(0)}, init_action=plans.pop())["actions"]
            plans.append(shifted(plan))
            return plan[0, 0].clamp(-1, 1)

        return command

    return make


def runs(world: World, make: Callable[[World, int], Command]) -> list[tuple[float, float]]:
    """Total cost and seconds a command, for each seed."""
    return [closed_loop(world, make(world, seed)) for seed in SEEDS]


def check(world: World, found: list[tuple[float, float]]) -> dict[str, float]:
    totals = [total for total, _ in found]
    return {
        "total cost": median(totals),
        "least": min(totals),
        "greatest": max(totals),
        "CPU ms a command": 1e3 * median(seconds for _, seconds in found),
    }


def case(title: str, settings: Settings, peer: str, name: str, make: Callable[[World, int], Command]) -> Case:
    """Ours against one planner; the times of two planners say nothing if the slower one is the better."""

    def objection(mine: Any, yours: Any) -> str:
        mine, yours = mine["total cost"], yours["total cost"]
        return "" if mine <= yours else f"our total cost is {mine:.1f}, that of {peer} {yours:.1f}"

    return Case(
        f"{COMMANDS} commands, {title}, from {len(SEEDS)} seeds, against {name}",
        lambda world: runs(world, lambda world, seed: Planner(settings, world, seed)),
        lambda world, _: runs(world, make),
        settings.world,
        check,
        objection,
        peer=peer,
        unit="cpu s",
        at_least=1.0,
    )


ADAM = {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.1}, "var_scale": 0.3}
CASES = [
    case("a point mass", MASS, "pytorch_mppi", "pytorch-mppi (1,000 x 5)", mppi(1000, 5)),
    case("a point mass", MASS, "mbrl", "mbrl's CEM (1,000 x 5)", mbrl_cem(1000, 5)),
    case(
        "a point mass",
        MASS,
        "stable_worldmodel",
        "stable-worldmodel's CEM (1,000 x 5)",
        stable_worldmodel("CEMSolver", num_samples=1000, n_steps=5, topk=100, var_scale=0.5),
    ),
    case(
        "a point mass",
        MASS,
        "stable_worldmodel",
        "stable-worldmodel's Adam (16 starts x 15)",
        stable_worldmodel("GradientSolver", num_samples=16, n_steps=15, **ADAM),
    ),
    case("a network", NETWORK, "pytorch_mppi", "pytorch-mppi (512 x 5)", mppi(512, 5)),
    case("a network", NETWORK, "mbrl", "mbrl's CEM (512 x 5)", mbrl_cem(512, 5)),
    case(
        "a network",
        NETWORK,
        "stable_worldmodel",
        "stable-worldmodel's CEM (512 x 5)",
        stable_worldmodel("CEMSolver", num_samples=512, n_steps=5, topk=51, var_scale=0.5),
    ),
    case(
        "a network",
        NETWORK,
        "stable_worldmodel",
        "stable-worldmodel's Adam (16 starts x 15)",
        stable_worldmodel("GradientSolver", num_samples=16, n_steps=15, **ADAM),
    ),
]

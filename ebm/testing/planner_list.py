"""The list of planners: agents with every kind of method, and small problems whose solution is known.

A new one is put on it, one line, and inherits the whole contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.infer.adam import Adam
from ebm.infer.augmented_lagrangian import AugmentedLagrangian
from ebm.infer.cem import CEM
from ebm.infer.enumerate import Enumerate
from ebm.infer.graph_search import GraphSearch
from ebm.infer.icem import ICEM
from ebm.infer.lbfgs import LBFGS
from ebm.infer.method import Method
from ebm.infer.mppi import MPPI
from ebm.infer.multi_start import MultiStart
from ebm.infer.proximal import FISTA
from ebm.plan.costs import ActionPenalty, GoalDistance
from ebm.plan.primitives import PrimitivePlan, headings
from ebm.plan.receding_horizon import RecedingHorizon
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.regularizers import Box
from ebm.world.known import KnownDynamics

HORIZON = 4


class PlanningProblem(NamedTuple):
    """Three episodes on a plane whose best way is known: straight to the goal.

    Attributes:
        model: the true dynamics.
        start, goal: states (B, 2); in the last episode they are the same.
        bounds: of the actions.
    """

    model: KnownDynamics
    start: Tensor
    goal: Tensor
    bounds: Box

    @property
    def energy(self) -> TrajectoryEnergy:
        """The distance to the goal on the way, and a little for what is done."""
        return TrajectoryEnergy(self.model, GoalDistance() + 0.01 * ActionPenalty())


Planners = dict[str, Callable[[PlanningProblem], RecedingHorizon]]


def problems() -> dict[str, PlanningProblem]:
    """Small problems.

    Example:
        >>> {name: tuple(problem.start.shape) for name, problem in problems().items()}
        {'walk': (3, 2), 'mud': (3, 2)}
    """
    start = torch.tensor([[0.0, 0.0], [2.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    goal = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    bounds = Box("actions", -1.0, 1.0)
    return {
        "walk": PlanningProblem(KnownDynamics(_walk, 2), start, goal, bounds),
        "mud": PlanningProblem(KnownDynamics(_mud, 2), start, goal, bounds),
    }


def planners() -> Planners:
    """Agents for a problem, by name. (A gradient does not see bounds, so some have none.)

    Example:
        >>> agent = planners()["CEM"](problems()["walk"])
        >>> type(agent).__name__, agent.planner.horizon
        ('RecedingHorizon', 4)
    """
    return {
        "CEM": _bounded(CEM(100, 10, std=0.5), 5),
        "CEM, two actions a plan": _bounded(CEM(100, 10, std=0.5), 5, every=2),
        "ICEM": _bounded(ICEM(60, 10), 4),
        "MPPI": _bounded(MPPI(100, 0.05, std=0.5), 6),
        "FISTA": _bounded(FISTA(), 30),
        "MultiStart, Adam": _free(MultiStart(Adam(0.2), 4), 40),
        "MultiStart, LBFGS": _free(MultiStart(LBFGS(), 4), 15),
        "AugmentedLagrangian": _free(AugmentedLagrangian(LBFGS()), 5),
        "Enumerate": _straight,
        "GraphSearch": _primitives,
        "GraphSearch, then Enumerate": lambda p: _primitives(p, near=_straight(p), within=1.2),
    }


def _bounded(method: Method, steps: int, every: int = 1) -> Callable[[PlanningProblem], RecedingHorizon]:
    return lambda p: RecedingHorizon(
        p.energy, method, horizon=HORIZON, every=every, bounds=p.bounds, max_steps=steps
    )


def _free(method: Method, steps: int) -> Callable[[PlanningProblem], RecedingHorizon]:
    return lambda p: RecedingHorizon(p.energy, method, horizon=HORIZON, max_steps=steps)


def _straight(p: PlanningProblem) -> RecedingHorizon:
    """The best of short straight moves, or none."""
    moves = torch.cat([headings(16, length, HORIZON) for length in (0.1, 0.3, 0.9)])
    still = torch.zeros(1, HORIZON, 2)
    tried = Enumerate(torch.cat([still, moves]).to(p.start))
    return RecedingHorizon(p.energy, tried, horizon=HORIZON, bounds=p.bounds)


def _primitives(
    p: PlanningProblem, near: RecedingHorizon | None = None, within: float = 0.0
) -> RecedingHorizon:
    energy = PrimitivePlan(p.model, headings(8, 0.5, 2).to(p.start), time=0.01)
    search = GraphSearch(0.2, good_enough=0.2)
    return RecedingHorizon(energy, search, horizon=10, every=2, bounds=p.bounds, near=near, within=within)


def _walk(s: Tensor, a: Tensor) -> Tensor:
    return s + a


def _mud(s: Tensor, a: Tensor) -> Tensor:
    """Slow on the left, faster on the right."""
    return s + a * (0.6 + 0.4 * torch.sigmoid(4 * s[..., :1] - 4))

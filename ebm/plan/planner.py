"""Planners: a planning energy, a method of `minimize`, and where the next solve begins.

    actions      a* = argmin_a E(state, goal, a),      next start: a* without its first action
    primitives   c* = argmin_c E(state, goal, c),      a* = the actions of the primitives c*

`RecedingHorizon` makes one of what it is given; both answer with a `Decision`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.method import Method, count, positive
from ebm.infer.minimize import minimize
from ebm.plan.guardrails import violations
from ebm.plan.primitives import PrimitivePlan
from ebm.plan.surprises import Surprises
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.regularizers import Regularizer
from ebm.solution import Solution
from ebm.world.model import ModelState, Rollout, WorldModel, moving


class Decision(NamedTuple):
    """What was decided for B episodes.

    Attributes:
        actions: what to do from now on, (B, T, A).
        choice: the primitive that it begins with, (B,) int64; -1 where there are none.
        solution: of the solve.
        terms: the energy by term, each (B,).
    """

    actions: Tensor
    choice: Tensor
    solution: Solution
    terms: dict[str, Tensor]


class Planner(ABC):
    """Decides on actions for encoded states and goals.

    Attributes:
        model: the world model that it imagines with.
        horizon: T, the actions in a plan.
        hold: for how many actions a decision is kept.
        needs: variables that have to be known besides the state.
    """

    model: WorldModel
    horizon: int
    hold: int
    needs: frozenset[str]

    @abstractmethod
    def decide(
        self,
        state: ModelState,
        given: Mapping[str, Any],
        start: Tensor,
        surprises: Surprises,
        generator: Generator | None,
    ) -> Decision:
        """Plan for B episodes, from a guess of the actions, (B, T, A)."""

    @abstractmethod
    def cost(self, path: Tensor, actions: Tensor, state: ModelState, given: Mapping[str, Any]) -> Tensor:
        """What a path (B, T + 1, S) under actions (B, T, A) costs, (B,)."""

    @abstractmethod
    def imagine(self, guardrail: Energy) -> Energy:
        """A guardrail, of states and actions, as an energy of the path that actions lead along."""


class ActionPlanner(Planner):
    """Plans by minimizing a `TrajectoryEnergy` over `actions`; `RecedingHorizon` has the arguments."""

    def __init__(
        self,
        energy: TrajectoryEnergy,
        method: Method,
        horizon: int,
        hold: int,
        subject_to: Sequence[Energy],
        bounds: Regularizer | None,
        max_steps: int,
        tol: float,
    ):
        self.energy, self.method, self.model = energy, method, energy.model
        self.horizon, self.hold = count("horizon", horizon), count("every", hold)
        if hold > horizon:
            raise ValueError(f"a plan is {horizon} actions long; got every={hold}.")
        self.subject_to = [self.imagine(each) for each in subject_to]
        self.target = energy.imagined if bounds is None else energy.imagined + bounds
        self.needs = frozenset(self.target.variables) - {"state", "actions"}
        self.max_steps, self.tol = count("max_steps", max_steps, 0), tol

    def decide(
        self,
        state: ModelState,
        given: Mapping[str, Any],
        start: Tensor,
        surprises: Surprises,
        generator: Generator | None,
    ) -> Decision:
        known = {"state": state, **given}
        used = {name for each in (self.target, *self.subject_to) for name in each.variables}
        known = {name: value for name, value in known.items() if name in used}
        solution = minimize(
            self.target,
            {"actions": self._begin(known, start)},
            self.method,
            given=known,
            subject_to=self.subject_to,
            max_steps=self.max_steps,
            tol=self.tol,
            generator=generator,
        )
        actions = solution.value["actions"]  # type: ignore[index]
        terms = self.energy.imagined.terms(**_for(self.energy.imagined, known, actions))
        nothing = torch.full((len(actions),), -1, device=actions.device)
        return Decision(actions, nothing, solution, terms)

    def _begin(self, known: Mapping[str, Any], start: Tensor) -> Tensor:
        """What is left of the last plan, or, where that is better, to do nothing."""
        nothing = torch.zeros_like(start)
        if not bool(start.any()):
            return start
        (left, broken), (idle, idly) = (self._judged(known, actions) for actions in (start, nothing))
        better = (idly < broken) | ((idly == broken) & (idle < left)) | ~left.isfinite()
        return torch.where(better[:, None, None], nothing, start)

    def _judged(self, known: Mapping[str, Any], actions: Tensor) -> tuple[Tensor, Tensor]:
        """The energy, and by how much the guardrail that is broken worst is broken, each (B,)."""
        value = self.target(**_for(self.target, known, actions))
        broken = violations([("", each) for each in self.subject_to], {**known, "actions": actions})
        return value, broken.get("", torch.zeros_like(value))

    def cost(self, path: Tensor, actions: Tensor, state: ModelState, given: Mapping[str, Any]) -> Tensor:
        here = self.model.at(path, state, 0)
        known = {"states": path, "actions": actions, "state": here, **given}
        cost = self.energy.cost
        return cost(**{name: known[name] for name in cost.variables})

    def imagine(self, guardrail: Energy) -> Energy:
        return self.energy.imagine(guardrail)


class PrimitivePlanner(Planner):
    """Plans by minimizing a `PrimitivePlan` over `choices`; `RecedingHorizon` has the arguments."""

    def __init__(self, energy: PrimitivePlan, method: Method, horizon: int, hold: int, margin: float):
        self.energy, self.method, self.model = energy, method, energy.model
        self.margin = float(positive("margin", margin, zero=True))
        self.length, self.horizon = count("horizon", horizon), horizon * energy.held
        if count("every", hold) > energy.held:
            raise ValueError(f"a primitive is {energy.held} actions long; got every={hold}.")
        self.hold, self.needs = hold, frozenset({"goal"})

    def decide(
        self,
        state: ModelState,
        given: Mapping[str, Any],
        start: Tensor,
        surprises: Surprises,
        generator: Generator | None,
    ) -> Decision:
        left = self.energy.choices(start)  # of the plan so far
        known = {"state": state, "goal": given["goal"], "surprises": surprises}
        begin = Choices(left, n=len(self.energy.primitives))
        solution = minimize(self.energy, {"choices": begin}, self.method, given=known, generator=generator)
        found = solution.value["choices"]  # type: ignore[index]
        kept = self.energy(choices=left, **known)
        better = solution.energy < kept - self.margin
        choices = torch.where(better.unsqueeze(1), found, left)
        solution.value, solution.energy = {"choices": choices}, torch.where(better, solution.energy, kept)
        actions = self.energy.actions(choices).to(start.dtype)
        return Decision(actions, choices[:, 0], solution, {self.energy.label: solution.energy})

    def cost(self, path: Tensor, actions: Tensor, state: ModelState, given: Mapping[str, Any]) -> Tensor:
        return torch.linalg.vector_norm(path[:, -1] - moving(given["goal"]), dim=1)

    def imagine(self, guardrail: Energy) -> Energy:
        if "states" not in guardrail.variables:
            return guardrail
        return guardrail.compose(states=(Rollout(self.model), "state", "actions"))


def _for(energy: Energy, known: Mapping[str, Any], actions: Tensor) -> dict[str, Any]:
    """The values of an energy's variables."""
    values = {**known, "actions": actions}
    return {name: values[name] for name in energy.variables}

"""Receding horizon: plan ahead, act, look, and plan again from where the last plan left off.

    a* = argmin_a E(o_t, goal, a),    do a*_1,    start the next solve at (a*_2, ..., a*_T, 0)

What is called model-predictive control. An agent holds settings alone; its `Plan` is a value that goes from
step to step, so episodes can be batched, branched and replayed. Rows of a batch are planned together but each
when it is due, observations are encoded once, and what the model had said of a step is kept beside what came.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3.1.2 (mode 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from ebm.binder import batch_of, map_rows
from ebm.energy import Energy
from ebm.infer.method import Method, positive
from ebm.plan.guardrails import Brake, Fallback, Guard, checked
from ebm.plan.plan import Memory, Plan, blank
from ebm.plan.planner import ActionPlanner, Planner, PrimitivePlanner
from ebm.plan.primitives import PrimitivePlan
from ebm.plan.report import Report
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.regularizers import Regularizer
from ebm.world.model import ModelState, moving


class RecedingHorizon:
    """An agent that plans, acts, and plans again.

    Args:
        energy: a `TrajectoryEnergy`, planned over `actions`; or a `PrimitivePlan`, over `choices`.
        method: of `minimize`, e.g. `CEM(200, 20)`; for primitives `GraphSearch(...)`.
        horizon: actions in a plan; for primitives, how many of them.
        every: actions that are done of a plan before the next is made.
        subject_to: guardrails, energies of `states` and `actions` that are allowed where they are <= 0.
        fallback: what is done where the path ahead breaks a guardrail, or no plan of finite energy was found,
            or what is seen is NaN.
        bounds: the world's, an indicator of "actions": candidates are kept in it, and what is done.
        near: another agent, which plans where the state is within `within` of the goal; what is done is held
            to the bounds and guardrails of this one.
        within: a distance of states, |s - g|.
        surprise: the distance |s - ŝ| of what came of a primitive from what was predicted, from which on it
            is remembered as wrong; None remembers nothing.
        margin: by how much a new plan of primitives must beat what is left of the old; 0 may dither forever.
        max_steps, tol: of the solve.

    Raises:
        TypeError: if the energy is neither, a method doesn't suit it, or a guardrail has other variables.
        ValueError: for a setting out of range or of no use, or if the other agent plans farther ahead.

    Example:
        >>> from ebm.infer import CEM
        >>> from ebm.plan import GoalDistance
        >>> from ebm.world import KnownDynamics
        >>> E = TrajectoryEnergy(KnownDynamics(lambda s, a: s + a, 2), GoalDistance())
        >>> agent = RecedingHorizon(E, CEM(64, 8), horizon=3, max_steps=10)
        >>> plan = agent.start(batch=1, generator=torch.Generator().manual_seed(0))
        >>> s, goal = torch.zeros(1, 2), torch.ones(1, 2)
        >>> for _ in range(3):
        ...     action, plan, report = agent.step(plan, observation=s, goal=goal)
        ...     s = s + action
        >>> bool((s - goal).abs().max() < 0.1)
        True
    """

    def __init__(
        self,
        energy: TrajectoryEnergy | PrimitivePlan,
        method: Method,
        *,
        horizon: int,
        every: int = 1,
        subject_to: Sequence[Energy] = (),
        fallback: Fallback | None = None,
        bounds: Regularizer | None = None,
        near: RecedingHorizon | None = None,
        within: float = 0.0,
        surprise: float | None = None,
        margin: float = 0.0,
        max_steps: int = 10,
        tol: float = 0.0,
    ):
        self.planner: Planner
        rails = checked(subject_to)
        if isinstance(energy, PrimitivePlan):
            self.planner = PrimitivePlanner(energy, method, horizon, every, margin)
        elif isinstance(energy, TrajectoryEnergy):
            self.planner = ActionPlanner(energy, method, horizon, every, rails, bounds, max_steps, tol)
            if margin or surprise is not None:
                raise ValueError("margin and surprise are settings of plans made of primitives.")
        else:
            raise TypeError(f"an agent plans with a TrajectoryEnergy or a PrimitivePlan; got {energy!r}.")
        self.model = energy.model
        imagined = [(each.label, self.planner.imagine(each)) for each in rails]
        self.guard = Guard(imagined, fallback or Brake(), bounds)
        self.near, self.within = near, positive("within", within, zero=True)
        self.surprise = None if surprise is None else positive("surprise", surprise)
        if near is not None and near.planner.horizon > self.planner.horizon:
            raise ValueError(f"near plans {near.planner.horizon} actions, more than {self.planner.horizon}.")

    def start(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Plan:
        """The plan of B episodes that have not begun: to do nothing, and to plan at once."""
        if batch < 1:
            raise ValueError(f"batch is how many episodes run side by side, at least 1; got {batch}.")
        actions = torch.zeros(batch, self.planner.horizon, self.model.action_size, device=device, dtype=dtype)
        due = torch.zeros(batch, dtype=torch.int64, device=device)
        return Plan(actions, due, actions.new_full((batch,), torch.nan), generator, None)

    @torch.no_grad()
    def step(
        self, plan: Plan, observation: Any, goal: Any = None, **given: Any
    ) -> tuple[Tensor, Plan, Report]:
        """The next actions, (B, A), the plan after them, and what there is to say of it.

        Args:
            plan: of the step before, or of `start`.
            observation: what is seen now, as the model's `encode` takes it.
            goal: an observation of where to be.
            given: other variables of the energy, B rows first.

        Raises:
            TypeError: if a variable of the energy is missing.
            ValueError: if the observation, or what else is given, has other rows than the plan.
        """
        state = self.model.encode(observation)
        known = dict(given) if goal is None else {"goal": self.model.encode(goal), **given}
        return self.step_encoded(plan, state, known)

    @torch.no_grad()
    def step_encoded(
        self, plan: Plan, state: ModelState, given: Mapping[str, Any]
    ) -> tuple[Tensor, Plan, Report]:
        """`step` for a state and a goal that are encoded already."""
        s = moving(state)
        needed = self.planner.needs | (self.near.planner.needs | {"goal"} if self.near else set())
        if missing := sorted(needed - set(given)):
            raise TypeError(f"a plan needs {', '.join(f'{name}=...' for name in missing)} at every step.")
        if len(s) != len(plan.actions):
            raise ValueError(f"the plan is of {len(plan.actions)} episodes, the observation of {len(s)}.")
        for name, value in given.items():
            if batch_of(value, name) not in (None, len(s)):
                raise ValueError(f"{name!r} has {batch_of(value, name)} rows, the observation {len(s)}.")
        if plan.memory is None:  # from now on in the precision of the states
            plan = plan._replace(actions=plan.actions.to(s.dtype), energy=plan.energy.to(s.dtype))
        memory = blank(s, self.model.action_size) if plan.memory is None else plan.memory
        memory, report = self._look_back(plan, memory, state, given)
        near = self._near(s, given)
        agents = [(self, ~near & (plan.left <= 0)), *([(self.near, near)] if self.near else [])]
        for agent, rows in agents:
            if bool(rows.any()):
                index = rows.nonzero().flatten()
                plan, memory = agent._replan(plan, memory, state, given, index, report)
        report.energy = plan.energy
        sound = s.flatten(1).isfinite().all(1) & plan.energy.isfinite()
        action, report.fallback, report.violation = self.guard(plan.actions, {**given, "state": state}, sound)
        after = self.model.step(state, action)
        promised = self._cost(s, moving(after), action, state, given)
        memory = memory._replace(expected=moving(after), before=s, action=action, promised=promised)
        rest = torch.cat([plan.actions[:, 1:], torch.zeros_like(plan.actions[:, :1])], 1)
        return action, plan._replace(actions=rest, left=plan.left - 1, memory=memory), report

    def _look_back(
        self, plan: Plan, memory: Memory, state: ModelState, given: Mapping[str, Any]
    ) -> tuple[Memory, Report]:
        """Compare what came with what was expected, and remember where a primitive surprised."""
        s = moving(state)
        actual = self._cost(memory.before, s, memory.action, state, given)
        actual = actual.where(memory.action.isfinite().all(1), torch.nan)  # nothing was done yet
        surprise = _distance(s, memory.expected)
        done = (plan.left <= 0) & (memory.choice >= 0)
        wrong = done & (_distance(s, memory.foreseen) > (self.surprise or torch.inf))
        surprises = memory.surprises.add(memory.began, memory.choice, wrong)
        no = torch.zeros_like(wrong)
        report = Report(memory.promised, actual, surprise, wrong, no, plan.energy, no.clone())
        return memory._replace(surprises=surprises), report

    def _near(self, s: Tensor, given: Mapping[str, Any]) -> Tensor:
        if self.near is None:
            return torch.zeros(len(s), dtype=torch.bool, device=s.device)
        return _distance(s, moving(given["goal"])) < self.within

    def _replan(
        self,
        plan: Plan,
        memory: Memory,
        state: ModelState,
        given: Mapping[str, Any],
        rows: Tensor,
        report: Report,
    ) -> tuple[Plan, Memory]:
        """The plan with a new one in these rows; a row whose solve found nothing finite keeps what it had."""
        here, known = (map_rows(each, lambda t: t[rows]) for each in (state, dict(given)))
        begin = plan.actions[rows, : self.planner.horizon]
        decision = self.planner.decide(here, known, begin, memory.surprises.rows(rows), plan.generator)
        fine = decision.actions.isfinite().flatten(1).all(1)
        new = torch.where(fine[:, None, None], decision.actions, begin)
        actions = torch.zeros_like(plan.actions)
        actions[:, : new.shape[1]] = actions[:, : new.shape[1]].index_copy(0, rows, new)
        chosen = torch.zeros(len(actions), dtype=torch.bool, device=actions.device).index_fill(0, rows, True)
        foreseen = moving(self.model.at(self.model.rollout(here, new[:, : self.planner.hold]), here, -1))
        memory = memory._replace(
            began=memory.began.index_copy(0, rows, moving(here)),
            choice=memory.choice.index_copy(0, rows, decision.choice),
            foreseen=memory.foreseen.index_copy(0, rows, foreseen),
        )
        report.replanned = report.replanned | chosen
        report.solutions.append((rows, decision.solution))
        for name, value in decision.terms.items():
            terms = report.terms.get(name, torch.full_like(plan.energy, torch.nan))
            report.terms[name] = terms.index_copy(0, rows, value)
        plan = plan._replace(
            actions=torch.where(chosen[:, None, None], actions, plan.actions),
            left=torch.where(chosen, self.planner.hold, plan.left),
            energy=plan.energy.index_copy(0, rows, decision.solution.energy),
        )
        return plan, memory

    def _cost(
        self, before: Tensor, after: Tensor, action: Tensor, state: ModelState, given: Mapping[str, Any]
    ) -> Tensor:
        """What one step costs, (B,): the planning energy's cost of a path of two states."""
        return self.planner.cost(torch.stack([before, after], 1), action.unsqueeze(1), state, given)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vector_norm((a - b).flatten(1), dim=1)

"""Collocation: plan with states that need not follow from each other yet, and pull them together.

    L(s, a) = Σ_{t<T} |F(s̄_t, a_t) - s_{t+1}|² + γ Σ_{t<T} |F(s̄_t, a_t) - g|²,    s_0 given,  s_T = g
    s_t ← s_t - η_s ∂L/∂s_t + σ ξ_t,    a_t ← a_t - η_a ∂L/∂a_t,    s̄ = s, but no gradient goes through

Shooting rolls one action's effect through all later steps, one after the other: slow, and steep or flat by
turns. Here all T steps are predicted at once, every action feels its own step alone, and the noise moves what
is imagined, not what is done. The price is that the states may be impossible: so every K iterations the true
energy of the actions is lowered a little through the whole rollout, and the states begin anew from it.

No gradient enters F by its state, where a learned model can be fooled most easily; without the goal's term
the states would then stand still and leave the whole way to the last step.

Reference: Psenka, Rabbat, Krishnapriyan, LeCun, Bar (2026), "Parallel Stochastic Gradient-Based Planning for
World Models", arXiv 2602.00475; Hargraves & Paris (1987), "Direct trajectory optimization using nonlinear
programming and collocation".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ebm.binder import Apply, Expression, Free, Held, map_rows
from ebm.energy import Energy
from ebm.infer.method import Method, State, count, positive
from ebm.infer.proximal_step import look, rounding
from ebm.problem import Problem
from ebm.rows import expand, norm
from ebm.world.model import ModelState, Rollout, WorldModel, moving


class VirtualStates(Energy):
    """L = Σ_t |F(s_t, a_t) - s_{t+1}|² + γ Σ_t |F(s_t, a_t) - g|², where states are variables as actions are.

    Variables: `state` (B, S) and `goal` (B, S), the ends; `states` (B, T - 1, S), those between them;
    `actions` (B, T, A). All T steps are predicted in one call of the model.

    Args:
        model: F, its `step`.
        goal_weight: γ >= 0.
        stop_gradient: let no gradient enter F by its state (see above): ∂L/∂s_t is then exactly
            2 (s_t - F(s_{t-1}, a_{t-1})), which is not the gradient of the value that is returned. With
            False it is, and to minimize L over both is direct collocation.

    Raises:
        ValueError: if γ is negative; on a call, if there isn't one state less than there are actions.

    Example:
        >>> from ebm.world import KnownDynamics
        >>> E = VirtualStates(KnownDynamics(lambda s, a: s + a, action_size=1), goal_weight=0.0)
        >>> here, goal = torch.zeros(1, 1), torch.full((1, 1), 3.0)
        >>> E(state=here, goal=goal, states=torch.tensor([[[2.0]]]), actions=torch.ones(1, 2, 1))
        tensor([1.])
    """

    def __init__(self, model: WorldModel, goal_weight: float = 1.0, stop_gradient: bool = True):
        super().__init__()
        self.model, self.stop_gradient = model, bool(stop_gradient)
        self.goal_weight = float(positive("goal_weight", goal_weight, zero=True))

    def forward(self, state: ModelState, goal: ModelState, states: Tensor, actions: Tensor) -> Tensor:
        if states.shape[1] != actions.shape[1] - 1:
            raise ValueError(
                f"between the ends of T actions there are T - 1 states; got actions {tuple(actions.shape)} "
                f"and states {tuple(states.shape)}."
            )
        end = moving(goal).unsqueeze(1)  # (B, 1, S)
        origins = torch.cat([moving(state).unsqueeze(1), states], 1)  # s_0 ... s_{T-1}
        predicted = self._steps(origins.detach() if self.stop_gradient else origins, state, actions)
        missed = (predicted - torch.cat([states, end], 1)).square().sum((1, 2))
        return missed + self.goal_weight * (predicted - end).square().sum((1, 2))

    def _steps(self, origins: Tensor, state: ModelState, actions: Tensor) -> Tensor:
        """F(s_t, a_t) for all t at once, (B, T, S); what stays of the state is the same at all times."""
        horizon, flat = actions.shape[1], origins.flatten(0, 1)
        if not isinstance(state, Tensor):
            stays = map_rows(state[1:], lambda t: t.repeat_interleave(horizon, 0))
            return moving(self.model.step((flat, *stays), actions.flatten(0, 1))).view_as(origins)
        return moving(self.model.step(flat, actions.flatten(0, 1))).view_as(origins)


class GRASP(Method):
    """Planning by virtual states: a method of `minimize` for a `TrajectoryEnergy` with a goal.

    One step of it is `iterations` updates of states and actions by L, begun at the states that the actions
    lead to, and then `descents` gradient steps on the true energy, of lengths that double where they lower it
    and halve where they don't. Only these know of costs beside the goal, and after `rounds` steps they go on
    alone. `value` is the true energy, so the answer is never worse than the start. A Box or other indicator
    is kept to throughout.

    A row ends by "gradient", that of the true energy, after one step at least: where it starts may be flat.

    Args:
        goal_weight: γ >= 0.
        state_step: η_s > 0; ½ without noise puts every state where the one before leads.
        action_step: η_a > 0, in units of a / |s|²; stable below 1 / ((1 + γ) |∂F/∂a|²).
        noise: σ >= 0, in units of the state.
        iterations: K, updates before the states are made true again, at least 0.
        rounds: steps with such updates, at least 0.
        descents: gradient steps through the whole rollout, at least 0.
        first_step: their length at first, in units of a² / E.

    Raises:
        ValueError: for a setting out of its range.
        TypeError: on a solve, if the energy has no imagined trajectory with a given goal, or one with a
            latent variable, or something else than the actions is free.

    Example:
        >>> from ebm import minimize
        >>> from ebm.plan import GoalDistance, TrajectoryEnergy
        >>> from ebm.world import KnownDynamics
        >>> E = TrajectoryEnergy(KnownDynamics(lambda s, a: s + a, 1), GoalDistance())
        >>> given = {"observation": torch.zeros(1, 1), "goal": torch.ones(1, 1)}
        >>> plan = minimize(E, {"actions": torch.zeros(1, 3, 1)}, GRASP(), given=given)
        >>> plan.value["actions"].flatten().round(decimals=3).abs()
        tensor([1., 0., 0.])
    """

    proximal = True
    differentiable = False

    def __init__(
        self,
        goal_weight: float = 1.0,
        state_step: float = 0.5,
        action_step: float = 0.1,
        noise: float = 0.0,
        iterations: int = 20,
        rounds: int = 10,
        descents: int = 5,
        first_step: float = 1.0,
    ):
        self.goal_weight = float(positive("goal_weight", goal_weight, zero=True))
        self.state_step = float(positive("state_step", state_step))
        self.action_step = float(positive("action_step", action_step))
        self.noise = float(positive("noise", noise, zero=True))
        self.iterations, self.descents = count("iterations", iterations, 0), count("descents", descents, 0)
        self.first_step, self.rounds = float(positive("first_step", first_step)), count("rounds", rounds, 0)

    def init(self, problem: Problem, u: Tensor) -> State:
        imagined(problem)
        point = look(problem, u)
        step = torch.full_like(point["smooth"], self.first_step)
        return _seen(problem, point, step, torch.zeros_like(step, dtype=torch.int64))

    def step(self, problem: Problem, state: State) -> State:
        u, step, age = state["u"], state["step"], state["age"] + 1
        if int(age[0]) <= self.rounds:  # all rows of a solve are of one age
            u = self.collocated(problem, u)
        point = look(problem, u)
        for _ in range(self.descents):
            down = problem.prox(
                torch.addcmul(point["u"], expand(step, point["u"]), point["slope"], value=-1), step
            )
            trial = look(problem, down)
            before = point["smooth"] + point["rest"]
            lower = trial["smooth"] + trial["rest"] <= before + rounding(before)
            point = {n: torch.where(expand(lower, trial[n]), trial[n], point[n]) for n in point}
            step = torch.where(lower, 2 * step, 0.5 * step)
        return _seen(problem, point, step, age)

    def collocated(self, problem: Problem, actions: Tensor) -> Tensor:
        """The actions after K updates of L, from the states that they lead to, (B, T, A)."""
        model, state, goal = imagined(problem)
        energy = VirtualStates(model, self.goal_weight)
        states = model.rollout(state, actions)[:, 1:-1]
        for _ in range(self.iterations):
            with torch.enable_grad():
                s, a = states.detach().requires_grad_(), actions.detach().requires_grad_()
                value = energy.forward(state, goal, s, a).sum()
                of_states, of_actions = torch.autograd.grad(value, (s, a), materialize_grads=True)
            states = states - self.state_step * of_states
            if self.noise:
                states = states + self.noise * problem.normal(states)
            actions = problem.project(actions - self.action_step * of_actions)
        return actions

    def verdict(self, state: State, tol: float) -> Tensor:
        return torch.where(state["age"] > 0, super().verdict(state, tol), 0)


def imagined(problem: Problem) -> tuple[WorldModel, ModelState, ModelState]:
    """The model, the state and the goal of a planning energy that is bound to all but its actions.

    Raises:
        TypeError: if there is no such thing in the problem.
    """
    terms = problem.bound.summands
    found = [e for term in terms for _, a in term.arguments for e in applied(a)]
    paths = {id(e): (e, e.module) for e in found if isinstance(e.module, Rollout)}
    goals = {e.key for term in terms for name, e in term.arguments if name == "goal" and isinstance(e, Held)}
    if len(paths) != 1 or len(goals) != 1:
        raise TypeError(
            "GRASP plans with a TrajectoryEnergy that has one goal, all but its actions given; this problem "
            f"has {len(paths)} imagined trajectories and {len(goals)} goals."
        )
    ((path, rollout),) = paths.values()
    state, actions, *latent = path.arguments
    if latent or not isinstance(state, Held) or not isinstance(actions, Free) or len(problem.shapes) > 1:
        raise TypeError(
            "GRASP searches over actions alone, from a given state, in a model without a latent variable; "
            f"the free variables here are {', '.join(problem.shapes)}. Plan over several cases by CEM."
        )
    held = problem.bound.held
    return rollout.model, held[state.key], held[goals.pop()]


def applied(expression: Expression) -> Iterator[Apply]:
    """The modules that are applied inside an expression, with their arguments."""
    if isinstance(expression, Apply):
        yield expression
        for argument in expression.arguments:
            yield from applied(argument)


def _seen(problem: Problem, point: State, step: Tensor, age: Tensor) -> State:
    u, slope = point["u"], point["slope"]
    if problem.prox_terms:  # the generalized gradient of a step of length 1
        slope = u - problem.prox(u - slope, torch.ones_like(step))
    value = point["smooth"] + point["rest"]
    return {"u": u, "value": value, "gradient_norm": norm(slope), "step": step, "age": age}

"""The planning energy and its costs: naive loops, finite differences, the linear-quadratic closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ebm import energy, minimize
from ebm.infer import CEM, LBFGS
from ebm.plan import (
    ActionPenalty,
    Barrier,
    Brake,
    GoalDistance,
    Guardrail,
    KeepOut,
    LearnedCost,
    Smoothness,
    StageCost,
    TrajectoryEnergy,
)
from ebm.plan.guardrails import violations
from ebm.world import KnownDynamics
from ebm.world.model import Rollout, WorldModel

B, T, S, A = 3, 4, 2, 2


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def curved(s: Tensor, a: Tensor) -> Tensor:
    return s + 0.5 * torch.tanh(a + s.flip(-1))


GIVEN = {"observation": randn(B, S), "goal": randn(B, S, seed=1)}
ACTIONS, PATH = randn(B, T, A, seed=2), randn(B, T + 1, S, seed=3)
GOAL = GIVEN["goal"]


def mean(values: list) -> float:
    return float(sum(values)) / len(values)


# Costs against loops ----------------------------------------------------------------------------------------


def test_costs_are_what_their_formulas_say():
    for b in range(B):
        s, a, g = PATH[b], ACTIONS[b], GOAL[b]
        away = [float(((s[t] - g) ** 2).sum()) for t in range(1, T + 1)]
        room = [max(0.0, 0.7 - float(s[t, 0])) ** 2 for t in range(1, T + 1)]
        expected = {
            GoalDistance(): mean(away),
            GoalDistance("end"): away[-1],
            ActionPenalty(): mean([float((a[t] ** 2).sum()) for t in range(T)]),
            Smoothness(): mean([float(((a[t + 1] - a[t]) ** 2).sum()) for t in range(T - 1)]),
            Barrier(lambda s: s[..., 0], 0.7): mean(room),
            StageCost(lambda s, a: s[..., 0] * a[..., 1]): sum(
                float(s[t + 1, 0] * a[t, 1]) for t in range(T)
            ),
            LearnedCost(_Taxi()): mean([float((s[t] - g).abs().sum()) for t in range(1, T + 1)]),
            LearnedCost(_Taxi(), "end"): float((s[T] - g).abs().sum()),
            Guardrail(lambda s: s[..., 1] - 0.3): max(float(s[t, 1]) - 0.3 for t in range(1, T + 1)),
            KeepOut(g[:1], 0.8): max(0.8 - abs(float(s[t, 0] - g[0])) for t in range(1, T + 1)),
        }
        values = {"states": PATH, "actions": ACTIONS, "goal": GOAL}
        for cost, value in expected.items():
            found = cost(**{name: values[name] for name in cost.variables})
            assert found.shape == (B,) and float(found[b]) == pytest.approx(value, abs=1e-12), cost


class _Taxi(nn.Module):
    def forward(self, s: Tensor, goal: Tensor) -> Tensor:
        assert s.shape == goal.shape and s.ndim == 2
        return (s - goal).abs().sum(-1)


def test_the_present_state_costs_nothing():
    other = PATH.clone()
    other[:, 0] = 1e3
    values = {"actions": ACTIONS, "goal": GOAL}
    for cost in (
        GoalDistance(),
        Barrier(lambda s: s[..., 0], 0.7),
        StageCost(lambda s, a: s[..., 0] * a[..., 0]),
        LearnedCost(_Taxi()),
        KeepOut(torch.full((2,), 1e3).double(), 1.0),
    ):
        known = {name: values[name] for name in cost.variables if name in values}
        assert (cost(states=PATH, **known) == cost(states=other, **known)).all()


def test_one_action_has_no_changes_and_goals_may_carry_a_context():
    assert (Smoothness()(actions=ACTIONS[:, :1]) == 0).all()
    inside = GoalDistance()(states=PATH, goal=(GOAL, randn(B, 7)))
    assert (inside == GoalDistance()(states=PATH, goal=GOAL)).all()
    learned = LearnedCost(_Taxi())(states=PATH, goal=(GOAL, randn(B, 7)))
    assert (learned == LearnedCost(_Taxi())(states=PATH, goal=GOAL)).all()


def test_costs_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="not encoded"):
        GoalDistance()(states=PATH, goal=randn(B, S + 1))
    for make in (GoalDistance, lambda when: LearnedCost(_Taxi(), when)):
        with pytest.raises(ValueError, match='"path" or "end"'):
            make("start")
    with pytest.raises(ValueError, match="radius is positive"):
        KeepOut(torch.zeros(2), 0.0)


def test_violations_count_nan_as_broken_and_what_is_allowed_as_nothing():
    keep = KeepOut(torch.zeros(2).double(), 1.0)
    states = torch.zeros(3, 3, 2).double()
    states[:, 1:, 0] = torch.tensor([[2.0, 3.0], [2.0, 0.25], [torch.nan, 2.0]]).double()
    found = violations([(keep.label, keep)], {"states": states})
    assert found["keep out"].tolist() == [0.0, 0.75, torch.inf]
    assert (Brake()(states[:, 0], torch.ones(3, 2)) == 0).all()


# The energy -------------------------------------------------------------------------------------------------


def test_the_energy_is_the_cost_of_the_imagined_path():
    cost = GoalDistance() + 0.3 * ActionPenalty() + 2.0 * Barrier(lambda s: s[..., 0], 0.7)
    E = TrajectoryEnergy(KnownDynamics(curved, A), cost)
    assert set(E.variables) == {"observation", "goal", "actions"}
    found = E(**GIVEN, actions=ACTIONS)
    for b in range(B):
        s, total = GIVEN["observation"][b], 0.0
        for t in range(T):
            s = curved(s, ACTIONS[b, t])
            total += float(((s - GOAL[b]) ** 2).sum()) + 0.3 * float((ACTIONS[b, t] ** 2).sum())
            total += 2.0 * max(0.0, 0.7 - float(s[0])) ** 2
        assert float(found[b]) == pytest.approx(total / T, abs=1e-12)
    assert set(E.terms(**GIVEN, actions=ACTIONS)) == {"GoalDistance", "ActionPenalty", "Barrier"}


def test_its_gradient_is_that_of_finite_differences():
    cost = GoalDistance() + 0.3 * Smoothness() + Barrier(lambda s: s[..., 0], 0.7)
    E = TrajectoryEnergy(KnownDynamics(curved, A), cost)
    actions = ACTIONS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: E(**GIVEN, actions=a), (actions,))


@pytest.mark.parametrize("when", ["path", "end"])
def test_the_linear_quadratic_problem_has_its_closed_form(when):
    F, G, weight = 0.9 * torch.eye(S).double() + 0.1 * randn(S, S, seed=5), randn(S, A, seed=6), 0.2
    E = TrajectoryEnergy(
        KnownDynamics(lambda s, a: s @ F.T + a @ G.T, A), GoalDistance(when) + weight * ActionPenalty()
    )
    start = {"actions": torch.zeros(B, T, A).double()}
    found = minimize(E, start, LBFGS(), given=GIVEN, tol=1e-10)
    # s_t = F^t s_0 + Σ_{u<t} F^{t-1-u} G a_u, stacked to s = c + M a: least squares, row by row
    power = [torch.linalg.matrix_power(F, k) for k in range(T + 1)]
    zero = torch.zeros(S, A).double()
    M = torch.cat(
        [torch.cat([power[t - 1 - u] @ G if u < t else zero for u in range(T)], 1) for t in range(1, T + 1)]
    )
    c = torch.cat([GIVEN["observation"] @ power[t].T for t in range(1, T + 1)], 1)
    scale = T
    if when == "end":
        M, c, scale = M[-S:], c[:, -S:], 1
    miss = GOAL.repeat(1, c.shape[1] // S) - c
    normal = M.T @ M / scale + weight / T * torch.eye(T * A).double()
    best = torch.linalg.solve(normal, (miss @ M / scale).T).T
    assert torch.allclose(found.value["actions"].flatten(1), best, atol=1e-8) and found.converged.all()
    least = (best @ M.T - miss).square().sum(1) / scale + weight * best.square().sum(1) / T
    assert torch.allclose(found.energy, least, atol=1e-12)


class Counting(WorldModel):
    """Encodes by doubling, counts the rows that it is given, and carries a context."""

    action_size = A

    def __init__(self, context: bool = False):
        super().__init__()
        self.context, self.encoded, self.stepped = context, [], []

    def encode(self, observation):
        self.encoded.append(len(observation))
        return (2 * observation, observation.flip(1)) if self.context else 2 * observation

    def step(self, state, actions, z=None):
        self.stepped.append(len(actions))
        if self.context:
            return state[0] + actions * state[1], state[1]
        return state + actions


@pytest.mark.parametrize("context", [False, True])
def test_what_is_observed_is_encoded_once_a_solve(context):
    model = Counting(context)
    E = TrajectoryEnergy(model, GoalDistance() + 0.1 * ActionPenalty())
    g = torch.Generator().manual_seed(0)
    start = {"actions": torch.zeros(B, 10, A).double()}
    found = minimize(E, start, CEM(200, 20), given=GIVEN, max_steps=2, generator=g)
    assert model.encoded == [B, B]  # the observation and the goal, for 402 plans of each row
    assert sum(model.stepped) >= 400 * B * 10
    s, c = 2 * GIVEN["observation"], GIVEN["observation"].flip(1)
    away = []
    for t in range(10):
        s = s + found.value["actions"][:, t] * (c if context else 1)
        away.append((s - 2 * GOAL).square().sum(1))
    penalty = 0.1 * found.value["actions"].square().sum(2).mean(1)
    assert torch.allclose(found.energy, torch.stack(away).mean(0) + penalty)


def test_variables_are_those_of_the_cost():
    model = KnownDynamics(curved, A)
    assert TrajectoryEnergy(model, ActionPenalty()).variables == ("actions",)
    blind = TrajectoryEnergy(model, Barrier(lambda s: s[..., 0]))
    assert set(blind.variables) == {"observation", "actions"}

    @energy
    def weighed(states, goal, weight):
        return weight * (states[:, -1] - goal).square().sum(1)

    @energy
    def stray(state, states):
        return (states[:, -1] - state).square().sum(1)

    E = TrajectoryEnergy(model, weighed + ActionPenalty())
    assert set(E.variables) == {"observation", "goal", "actions", "weight"}
    weight = torch.tensor([0.0, 1.0, 2.0]).double()
    one = TrajectoryEnergy(model, GoalDistance("end"))(**GIVEN, actions=ACTIONS)
    assert torch.allclose(
        E(**GIVEN, actions=ACTIONS, weight=weight), weight * one + ActionPenalty()(actions=ACTIONS)
    )
    path = model.rollout(GIVEN["observation"], ACTIONS)
    E = TrajectoryEnergy(model, stray)
    assert set(E.variables) == {"observation", "actions"}
    assert torch.allclose(
        E(observation=GIVEN["observation"], actions=ACTIONS), (path[:, -1] - path[:, 0]).square().sum(1)
    )


def test_other_energies_of_states_are_imagined_with_the_same_model():
    model = KnownDynamics(curved, A)
    E, keep = TrajectoryEnergy(model, GoalDistance()), KeepOut(torch.zeros(2).double(), 1.0)
    imagined = E.imagine(keep)
    assert set(imagined.variables) == {"state", "actions"}
    path = model.rollout(GIVEN["observation"], ACTIONS)
    assert (imagined(state=GIVEN["observation"], actions=ACTIONS) == keep(states=path)).all()
    assert E.imagine(ActionPenalty()).variables == ("actions",)
    encoded = E.imagined(state=GIVEN["observation"], goal=GOAL, actions=ACTIONS)
    assert (encoded == E(**GIVEN, actions=ACTIONS)).all()


def test_what_is_no_model_or_no_cost_is_refused():
    model = KnownDynamics(curved, A)
    with pytest.raises(TypeError, match="imagined by a WorldModel"):
        TrajectoryEnergy(curved, GoalDistance())
    for cost in (lambda states: states, energy(lambda goal: goal.sum(1)), nn.Identity()):
        with pytest.raises(TypeError, match="an energy of states or actions"):
            TrajectoryEnergy(model, cost)


# Latent variables -------------------------------------------------------------------------------------------


def windy(s: Tensor, a: Tensor, z: Tensor | None = None) -> Tensor:
    return s + a if z is None else s + a * (1 + z)


def test_a_latent_variable_goes_for_the_path_or_for_each_step():
    model = KnownDynamics(windy, A)
    s, whole, each = GIVEN["observation"], randn(B, A, seed=8), randn(B, T, A, seed=9)
    for z, at in ((whole, lambda t: whole), (each, lambda t: each[:, t])):
        path = [s]
        for t in range(T):
            path.append(path[-1] + ACTIONS[:, t] * (1 + at(t)))
        assert torch.allclose(model.rollout(s, ACTIONS, z), torch.stack(path, 1))
        assert torch.allclose(Rollout(model)(s, ACTIONS, z), torch.stack(path, 1))
        E = TrajectoryEnergy(model, GoalDistance("end"), latent="z")
        assert set(E.variables) == {"observation", "goal", "actions", "z"}
        assert torch.allclose(E(**GIVEN, actions=ACTIONS, z=z), (path[-1] - GOAL).square().sum(1))
    calm = model.rollout(s, ACTIONS)
    assert torch.allclose(calm, torch.cat([s[:, None], s[:, None] + ACTIONS.cumsum(1)], 1))

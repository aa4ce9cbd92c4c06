"""Risk inside a planning energy: what becomes of outcomes that the actions do not tell."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from ebm import marginal_over
from ebm.infer import CEM
from ebm.nodes import Finite
from ebm.plan import CVaR, GoalDistance, Guardrail, RecedingHorizon, TrajectoryEnergy
from ebm.world import KnownDynamics
from ebm.world.ensemble import Ensemble

SPEEDS = (0.5, 1.0, 3.0)


def ensemble() -> Ensemble:
    """Members that disagree on how far an action leads."""
    return Ensemble([KnownDynamics(partial(move, speed), action_size=1) for speed in SPEEDS])


def move(speed: float, s: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return s + speed * a


@pytest.mark.parametrize(
    ("risk", "reduce"),
    [
        (partial(marginal_over, latent="z", beta=0.0), lambda costs: costs.mean(1)),
        (partial(marginal_over, latent="z", beta=-math.inf), lambda costs: costs.amax(1)),
        (partial(CVaR, latent="z", level=2 / 3), lambda costs: costs.amax(1)),
    ],
)
def test_risk_is_a_reduction_over_the_members(risk, reduce) -> None:
    model, g = ensemble(), torch.Generator().manual_seed(0)
    E = TrajectoryEnergy(model, GoalDistance(), "z", risk=partial(risk, by=Finite(model.members())))
    assert set(E.variables) == {"observation", "goal", "actions"}
    here, goal = (torch.randn(4, 1, generator=g, dtype=torch.float64) for _ in range(2))
    actions = torch.randn(4, 3, 1, generator=g, dtype=torch.float64)
    paths = [here.unsqueeze(1) + speed * actions.cumsum(1) for speed in SPEEDS]
    costs = torch.stack([(path - goal.unsqueeze(1)).square().sum(2).mean(1) for path in paths], 1)
    found = E(observation=here, goal=goal, actions=actions)
    torch.testing.assert_close(found, reduce(costs))


def test_who_fears_the_worst_is_more_careful() -> None:
    """Goal 1, one action: the mean's is Σv / Σv²; the worst case's levels the slowest and the fastest."""
    expected = {0.0: sum(SPEEDS) / sum(v * v for v in SPEEDS), -math.inf: 2 / (min(SPEEDS) + max(SPEEDS))}
    for beta, action in expected.items():
        model = ensemble()
        risk = partial(marginal_over, latent="z", beta=beta, by=Finite(model.members()))
        E = TrajectoryEnergy(model, GoalDistance("end"), "z", risk=risk)
        agent = RecedingHorizon(E, CEM(200, 20), horizon=1, max_steps=20)
        start = agent.start(1, torch.Generator().manual_seed(0), dtype=torch.float64)
        zero = torch.zeros(1, 1, dtype=torch.float64)
        done, _, report = agent.step(start, observation=zero, goal=zero + 1)
        assert done.item() == pytest.approx(action, abs=1e-3)
        assert not bool(report.fallback.any())


def test_a_guardrail_is_held_at_the_same_risk() -> None:
    """No farther than 2, for all members: the fastest allows 2/3 of an action, the mean of them 4/3."""
    model, limit = ensemble(), Guardrail(lambda s: s[..., 0] - 2.0, "limit")
    for beta, action in ((-math.inf, 2 / max(SPEEDS)), (0.0, 2 * len(SPEEDS) / sum(SPEEDS))):
        risk = partial(marginal_over, latent="z", beta=beta, by=Finite(model.members()))
        E = TrajectoryEnergy(model, GoalDistance("end"), "z", risk=risk)
        held = E.imagine(limit)
        assert set(held.variables) == {"state", "actions"}
        one = torch.ones(1, 1, dtype=torch.float64)
        for share, broken in ((0.99, False), (1.01, True)):
            assert bool(held(state=0 * one, actions=share * action * one.unsqueeze(1)) > 0) == broken
        agent = RecedingHorizon(E, CEM(200, 20), horizon=1, max_steps=30, subject_to=[limit])
        start = agent.start(1, torch.Generator().manual_seed(0), dtype=torch.float64)
        done, _, report = agent.step(start, observation=0 * one, goal=100 * one)
        assert done.item() == pytest.approx(action, abs=1e-2) and done.item() <= action + 1e-6
        assert not bool(report.fallback.any()) and float(report.violation["limit"]) == 0


@pytest.mark.parametrize("unused", [{"margin": 0.1}, {"surprise": 0.1}])
def test_settings_of_no_use_are_refused(unused) -> None:
    E = TrajectoryEnergy(KnownDynamics(partial(move, 1.0), action_size=1), GoalDistance())
    with pytest.raises(ValueError, match="plans made of primitives"):
        RecedingHorizon(E, CEM(8, 2), horizon=2, **unused)

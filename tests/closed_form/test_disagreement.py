"""Disagreement: by hand, and as a cost that keeps plans where the members have seen data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import minimize
from ebm.infer import LBFGS
from ebm.plan import Disagreement, GoalDistance, TrajectoryEnergy
from ebm.world import Ensemble, KnownDynamics


def apart(delta: float) -> Ensemble:
    """Two members whose next states differ by delta in the first of three dimensions, after every step."""
    shift = torch.tensor([delta, 0.0, 0.0], dtype=torch.float64)
    return Ensemble([KnownDynamics(lambda s, a, k=k: a + k * shift, action_size=3) for k in (0.0, 1.0)])


def test_members_that_differ_in_one_of_three_dimensions() -> None:
    state, actions = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 5, 3, dtype=torch.float64)
    expected = torch.full((4,), 0.6**2 / (4 * 3), dtype=torch.float64)
    torch.testing.assert_close(Disagreement(apart(0.6))(state=state, actions=actions), expected)


def test_members_that_agree() -> None:
    state, actions = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 5, 3, dtype=torch.float64)
    assert torch.equal(
        Disagreement(apart(0.0))(state=state, actions=actions), torch.zeros(4, dtype=torch.float64)
    )


def test_it_is_the_mean_variance_of_whole_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(4, 2, dtype=torch.float64, generator=generator)
    actions = torch.randn(4, 3, 2, dtype=torch.float64, generator=generator)
    members = [KnownDynamics(lambda s, a, v=v: torch.sin(v * s) + a, action_size=2) for v in (1.0, 2.0, 3.0)]
    paths = [member.rollout(state, actions) for member in members]
    expected = torch.zeros(4, dtype=torch.float64)
    for t in range(1, 4):
        for d in range(2):
            values = torch.stack([path[:, t, d] for path in paths])
            expected += (values - values.mean(0)).square().mean(0) / (3 * 2)
    torch.testing.assert_close(Disagreement(Ensemble(members))(state=state, actions=actions), expected)


def fitted(seed: int) -> KnownDynamics:
    """s' - s = w min(s, 0) + v max(s, 0) + a: w by least squares on noisy steps seen at s < 0, v a guess."""
    g = torch.Generator().manual_seed(seed)
    s = -torch.rand(40, dtype=torch.float64, generator=g)
    change = 0.2 * s + 0.01 * torch.randn(40, dtype=torch.float64, generator=g)
    prior = torch.randn(1, dtype=torch.float64, generator=g)  # what the data says nothing of
    w = (s @ change) / (s @ s)

    def dynamics(states: Tensor, actions: Tensor) -> Tensor:
        return states + w * states.clamp(max=0) + prior * states.clamp(min=0) + actions

    return KnownDynamics(dynamics, action_size=1)


def test_plans_stay_where_the_members_have_seen_data() -> None:
    """The goal lies at +1, where nobody was: the mean of the members would go, disagreement holds it back."""
    ensemble = Ensemble([fitted(seed) for seed in range(5)])
    at = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
    known, unknown = Disagreement(ensemble)(state=at, actions=torch.zeros(2, 1, 1, dtype=torch.float64))
    assert known < 1e-4 < 0.05 < unknown
    given = {"observation": at[:1], "goal": torch.ones(1, 1, dtype=torch.float64)}
    start = {"actions": torch.zeros(1, 4, 1, dtype=torch.float64)}
    ends = []
    for weight in (0.0, 1000.0):
        E = TrajectoryEnergy(ensemble, GoalDistance() + weight * Disagreement(ensemble))
        plan = minimize(E, start, LBFGS(), given=given, max_steps=60).value["actions"]
        ends.append(float(ensemble.rollout(at[:1], plan)[0, -2, 0]))  # from here the last step goes on
    assert ends[0] > 0.9 and ends[1] < 0.1


def test_one_member_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Disagreement(Ensemble([KnownDynamics(lambda s, a: s + a, 1)]))
    with pytest.raises(TypeError, match="members of an Ensemble"):
        Disagreement(KnownDynamics(lambda s, a: s + a, 1))  # type: ignore[arg-type]

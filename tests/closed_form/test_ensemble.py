"""Ensembles and disturbances: members row by row by brute force, and what is done with the latent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebm import marginal_over, minimize
from ebm.infer import LBFGS
from ebm.nodes import Finite, Importance
from ebm.plan import ActionPenalty, CVaR, GoalDistance, TrajectoryEnergy
from ebm.world import Disturbed, Ensemble, KnownDynamics, TwoRoomsModel, WorldModel

SPEEDS = (0.5, 1.0, 2.0)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def world(speed: float) -> KnownDynamics:
    return KnownDynamics(lambda s, a: torch.tanh(s + speed * a), action_size=2)


def three() -> Ensemble:
    return Ensemble([world(speed) for speed in SPEEDS])


class Counting(WorldModel):
    """Counts the rows that it is shown."""

    action_size = 2

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def encode(self, observation: Tensor) -> Tensor:
        return observation

    def step(self, state, actions, z=None):
        self.rows += len(actions)
        return state + actions


def test_an_ensemble_of_one_is_the_model() -> None:
    one, state, actions = Ensemble([world(1.0)]), randn(4, 2), randn(4, 3, 2, seed=1)
    path = world(1.0).rollout(state, actions)
    none = torch.zeros(4, dtype=torch.int64)
    for z in (None, none, none.unsqueeze(1), torch.zeros(4, 3, 1, dtype=torch.int64)):
        assert torch.equal(one.rollout(state, actions, z), path)
    assert torch.equal(one.paths(state, actions), path.unsqueeze(1))
    E = TrajectoryEnergy(one, GoalDistance(), latent="z")
    alone = TrajectoryEnergy(world(1.0), GoalDistance())
    given = {"observation": state, "goal": randn(4, 2, seed=2), "actions": actions}
    for beta in (-math.inf, 0.0, 1.0):
        F = marginal_over(E, "z", beta, by=Finite(one.members()))
        torch.testing.assert_close(F(**given), alone(**given), rtol=1e-14, atol=0)


def test_each_row_follows_its_member() -> None:
    z, state, actions = torch.tensor([2, 0, 2, 1]), randn(4, 2), randn(4, 3, 2, seed=1)
    path = three().rollout(state, actions, z)
    for row, member in enumerate(z.tolist()):
        expected = world(SPEEDS[member]).rollout(state[row : row + 1], actions[row : row + 1])
        assert torch.equal(path[row : row + 1], expected)
    assert torch.equal(three().rollout(state, actions, z.unsqueeze(1)), path)
    assert torch.equal(three().paths(state, actions)[torch.arange(4), z], path)
    every_step = z.view(4, 1, 1).expand(4, 3, 1)
    assert torch.equal(three().rollout(state, actions, every_step), path)


def test_members_may_change_on_the_way() -> None:
    z, state, actions = torch.tensor([[[0], [2]]]), randn(1, 2), randn(1, 2, 2, seed=1)
    first = world(SPEEDS[0]).step(state, actions[:, 0])
    second = world(SPEEDS[2]).step(first, actions[:, 1])
    assert torch.equal(three().rollout(state, actions, z), torch.stack([state, first, second], 1))


def test_without_a_member_it_is_the_mean_of_their_steps() -> None:
    state, actions = randn(4, 2), randn(4, 2, seed=1)
    mean = sum(world(speed).step(state, actions) for speed in SPEEDS) / 3
    torch.testing.assert_close(three().step(state, actions), mean)


def test_a_step_costs_one_evaluation_a_row() -> None:
    ensemble = Ensemble([Counting(), Counting(), Counting()])
    ensemble.rollout(randn(5, 2), randn(5, 4, 2), torch.tensor([0, 0, 1, 0, 2]))
    assert [model.rows for model in ensemble.models] == [12, 4, 4]


@pytest.mark.parametrize("beta", [-math.inf, -1.0, 0.0, math.inf])
def test_what_is_done_with_the_members_by_brute_force(beta: float) -> None:
    E = TrajectoryEnergy(three(), GoalDistance() + 0.1 * ActionPenalty(), latent="z")
    given = {"observation": randn(4, 2), "goal": randn(4, 2, seed=2), "actions": randn(4, 3, 2, seed=1)}
    members = [TrajectoryEnergy(world(v), GoalDistance() + 0.1 * ActionPenalty())(**given) for v in SPEEDS]
    costs = torch.stack(members, 1)  # (B, K)
    expected = {
        -math.inf: costs.amax(1),
        -1.0: costs.exp().mean(1).log(),
        0.0: costs.mean(1),
        math.inf: costs.amin(1),
    }[beta]
    by = Finite(three().members())
    torch.testing.assert_close(marginal_over(E, "z", beta, by=by)(**given), expected)
    if beta == -math.inf:
        torch.testing.assert_close(CVaR(E, "z", 0.99, by)(**given), expected)
        tail = (costs.amax(1) + 0.5 * costs.median(1).values) / 1.5  # the worst half of three
        torch.testing.assert_close(CVaR(E, "z", 0.5, by)(**given), tail)


def test_a_plan_for_the_mean_of_two_members_has_its_closed_form() -> None:
    """s' = s + v a to g in one step: mean_v (v a - g)² is lowest at a = E[v] g / E[v²]; rows drop out."""
    both = Ensemble([KnownDynamics(lambda s, a, v=v: s + v * a, action_size=1) for v in (1.0, 3.0)])
    E = TrajectoryEnergy(both, GoalDistance("end"), latent="z")
    goal = torch.tensor([[1.0], [-2.0], [0.0]], dtype=torch.float64)
    given = {"observation": torch.zeros_like(goal), "goal": goal}
    F = marginal_over(E, "z", 0.0, by=Finite(both.members()))
    start = {"actions": torch.zeros(3, 1, 1, dtype=torch.float64)}
    plan = minimize(F, start, LBFGS(), given=given, tol=1e-10)
    assert bool(plan.converged.all())
    torch.testing.assert_close(plan.value["actions"].flatten(1), 2.0 * goal / 5.0)


def test_context_is_shared_and_the_first_member_encodes() -> None:
    models = [TwoRoomsModel(4, 8, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    for model in models:  # predictors begin as the identity
        nn.init.normal_(model.predictor.last.weight, generator=torch.Generator().manual_seed(5))
    pictures = torch.randint(0, 255, (3, 2, 65, 65), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    state = Ensemble(models).encode(pictures)
    assert torch.equal(state[0], models[0].encode(pictures)[0])
    z = torch.tensor([1, 0, 1])
    after = Ensemble(models).step(state, torch.ones(3, 2), z)
    assert torch.equal(after[1], state[1])
    expected = torch.stack(
        [models[k].step(tuple(t[i : i + 1] for t in state), torch.ones(1, 2))[0][0] for i, k in enumerate(z)]
    )
    torch.testing.assert_close(after[0], expected)
    codes, first = Ensemble(models).encode_frames(pictures.unsqueeze(0))
    torch.testing.assert_close(codes[0], state[0])
    torch.testing.assert_close(first[1][0], state[1][0])


def test_a_member_that_does_not_exist_is_refused() -> None:
    state, actions = randn(2, 2), randn(2, 2)
    with pytest.raises(ValueError, match="0 to 2; z holds 1 to 3"):
        three().step(state, actions, torch.tensor([1, 3]))
    with pytest.raises(TypeError, match="whole number"):
        three().step(state, actions, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="a member a row"):
        three().step(state, actions, torch.tensor([0]))
    with pytest.raises(ValueError, match="actions of one size"):
        Ensemble([])


def test_a_disturbance_is_added_to_every_step() -> None:
    walk = Disturbed(
        KnownDynamics(lambda s, a: 0.5 * s + a, 2), torch.tensor([0.1, 2.0], dtype=torch.float64)
    )
    state, actions, z = randn(4, 2), randn(4, 3, 2, seed=1), randn(4, 3, 2, seed=2)
    path, s = walk.rollout(state, actions, z), state
    for t in range(3):
        s = 0.5 * s + actions[:, t] + z[:, t] * torch.tensor([0.1, 2.0], dtype=torch.float64)
        torch.testing.assert_close(path[:, t + 1], s)
    assert torch.equal(walk.rollout(state, actions), walk.model.rollout(state, actions))
    with pytest.raises(ValueError, match="as wide as a state"):
        walk.rollout(state, actions, z[..., :1])


def test_the_mean_cost_under_noise_is_the_undisturbed_one_and_the_variance() -> None:
    """s_2 = s_0 + a_0 + a_1 + σ (z_0 + z_1): E|s_2 - g|² = |s̄_2 - g|² + 2 σ² S, within 4 standard errors."""
    walk = Disturbed(KnownDynamics(lambda s, a: s + a, 2), scale=0.3)
    E = TrajectoryEnergy(walk, GoalDistance("end"), latent="z")
    ones = torch.ones(2, 2, dtype=torch.float64)
    draws = 4000
    F = marginal_over(E, "z", 0.0, by=Importance(draws, 0 * ones, ones, normalized=True))
    given = {"observation": randn(4, 2), "goal": randn(4, 2, seed=2)}
    actions = randn(4, 2, 2, seed=1)
    risk = F.bind(given, torch.Generator().manual_seed(0), like={"actions": actions})(actions=actions)
    away = (given["observation"] + actions.sum(1) - given["goal"]).square().sum(1)
    variance = 2 * 0.3**2  # of each of the two entries of s_2
    error = ((4 * variance * away + 4 * variance**2) / draws).sqrt()
    assert bool(((risk - away - 2 * variance).abs() < 4 * error).all())

"""Virtual states: the gradients of the formula, fixed points by hand, a linear plan, walls and boxes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import minimize
from ebm.infer import LBFGS
from ebm.infer.pose import pose
from ebm.plan import (
    GRASP,
    ActionPenalty,
    GoalDistance,
    RecedingHorizon,
    StageCost,
    TrajectoryEnergy,
    VirtualStates,
)
from ebm.regularizers import Box
from ebm.world import Ensemble, KnownDynamics, TwoRoomsModel


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bent() -> KnownDynamics:
    return KnownDynamics(lambda s, a: torch.sin(s) + torch.tanh(a) * s.cos(), action_size=2)


def walk() -> KnownDynamics:
    return KnownDynamics(lambda s, a: s + a, action_size=2)


def ends() -> dict[str, Tensor]:
    return {"state": randn(4, 2), "goal": randn(4, 2, seed=1)}


def seen() -> dict[str, Tensor]:
    return {"observation": randn(4, 2), "goal": randn(4, 2, seed=1)}


def test_the_gradient_of_a_state_is_twice_its_distance_from_where_the_one_before_leads() -> None:
    states, actions = randn(4, 3, 2, seed=2).requires_grad_(), randn(4, 4, 2, seed=3).requires_grad_()
    E = VirtualStates(bent(), goal_weight=0.7)
    slope, push = torch.autograd.grad(E(**ends(), states=states, actions=actions).sum(), (states, actions))
    before = torch.cat([ends()["state"].unsqueeze(1), states.detach()], 1)
    reached = bent().step(before, actions.detach())
    torch.testing.assert_close(slope, 2 * (states.detach() - reached[:, :3]))
    arrivals, goal = torch.cat([states.detach(), ends()["goal"].unsqueeze(1)], 1), ends()["goal"].unsqueeze(1)
    factor = (1 - torch.tanh(actions.detach()).square()) * before.cos()  # ∂F/∂a
    torch.testing.assert_close(push, 2 * factor * (reached - arrivals + 0.7 * (reached - goal)))


def test_a_step_of_one_half_puts_a_state_where_the_one_before_leads() -> None:
    states, actions = randn(4, 3, 2, seed=2).requires_grad_(), randn(4, 4, 2, seed=3)
    (slope,) = torch.autograd.grad(
        VirtualStates(bent())(**ends(), states=states, actions=actions).sum(), states
    )
    before = torch.cat([ends()["state"].unsqueeze(1), states.detach()[:, :2]], 1)
    torch.testing.assert_close(states.detach() - 0.5 * slope, bent().step(before, actions[:, :3]))


def test_one_action() -> None:
    """L = (1 + γ) |F(s_0, a_0) - g|²."""
    actions, none = randn(4, 1, 2, seed=3), torch.zeros(4, 0, 2, dtype=torch.float64)
    away = (bent().step(ends()["state"], actions[:, 0]) - ends()["goal"]).square().sum(1)
    torch.testing.assert_close(VirtualStates(bent(), 0.5)(**ends(), states=none, actions=actions), 1.5 * away)


def test_states_that_are_those_of_the_rollout_leave_the_goal_alone_to_pay() -> None:
    actions = randn(4, 4, 2, seed=3)
    path = bent().rollout(ends()["state"], actions)
    away = (path[:, 1:] - ends()["goal"].unsqueeze(1)).square().sum(2)
    value = VirtualStates(bent(), 0.5)(**ends(), states=path[:, 1:-1], actions=actions)
    torch.testing.assert_close(value, away[:, -1] + 0.5 * away.sum(1))


def collocated(method: GRASP, actions: Tensor, model: KnownDynamics | None = None) -> Tensor:
    problem, u = pose(TrajectoryEnergy(model or walk(), GoalDistance()), {"actions": actions}, seen())
    return method.collocated(problem, u)


def test_one_update_is_that_of_the_formula() -> None:
    """From the states of the rollout only the goal and the end pull: Δa_t = -2 η ∂F/∂a γ (s_{t+1} - g)."""
    actions = randn(4, 3, 2, seed=3)
    path = bent().rollout(seen()["observation"], actions)
    away = path[:, 1:] - seen()["goal"].unsqueeze(1)
    pull = 0.3 * away
    pull[:, -1] += away[:, -1]
    factor = (1 - torch.tanh(actions).square()) * path[:, :-1].cos()
    method = GRASP(goal_weight=0.3, action_step=0.05, iterations=1)
    torch.testing.assert_close(collocated(method, actions, bent()), actions - 0.05 * 2 * factor * pull)


def test_the_fixed_point_goes_to_the_goal_at_once() -> None:
    """s' = s + a: noiseless updates end where every F(s_t, a_t) = g, that is at a_0 = g - s_0 and then 0."""
    found = collocated(GRASP(iterations=300), randn(4, 3, 2, seed=3))
    expected = torch.zeros(4, 3, 2, dtype=torch.float64)
    expected[:, 0] = seen()["goal"] - seen()["observation"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_without_the_goal_term_all_is_left_to_the_last_step() -> None:
    """The pitfall of the stop-gradient, γ = 0: the first actions stay, the last one jumps."""
    start = randn(4, 3, 2, seed=3)
    found = collocated(GRASP(goal_weight=0.0, iterations=300), start)
    assert torch.equal(found[:, :2], start[:, :2])
    torch.testing.assert_close(seen()["observation"] + found.sum(1), seen()["goal"], atol=1e-6, rtol=0)


def test_a_linear_plan_is_that_of_its_closed_form() -> None:
    """Double integrator, E quadratic in the actions: A a = b from its Hessian and gradient at 0."""

    def pushed(s: Tensor, a: Tensor) -> Tensor:
        return torch.cat([s[:, :1] + s[:, 1:], s[:, 1:] + a], 1)

    E = TrajectoryEnergy(KnownDynamics(pushed, 1), GoalDistance() + 0.1 * ActionPenalty())
    zero = torch.zeros(4, 3, 1, dtype=torch.float64)

    def total(a: Tensor) -> Tensor:
        return E(**seen(), actions=a.view(4, 3, 1)).sum()

    hessian = torch.autograd.functional.hessian(total, zero.flatten())
    slope = torch.autograd.functional.jacobian(total, zero.flatten())
    best = torch.linalg.solve(hessian, -slope).view(4, 3, 1)
    plan = minimize(E, {"actions": zero}, GRASP(action_step=0.05), given=seen(), tol=1e-6, max_steps=300)
    assert plan.reasons == ["gradient"] * 4
    torch.testing.assert_close(plan.value["actions"], best, atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.energy, E(**seen(), actions=best))


def test_it_leaves_a_plateau_on_which_shooting_stalls() -> None:
    """Far from the goal nothing is felt of it, E = 1 - exp(-|s_T - g|² / 0.1); collocation is pulled by g."""
    near = GoalDistance("end")

    class Spot(GoalDistance):
        def forward(self, states: Tensor, goal: Tensor) -> Tensor:
            return 1 - torch.exp(-near.forward(states, goal) / 0.1)

    E = TrajectoryEnergy(walk(), Spot())
    given = {"observation": torch.zeros(1, 2), "goal": torch.full((1, 2), 20.0)}
    start = {"actions": torch.zeros(1, 4, 2)}
    stalled = minimize(E, start, LBFGS(), given=given)
    assert stalled.reasons == ["gradient"] and float(stalled.energy) == 1.0
    assert float(minimize(E, start, GRASP(iterations=50), given=given).energy) < 1e-3


def test_noise_moves_states_alone_and_comes_from_the_generator() -> None:
    E, start = TrajectoryEnergy(bent(), GoalDistance()), {"actions": randn(4, 3, 2, seed=3)}

    def solve(noise: float, seed: int) -> Tensor:
        method, g = GRASP(noise=noise, iterations=3, descents=0), torch.Generator().manual_seed(seed)
        problem, u = pose(E, start, seen(), generator=g)
        return method.step(problem, method.init(problem, u))["u"]

    assert torch.equal(solve(0.5, 1), solve(0.5, 1)) and not torch.equal(solve(0.5, 1), solve(0.5, 2))
    assert torch.equal(solve(0.0, 1), solve(0.0, 2))
    once = GRASP(noise=0.5, iterations=1)  # noise of the only update never reaches an action
    torch.testing.assert_close(
        once.collocated(pose(E, start, seen(), generator=torch.Generator())[0], start["actions"]),
        collocated(GRASP(iterations=1), start["actions"], bent()),
    )


def test_it_is_never_worse_than_the_start_and_its_value_is_the_true_energy() -> None:
    E, start = TrajectoryEnergy(bent(), GoalDistance() + ActionPenalty()), {"actions": randn(4, 3, 2, seed=3)}
    wild = GRASP(action_step=5.0, noise=3.0, descents=0)
    plan = minimize(E, start, wild, given=seen(), max_steps=5, generator=torch.Generator().manual_seed(0))
    assert bool((plan.energy <= E(**seen(), **start)).all())
    torch.testing.assert_close(plan.energy, E(**seen(), **plan.value))


def test_a_box_is_kept_to_on_the_way_and_in_the_end() -> None:
    E = TrajectoryEnergy(walk(), GoalDistance()) + Box("actions", -0.2, 0.2)
    start = {"actions": torch.zeros(4, 3, 2, dtype=torch.float64)}
    plan = minimize(E, start, GRASP(), given=seen(), trace=True, max_steps=40)
    assert bool((plan.trace.value["actions"].abs() <= 0.2 + 1e-12).all())
    way = (seen()["goal"] - seen()["observation"]) / 3
    far = way.abs() > 0.2  # there all three steps are as long as they may be
    assert bool(far.any())
    torch.testing.assert_close(
        plan.value["actions"].transpose(1, 2)[far], (0.2 * way.sign())[far].unsqueeze(1).expand(-1, 3)
    )


def test_an_agent_plans_with_it() -> None:
    E = TrajectoryEnergy(walk(), GoalDistance())
    agent = RecedingHorizon(E, GRASP(), horizon=4, bounds=Box("actions", -0.5, 0.5), max_steps=5)
    plan, s = agent.start(batch=3, generator=torch.Generator().manual_seed(0)), torch.zeros(3, 2)
    goal = torch.tensor([[1.0, 0.0], [0.3, -0.9], [0.0, 0.0]])
    for _ in range(3):
        action, plan, _ = agent.step(plan, observation=s, goal=goal)
        assert bool((action.abs() <= 0.5).all())
        s = s + action
    assert bool(((s - goal).abs() < 0.02).all())


def test_context_is_given_to_all_steps_at_once() -> None:
    model = TwoRoomsModel(4, 8, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(model.predictor.last.weight, generator=torch.Generator().manual_seed(5))
    pictures = torch.randint(0, 255, (3, 2, 65, 65), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    state, actions = model.encode(pictures), torch.ones(3, 4, 2)
    path = model.rollout(state, actions)
    E = VirtualStates(model, goal_weight=0.0)
    value = E(state=state, goal=(path[:, -1], state[1]), states=path[:, 1:-1], actions=actions)
    torch.testing.assert_close(value, torch.zeros(3), atol=1e-9, rtol=0)


def test_problems_without_one_imagined_trajectory_and_goal_are_refused() -> None:
    start = {"actions": torch.zeros(2, 3, 2)}
    o = torch.zeros(2, 2)
    with pytest.raises(TypeError, match="1 imagined trajectories and 0 goals"):
        goalless = StageCost(lambda s, a: s.square().sum(-1))
        minimize(TrajectoryEnergy(walk(), goalless), start, GRASP(), given={"observation": o})
    with pytest.raises(TypeError, match="0 imagined trajectories"):
        minimize(ActionPenalty(), start, GRASP())
    both = Ensemble([walk(), walk()])
    E = TrajectoryEnergy(both, GoalDistance(), latent="z")
    z = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(TypeError, match="without a latent variable"):
        minimize(E, start, GRASP(), given={"observation": o, "goal": o, "z": z})
    with pytest.raises(ValueError, match="T - 1 states"):
        VirtualStates(walk())(state=o, goal=o, states=torch.zeros(2, 3, 2), **start)
    with pytest.raises(ValueError, match="goal_weight"):
        GRASP(goal_weight=-1.0)

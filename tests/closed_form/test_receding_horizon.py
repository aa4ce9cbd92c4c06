"""Agents step by step: what is promised, bounded, kept, remembered and refused, where answers are known."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import CEM, LBFGS, MPPI, AugmentedLagrangian, Enumerate, GraphSearch, Momentum
from ebm.plan import (
    ActionPenalty,
    Fallback,
    GoalDistance,
    Guardrail,
    KeepOut,
    PrimitivePlan,
    RecedingHorizon,
    Smoothness,
    TrajectoryEnergy,
    headings,
    run_episodes,
)
from ebm.regularizers import Ball, Box
from ebm.world import KnownDynamics, PointMass, TwoRooms, TwoRoomsModel

WALK = KnownDynamics(lambda s, a: s + a, 2)
TO_GOAL = TrajectoryEnergy(WALK, GoalDistance() + 0.1 * ActionPenalty())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def cem(**settings: Any) -> RecedingHorizon:
    energy = settings.pop("energy", TO_GOAL)
    return RecedingHorizon(
        energy,
        CEM(100, 10, std=0.5),
        **{"horizon": 4, "max_steps": 5, "bounds": Box("actions", -1, 1)} | settings,
    )


def walk(agent: RecedingHorizon, s: Tensor, goal: Tensor, steps: int, seed: int = 0) -> tuple[list, Tensor]:
    """Reports, and the path (B, T + 1, S)."""
    plan, reports, path = agent.start(len(s), seeded(seed), dtype=s.dtype), [], [s]
    for _ in range(steps):
        action, plan, report = agent.step(plan, path[-1], goal)
        reports.append(report)
        path.append(path[-1] + action)
    return reports, torch.stack(path, 1)


def test_at_the_goal_it_stays_and_elsewhere_it_comes_nearer():
    s, goal = rows([1.0, -1.0], [0.0, 0.0]), rows([1.0, -1.0], [0.6, 0.8])
    reports, path = walk(cem(), s, goal, 5)
    apart = (path - goal[:, None]).norm(dim=2)
    nothing = TO_GOAL(observation=s, goal=goal, actions=torch.zeros(2, 4, 2, dtype=s.dtype))
    assert (reports[0].energy <= nothing).all()  # never worse than doing nothing
    assert reports[0].energy[0] == 0 and (path[0] == s[0]).all()  # where that is best, nothing is done
    assert apart[1, -1] < 0.1
    assert not torch.stack([r.fallback for r in reports]).any()


def test_bounds_hold_on_what_is_done():
    s, goal = rows([0.0, 0.0]).expand(3, 2), rows([90.0, 0.0], [0.0, -90.0], [60.0, 60.0])
    for bounds in (Box("actions", -0.3, 0.3), Ball("actions", 0.3)):
        _, path = walk(cem(bounds=bounds), s, goal, 3)
        for action in path.diff(dim=1).unbind(1):
            assert (bounds(actions=action) == 0).all() and (action.norm(dim=1) > 0.25).all()


class Wild(Fallback):
    """Not a safe action."""

    def __call__(self, state: Tensor, actions: Tensor) -> Tensor:
        return torch.full_like(actions, 7.0)


def test_bounds_hold_on_a_fallback_too():
    never = Guardrail(lambda s: s[..., 0] * 0 + 1)
    agent = cem(subject_to=[never], fallback=Wild())
    action, _, report = agent.step(agent.start(1, seeded()), rows([0.0, 0.0]), rows([1.0, 1.0]))
    assert report.fallback.all() and (action == 1.0).all()


def test_the_next_solve_begins_at_the_plan_without_its_first_action():
    agent = RecedingHorizon(TO_GOAL, LBFGS(), horizon=4, max_steps=0)  # a solve that changes nothing
    plan = agent.start(1, dtype=torch.float64)
    planned = torch.arange(8, dtype=torch.float64).view(1, 4, 2)
    goal = rows([12.0, 16.0])
    action, plan, _ = agent.step(plan._replace(actions=planned), rows([0.0, 0.0]), goal)
    assert (action == planned[:, 0]).all()
    assert (plan.actions[:, :3] == planned[:, 1:]).all() and (plan.actions[:, 3] == 0).all()
    action, _, _ = agent.step(plan, rows([0.0, 1.0]), goal)
    assert (action == planned[:, 1]).all()


def test_where_to_do_nothing_is_better_than_what_is_left_of_a_plan_the_solve_begins_there():
    agent = RecedingHorizon(TO_GOAL, LBFGS(), horizon=4, max_steps=0)
    planned = torch.ones(2, 4, 2, dtype=torch.float64)
    plan = agent.start(2, dtype=torch.float64)._replace(actions=planned)
    action, _, report = agent.step(plan, rows([0.0, 0.0], [0.0, 0.0]), rows([-1.0, -1.0], [4.0, 4.0]))
    assert action.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert report.energy[0] == 2.0  # |s - g|² at every step


def test_standing_still_where_that_breaks_a_guardrail_is_no_better():
    forward = Guardrail(lambda s: 0.5 - s[..., 0])  # a wall that comes from behind
    agent = RecedingHorizon(TO_GOAL, CEM(8, 2), horizon=2, max_steps=0, subject_to=[forward])
    planned = torch.ones(1, 2, 2, dtype=torch.float64)
    plan = agent.start(1, dtype=torch.float64)._replace(actions=planned)
    action, _, report = agent.step(plan, rows([0.0, 0.0]), rows([-1.0, -1.0]))
    assert (action == 1.0).all() and not report.fallback.any()


def test_a_guardrail_may_look_at_states_that_the_cost_does_not():
    E, far = TrajectoryEnergy(WALK, ActionPenalty()), KeepOut(torch.zeros(2).double(), 1.0)
    agent = RecedingHorizon(E, CEM(64, 8), horizon=2, max_steps=20, subject_to=[far])
    plan = agent.start(1, seeded(), dtype=torch.float64)
    for _ in range(2):
        action, plan, report = agent.step(plan, rows([0.5, 0.0]))
        assert (rows([0.5, 0.0]) + action).norm() >= 1 - 1e-6 and not report.fallback.any()
        plan = plan._replace(actions=torch.ones_like(plan.actions))


def test_a_plan_that_needs_a_goal_says_so():
    s, anywhere = rows([0.0, 0.0]), TrajectoryEnergy(WALK, ActionPenalty())
    for agent in (cem(), primitive_agent(), cem(energy=anywhere, near=cem(), within=1.0)):
        with pytest.raises(TypeError, match=r"needs goal=\.\.\."):
            agent.step(agent.start(1, seeded()), s)


def test_a_plan_is_followed_for_as_many_actions_as_it_is_told():
    agent = cem(every=3)
    plan, s, goal = agent.start(2, seeded()), rows([0.0, 0.0], [1.0, 0.0]), rows([4.0, 0.0], [0.0, 3.0])
    due, done = [], []
    for _ in range(7):
        action, plan, report = agent.step(plan, s, goal)
        due.append(report.replanned.tolist())
        done.append((action, plan))
        s = s + action
    assert due == [[t % 3 == 0] * 2 for t in range(7)]
    first = done[0][1].actions
    assert (done[1][0] == first[:, 0]).all() and (done[2][0] == first[:, 1]).all()
    with pytest.raises(ValueError, match="4 actions long; got every=5"):
        cem(every=5)


def test_rows_with_a_plan_left_keep_it_while_others_plan():
    agent = cem(every=2)
    plan, s, goal = agent.start(2, seeded()), rows([0.0, 0.0], [1.0, 0.0]), rows([4.0, 0.0], [0.0, 3.0])
    _, plan, first = agent.step(plan, s, goal)
    plan = plan._replace(left=torch.tensor([1, 0]))
    action, after, report = agent.step(plan, s, goal)
    assert report.replanned.tolist() == [False, True]
    assert (action[0] == plan.actions[0, 0]).all() and after.left.tolist() == [0, 1]
    assert report.energy[0] == first.energy[0] and [index.tolist() for index, _ in report.solutions] == [[1]]
    assert report.terms["GoalDistance"].isnan().tolist() == [True, False]


@pytest.mark.parametrize("every", [1, 2])
def test_rows_are_independent_of_their_neighbors(every):
    agent = RecedingHorizon(TO_GOAL, LBFGS(), horizon=5, every=every, max_steps=30)
    s, goal = rows([0.0, 0.0], [1.0, 2.0], [-3.0, 1.0]), rows([4.0, 0.0], [0.0, 3.0], [0.0, 0.0])
    _, together = walk(agent, s, goal, 4)
    for row in range(3):
        _, alone = walk(agent, s[row : row + 1], goal[row : row + 1], 4)
        assert torch.allclose(together[row], alone[0], rtol=0, atol=1e-6)  # √eps, as flat as a minimum is


def test_a_poisoned_neighbor_changes_nothing():
    s, goal = rows([0.0, 0.0], [1.0, 2.0]), rows([4.0, 0.0], [0.0, 3.0])
    for agent in (cem(), RecedingHorizon(TO_GOAL, LBFGS(), horizon=5, max_steps=30)):
        _, fine = walk(agent, s, goal, 3)
        reports, bad = walk(agent, torch.where(torch.tensor([[True], [False]]), torch.nan, s), goal, 3)
        assert torch.allclose(fine[1], bad[1], rtol=0, atol=1e-6)
        assert [r.fallback.tolist() for r in reports] == [[True, False]] * 3


def test_with_the_true_model_what_comes_is_what_was_promised():
    cost = GoalDistance() + 0.1 * ActionPenalty() + 0.2 * Smoothness()
    reports, path = walk(cem(energy=TrajectoryEnergy(WALK, cost)), rows([0.0, 0.0]), rows([2.0, 1.0]), 4)
    assert all(getattr(reports[0], name).isnan().all() for name in ("predicted", "actual", "surprise"))
    for t, report in enumerate(reports[1:]):
        s, action = path[:, t + 1], path[:, t + 1] - path[:, t]
        expected = (s - rows([2.0, 1.0])).square().sum(1) + 0.1 * action.square().sum(1)
        assert torch.allclose(report.predicted, expected) and torch.allclose(report.actual, expected)
        assert (report.surprise < 1e-12).all() and not report.wrong.any()


def test_with_a_wrong_model_the_report_says_by_how_much():
    agent = cem(energy=TrajectoryEnergy(WALK, GoalDistance()))
    plan, s, goal = agent.start(1, seeded()), rows([0.0, 0.0]), rows([2.0, 0.0])
    action, plan, _ = agent.step(plan, s, goal)
    came = s + action + rows([0.3, -0.4])
    _, _, report = agent.step(plan, came, goal)
    assert torch.allclose(report.surprise, torch.tensor(0.5, dtype=torch.float64))
    assert torch.allclose(report.predicted, (s + action - goal).square().sum(1))
    assert torch.allclose(report.actual, (came - goal).square().sum(1))


def test_the_terms_add_up_to_the_energy():
    s, goal = rows([0.0, 0.0], [1.0, 0.0]), rows([2.0, 1.0], [0.0, 0.0])
    reports, _ = walk(cem(), s, goal, 2)
    for report in reports:
        assert set(report.terms) == {"GoalDistance", "ActionPenalty"}
        assert torch.allclose(sum(report.terms.values()), report.energy)


def test_what_the_method_reports_is_there():
    s, goal = rows([0.0, 0.0]), rows([2.0, 1.0])
    agent = RecedingHorizon(TO_GOAL, MPPI(50, 0.1, std=0.5), horizon=4, max_steps=2)
    ((index, solution),) = agent.step(agent.start(1, seeded()), s, goal)[2].solutions
    assert index.tolist() == [0] and solution.reasons == ["max steps"]
    assert 1 <= float(solution.report["effective_sample_size"]) <= 50
    agent = RecedingHorizon(TO_GOAL, LBFGS(), horizon=4, max_steps=50, tol=1e-8)
    ((_, solution),) = agent.step(agent.start(1), s, goal)[2].solutions
    assert solution.gradient_norm.max() <= 1e-8 and solution.reasons == ["gradient"]


# Surprises --------------------------------------------------------------------------------------------------


def primitive_agent(**settings: Any) -> RecedingHorizon:
    E = PrimitivePlan(WALK, headings(4, 1.0, 2).double(), time=0.01, forget=0.5)
    return RecedingHorizon(
        E, GraphSearch(0.5, good_enough=0.1), **{"horizon": 8, "every": 2, "surprise": 0.5} | settings
    )


def blocked(s: Tensor, action: Tensor) -> Tensor:
    """A walk on a plane with a wall at x = 1, |y| < 1.5, of which the model knows nothing."""
    to = s + action
    hit = (s[:, 0] < 1) & (to[:, 0] > 0.9) & (s[:, 1].abs() < 1.5)
    return torch.where(hit[:, None], s, to)


@pytest.mark.parametrize("surprise", [0.5, None])
def test_what_surprised_is_not_tried_again(surprise):
    agent = primitive_agent(surprise=surprise)
    plan, s, goal = agent.start(1, dtype=torch.float64), rows([0.0, 0.0]), rows([4.0, 0.0])
    tried, wrong = [], []
    for _ in range(16):
        action, plan, report = agent.step(plan, s, goal)
        if report.replanned.all():
            tried.append((tuple(s[0].tolist()), int(plan.memory.choice[0])))
        wrong.append(bool(report.wrong[0]))
        s = blocked(s, action)
    if surprise is None:
        assert set(tried) == {((0.0, 0.0), 0)} and not any(wrong)  # against the wall, again and again
    else:
        ahead = [here for here, choice in tried if choice == 0 and here[0] < 1 and abs(here[1]) < 1.5]
        assert len(ahead) == len(set(ahead)) >= 1 and wrong.count(True) == len(ahead)
        assert torch.allclose(s, goal, atol=1e-6)


def test_only_the_episode_that_was_surprised_remembers():
    agent = primitive_agent()
    goal = rows([4.0, 0.0], [4.0, 0.0])
    plan, s = agent.start(2), rows([0.0, 0.0], [0.0, 0.0])
    for _ in range(3):
        action, plan, report = agent.step(plan, s, goal)
        s = s + action * torch.tensor([[0.0], [1.0]])  # the first stands still whatever it does
    assert report.wrong.tolist() == [True, False] and report.replanned.all()
    assert plan.memory.surprises.choices[:, 0].tolist() == [0, -1]
    assert plan.memory.choice[0] != 0 and plan.memory.choice[1] == 0
    assert report.energy[0] > report.energy[1]


def test_a_surprise_is_kept_where_the_primitive_began():
    agent, goal, s = primitive_agent(), rows([4.0, 0.0]), rows([0.0, 0.0])
    plan = agent.start(1)
    for moves in (1.0, 0.0, 0.0):  # the first action of a primitive does what it should, the second nothing
        action, plan, report = agent.step(plan, s, goal)
        s = s + moves * action
    assert report.wrong.all() and (plan.memory.surprises.states[0, 0] == 0).all()
    assert (plan.memory.began == rows([1.0, 0.0])).all() and (
        plan.memory.surprises.choices[0, 1:] == -1
    ).all()


def test_what_a_primitive_foresaw_is_kept_by_row():
    agent, s, goal = primitive_agent(), rows([0.0, 0.0], [1.0, 0.0]), rows([4.0, 0.0], [1.0, 6.0])
    _, plan, _ = agent.step(agent.start(2), s, goal)
    first, moved = plan.memory, s + rows([0.5, 0.0], [0.0, 0.5])
    _, plan, report = agent.step(plan._replace(left=torch.tensor([1, 0])), moved, goal)
    assert report.replanned.tolist() == [False, True] and first.choice.tolist() == [0, 1]
    assert (plan.memory.foreseen[0] == first.foreseen[0]).all() and (plan.memory.began[0] == s[0]).all()
    way = headings(4, 1.0, 2).double().sum(1)[plan.memory.choice[1]]
    assert torch.allclose(plan.memory.foreseen[1], moved[1] + way) and way.norm() == 2
    assert (plan.memory.began[1] == moved[1]).all()


# Near the goal ----------------------------------------------------------------------------------------------


def test_the_other_agent_takes_over_near_the_goal():
    fine = torch.cat([0.25 * headings(8, 1.0, 1), torch.zeros(1, 1, 2)]).double()
    near = RecedingHorizon(TrajectoryEnergy(WALK, GoalDistance()), Enumerate(fine), horizon=1)
    agent = primitive_agent(near=near, within=1.5)
    plan, s, goal = agent.start(2), rows([0.0, 0.0], [3.0, 0.0]), rows([4.0, 0.0], [4.0, 0.0])
    for _ in range(8):
        apart = (s - goal).norm(dim=1)
        action, plan, report = agent.step(plan, s, goal)
        close = apart < 1.5
        assert (action[close].norm(dim=1) < 0.26).all() and report.replanned[close].all()
        assert torch.allclose(action[~close].norm(dim=1), torch.ones(int((~close).sum()), dtype=s.dtype))
        assert set(report.terms) == {"GoalDistance"} | (
            {"PrimitivePlan"} if "PrimitivePlan" in report.terms else set()
        )
        assert (report.terms["GoalDistance"].isfinite() == close).all()
        planned = torch.cat([index for index, _ in report.solutions])
        assert len(planned) == len(planned.unique())  # each row by one of the two
        s = s + action
    assert (s - goal).norm(dim=1).max() < 0.01
    with pytest.raises(ValueError, match="near plans 17 actions, more than 16"):
        primitive_agent(near=cem(horizon=17), within=1.0)


# What goes wrong --------------------------------------------------------------------------------------------


METHODS = {
    "CEM": CEM(20, 5),
    "MPPI": MPPI(20),
    "LBFGS": LBFGS(),
    "Momentum": Momentum(0.01),
    "AugmentedLagrangian": AugmentedLagrangian(LBFGS()),
    "Enumerate": Enumerate(torch.ones(2, 3, 2, dtype=torch.float64)),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_nothing_seen_is_no_reason_to_act(method):
    agent = RecedingHorizon(TO_GOAL, method, horizon=3, max_steps=3)
    plan, goal = agent.start(2, seeded()), rows([1.0, 1.0], [1.0, 1.0])
    dark = rows([0.0, 0.0], [torch.nan, 0.0])
    action, plan, report = agent.step(plan, dark, goal)
    assert report.fallback.tolist() == [False, True] and (action[1] == 0).all() and action[0].norm() > 0
    assert report.energy[1].isnan()
    action, plan, report = agent.step(plan, rows([0.0, 0.0], [0.0, 0.0]), goal)  # and then it sees again
    assert not report.fallback.any() and action[1].norm() > 0 and report.surprise[1].isnan()


def test_blind_between_two_plans_it_stops_too():
    agent = cem(every=3)
    plan, s, goal = agent.start(1, seeded()), rows([0.0, 0.0]), rows([4.0, 4.0])
    _, plan, _ = agent.step(plan, s, goal)
    action, plan, report = agent.step(plan, s * torch.nan, goal)
    assert not report.replanned.any() and report.fallback.all() and (action == 0).all()
    action, _, report = agent.step(plan, s, goal)
    assert not report.fallback.any() and action.norm() > 0


@pytest.mark.parametrize("worth", [torch.nan, torch.inf])
def test_a_cost_that_is_nowhere_finite_ends_in_the_fallback(worth):
    @energy
    def broken(states):
        return states[:, -1].sum(1) * 0 + worth

    for method in (CEM(20, 5), MPPI(20), LBFGS()):
        agent = RecedingHorizon(TrajectoryEnergy(WALK, broken), method, horizon=3, every=2, max_steps=3)
        plan = agent.start(1, seeded())._replace(actions=torch.ones(1, 3, 2))
        for _ in range(2):
            action, plan, report = agent.step(plan, rows([0.0, 0.0]))
            assert report.fallback.all() and (action == 0).all()


def test_a_model_that_is_nan_in_part_is_planned_around():
    holes = KnownDynamics(lambda s, a: torch.where((s + a)[:, 1:] > 0.5, torch.nan, s + a), 2)
    reports, path = walk(
        cem(energy=TrajectoryEnergy(holes, GoalDistance())), rows([0.0, 0.0]), rows([2.0, 3.0]), 5
    )
    assert path.isfinite().all() and (path[..., 1] <= 0.5).all() and abs(path[0, -1, 0] - 2) < 0.2
    assert not torch.stack([r.fallback for r in reports]).any()


def test_primitives_from_a_nan_state_rest_and_say_so():
    agent = primitive_agent()
    goal = rows([4.0, 0.0], [4.0, 0.0])
    action, _, report = agent.step(agent.start(2), rows([torch.nan, 0.0], [0.0, 0.0]), goal)
    assert report.fallback.tolist() == [True, False] and (action[0] == 0).all() and action[1].norm() > 0
    assert report.energy[0].isnan()


def test_an_impossible_guardrail_brakes_and_says_so():
    roof, floor = (Guardrail(lambda s: s[..., 0] * 0 + 0.3, "roof"), Guardrail(lambda s: -s[..., 0], "floor"))
    agent = cem(subject_to=[roof, floor])
    action, _, report = agent.step(agent.start(1, seeded()), rows([1.0, 0.0]), rows([2.0, 0.0]))
    assert report.fallback.all() and (action == 0).all()
    assert set(report.violation) == {"roof", "floor"} and report.violation["floor"] == 0
    assert abs(float(report.violation["roof"]) - 0.3) < 1e-12
    ((_, solution),) = report.solutions
    assert solution.violation >= 0.3


def test_guardrails_of_one_name_are_reported_by_the_worst():
    two = [Guardrail(lambda s, d=d: s[..., 0] * 0 + d) for d in (0.1, 0.7, 0.2)]
    agent = cem(subject_to=two)
    report = agent.step(agent.start(1, seeded()), rows([1.0, 0.0]), rows([2.0, 0.0]))[2]
    assert abs(float(report.violation["guardrail"]) - 0.7) < 1e-12


def test_a_guardrail_is_kept_for_a_whole_episode():
    world, radius = PointMass(), 0.6
    model = KnownDynamics(world.dynamics, 2)
    keep_out = KeepOut(torch.tensor([0.0, 0.05], dtype=torch.float64), radius)

    @energy
    def to_goal(states):
        return (states[:, 1:, :2] - states.new_tensor([1.5, 0.0])).square().sum(2).mean(1)

    state = {"state": rows([-1.5, 0.0, 0.0, 0.0], [-1.5, 0.2, 0.0, 0.0])}
    nearest = {}
    for name, guardrails in (("with", [keep_out]), ("without", [])):
        agent = RecedingHorizon(
            TrajectoryEnergy(model, to_goal),
            CEM(100, 10, std=0.7),
            horizon=12,
            max_steps=4,
            subject_to=guardrails,
            bounds=world.bounds,
        )
        done = run_episodes(world, agent, 2, steps=18, state=state, generator=seeded(3))
        path = torch.stack([s["state"] for s in done.states], 1)
        nearest[name] = (path[..., :2] - keep_out.center).norm(dim=2).amin(1)
        assert (done.actions.abs() <= 1).all() and (path[:, -1, 0] > -0.5).all()
    assert (nearest["with"] >= radius - 1e-6).all() and (nearest["without"] < radius - 0.05).any()


def test_goals_nobody_can_reach_are_approached():
    boxed = KnownDynamics(lambda s, a: (s + a).clamp(-1, 1), 2)
    agent = cem(energy=TrajectoryEnergy(boxed, GoalDistance()))
    plan, s = agent.start(1, seeded()), rows([0.0, 0.0])
    for _ in range(6):
        action, plan, report = agent.step(plan, s, rows([50.0, -50.0]))
        s = (s + action).clamp(-1, 1)
    assert torch.allclose(s, rows([1.0, -1.0]), atol=0.05) and not report.fallback.any()


def test_input_that_does_not_fit_is_refused():
    agent = cem()
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1; got 0"):
        cem(horizon=0)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        agent.start(0)
    with pytest.raises(ValueError, match="plan is of 2 episodes, the observation of 3"):
        agent.step(agent.start(2), torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="'goal' has 1 rows, the observation 2"):
        agent.step(agent.start(2), torch.zeros(2, 2), torch.zeros(1, 2))
    with pytest.raises(TypeError, match="TrajectoryEnergy or a PrimitivePlan"):
        RecedingHorizon(GoalDistance(), CEM(), horizon=3)
    with pytest.raises(TypeError, match="energy of states and actions"):
        cem(subject_to=[GoalDistance()])
    with pytest.raises(ValueError, match="primitive is 2 actions long; got every=3"):
        primitive_agent(every=3)
    with pytest.raises(ValueError, match="within"):
        cem(near=cem(), within=-1.0)
    with pytest.raises(ValueError, match="surprise"):
        primitive_agent(surprise=0.0)
    with pytest.raises(TypeError, match="cannot keep to `subject_to`"):
        plan = RecedingHorizon(TO_GOAL, LBFGS(), horizon=2, subject_to=[KeepOut(torch.ones(2), 0.1)])
        plan.step(plan.start(1), torch.zeros(1, 2), torch.zeros(1, 2))


# A plan is a value ------------------------------------------------------------------------------------------


def test_an_interrupted_episode_goes_on_as_if_nothing_had_been():
    agent, s, goal = cem(every=2), rows([0.0, 0.0], [1.0, 1.0]), rows([4.0, 0.0], [0.0, 3.0])
    plan = agent.start(2, seeded())
    for _ in range(3):
        action, plan, _ = agent.step(plan, s, goal)
        s = s + action
    saved, there = plan._replace(generator=plan.generator.clone_state()), s
    kept = copy.deepcopy([saved.actions, saved.memory])
    runs = []
    for one in (agent, cem(every=2)):  # the same agent, and another of the same settings
        plan, s, did = saved._replace(generator=saved.generator.clone_state()), there, []
        for _ in range(4):
            action, plan, _ = one.step(plan, s, goal)
            did.append(action)
            s = s + action
        runs.append(torch.stack(did))
    assert (runs[0] == runs[1]).all()
    assert (saved.actions == kept[0]).all() and (saved.memory.before == kept[1].before).all()
    assert (saved.left == 1).all()


def test_the_plan_takes_the_precision_of_the_states():
    for dtype in (torch.float32, torch.float64):
        for agent in (cem(), primitive_agent()):
            agent.planner.energy.to(dtype)
            goal = torch.ones(1, 2, dtype=dtype)
            action, plan, report = agent.step(agent.start(1, seeded()), torch.zeros(1, 2, dtype=dtype), goal)
            assert action.dtype == plan.actions.dtype == report.energy.dtype == dtype


# Episodes ---------------------------------------------------------------------------------------------------


def test_episodes_are_steps_by_hand(capsys):
    world = PointMass(spread=0.1)
    E = TrajectoryEnergy(KnownDynamics(world.dynamics, 2), ActionPenalty() + Guardrail(lambda s: -s[..., 0]))
    agent = RecedingHorizon(E, CEM(10, 2), horizon=3, max_steps=1, bounds=world.bounds)
    done = run_episodes(world, agent, 2, steps=3, generator=seeded(5))
    g = seeded(5)
    state = world.reset(2, g)
    plan = agent.start(2, g)
    for t in range(3):
        assert (done.states[t]["state"] == state["state"]).all()
        action, plan, report = agent.step(plan, world.observe(state))
        assert (done.actions[:, t] == action).all() and (done.reports[t].energy == report.energy).all()
        assert (done.costs[:, t] == world.cost(state, action)).all()
        state = world.step(state, action, g)
    assert len(done.states) == 4 and (done.states[3]["state"] == state["state"]).all()
    assert done.cpu_ms_an_action == pytest.approx(1e3 * done.cpu_seconds / 6)
    pictures = done.frames(world, episode=1)
    assert pictures.shape == (4, 96, 160, 3) and pictures.dtype == torch.uint8
    assert (pictures[2] == world.frames({"state": done.states[2]["state"][1:]})[0]).all()
    assert capsys.readouterr().err == ""
    run_episodes(world, agent, 1, steps=1, progress="by hand")
    assert "by hand" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least one step; got 0"):
        run_episodes(world, agent, 2, steps=0)


def test_an_episode_of_two_rooms_knows_its_goal_and_keeps_no_graph():
    world, model = TwoRooms(steps=2), TwoRoomsModel(generator=seeded())
    agent = RecedingHorizon(TrajectoryEnergy(model, GoalDistance()), CEM(8, 2), horizon=2, max_steps=1)
    done = run_episodes(world, agent, 2, generator=seeded(1))
    assert done.actions.shape == (2, 2, 2)
    with torch.no_grad():
        s = model.encode(world.observe(done.states[0]))[0]
        goal = model.encode(world.goal_observation(done.states[0]))[0]
    still = (s - goal).square().sum(1)  # at first the model says that nothing moves
    assert torch.allclose(done.reports[0].energy, still)
    assert not any(r.predicted.requires_grad or r.energy.requires_grad for r in done.reports)


def test_agents_plan_as_minimize_does():
    s, goal = rows([0.0, 0.0]), rows([2.0, 1.0])
    agent = RecedingHorizon(TO_GOAL, CEM(50, 5), horizon=4, max_steps=3)
    action, _, report = agent.step(agent.start(1, seeded(7)), s, goal)
    start, given = {"actions": torch.zeros(1, 4, 2, dtype=s.dtype)}, {"observation": s, "goal": goal}
    found = minimize(TO_GOAL, start, CEM(50, 5), given=given, max_steps=3, tol=0.0, generator=seeded(7))
    assert (action == found.value["actions"][:, 0]).all() and (report.energy == found.energy).all()

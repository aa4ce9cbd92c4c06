"""The planner: its energies against a walk written out step by step, its search against `minimize`."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ebm.infer import minimize
from ebm.plan import KeepOut, LearnedCost, TrajectoryEnergy
from ebm.regularizers import Ball
from ebm.show.explorers.planner import COSTS, FIRST, PLANNERS, RADIUS, SPARE, PlannerExplorer
from ebm.show.explorers.rooms import REACH, KnownRooms, OnFoot
from ebm.show.explorers.scene import Dots, Handle, Heat, Line
from ebm.world import TwoRooms


def walked(explorer: PlannerExplorer, moves: np.ndarray) -> list[tuple[float, float]]:
    """Where moves lead, by tiny steps that stop in front of whatever is in the way."""
    (x, y), (wall, door) = explorer.places["start"], explorer.places["door"]
    path = []
    for dx, dy in moves:
        for _ in range(2000):
            nx, ny = x + dx / 2000, y + dy / 2000
            inside = abs(nx - wall) < 1.5 and abs(ny - door) > 4.0
            if inside or not (5 <= nx <= 59 and 5 <= ny <= 59):
                break
            x, y = nx, ny
        path.append((x, y))
    return path


def on_foot(explorer: PlannerExplorer, x: float, y: float) -> float:
    (gx, gy), (wall, door) = explorer.places["goal"], explorer.places["door"]
    if (x < wall) == (gx < wall):
        return math.hypot(x - gx, y - gy)
    return math.hypot(x - wall, y - door) + math.hypot(wall - gx, door - gy)


@pytest.mark.parametrize("planner", list(PLANNERS))
def test_the_energy_is_that_of_the_plan_walked_step_by_step(planner: str) -> None:
    explorer = PlannerExplorer(planner)
    path = walked(explorer, explorer.plan[0].numpy())
    by_hand = sum(on_foot(explorer, x, y) for x, y in path) / len(path)
    assert explorer.probe()["energy"] == pytest.approx(by_hand, abs=0.05)
    assert np.abs(explorer.path[1:].numpy() - np.array(path)).max() < 0.05
    assert float(explorer.plan.norm(dim=2).max()) <= REACH * (1 + 1e-9)


@pytest.mark.parametrize("planner", list(PLANNERS))
def test_ten_iterations_are_those_of_minimize(planner: str) -> None:
    explorer = PlannerExplorer(planner, seed=3)
    rail = KeepOut(torch.tensor(explorer.places["guardrail"]).double(), RADIUS + SPARE)
    rooms = KnownRooms(*explorer.places["door"])
    solution = minimize(
        explorer.energy + Ball("actions", REACH),
        {"actions": torch.zeros(1, 12, 2).double()},
        PLANNERS[planner],
        given=explorer.given,
        subject_to=[TrajectoryEnergy(rooms, LearnedCost(OnFoot(rooms))).imagine(rail)],
        max_steps=FIRST,
        tol=0.0,
        generator=torch.Generator().manual_seed(3),
    )
    assert torch.equal(solution.value["actions"], explorer.plan)  # type: ignore[index]
    assert float(solution.energy) == explorer.probe()["energy"]


def test_who_knows_the_way_arrives_and_who_goes_by_the_crow_stands_at_the_wall() -> None:
    wise, crow = PlannerExplorer(), PlannerExplorer(cost="as the crow flies")
    for explorer in (wise, crow):
        explorer.set("guarded", False)
        while explorer.tick():
            pass
    assert wise.probe()["nearest"] < TwoRooms.near and "comes to the goal" in wise.scene().text
    assert crow.probe()["nearest"] > 15 and "does not reach" in crow.scene().text
    assert crow.path[-1, 0] == 30.5  # at the wall's face


def test_the_guardrail_is_kept_between_the_places_too() -> None:
    explorer = PlannerExplorer()
    explorer.drag("guardrail", 24.0, 32.0)  # across the way
    for _ in range(8):
        explorer.tick()
    found = explorer.probe()
    assert found["violation"] == 0 and found["clearance"] >= SPARE
    center = np.array(explorer.places["guardrail"])
    start, end = explorer.path[:-1].numpy(), explorer.path[1:].numpy()
    share = np.linspace(0, 1, 201)[:, None, None]
    away = np.linalg.norm(start + share * (end - start) - center, axis=2)
    assert away.min() > RADIUS
    assert "kept" in explorer.scene().text
    explorer.drag("guardrail", *explorer.places["start"])  # a long way out
    explorer.set("horizon", 4)
    explorer.set("guarded", False)
    assert explorer.probe()["violation"] == 0 and "guardrail" not in explorer.scene().text


def test_the_landscape_over_the_first_move_is_the_energy_of_the_plan_with_that_move() -> None:
    explorer = PlannerExplorer()
    _, first, progress = explorer.scene().panels
    (heat,) = first.of(Heat)
    axis = np.linspace(-REACH, REACH, len(heat.values))
    for row, column in ((10, 10), (4, 12), (15, 6)):
        plan = explorer.plan.clone()
        plan[0, 0] = torch.tensor([axis[column], axis[row]])
        expected = float(explorer.energy(actions=plan, **explorer.given))
        assert heat.values[row, column] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(heat.values[0, 0])  # longer than a move can be
    assert first.of(Dots)[-1].points.tolist() == explorer.plan[0, :1].tolist()
    (curve,) = progress.of(Line)
    assert (np.diff(curve.points[:, 1]) <= 0).all() and len(curve.points) == FIRST + 1


def test_acting_moves_the_start_along_the_plan_and_in_the_end_arrives() -> None:
    explorer = PlannerExplorer()
    explorer.drag("start", 40.0, 12.0)
    expected = tuple(explorer.path[1].tolist())
    explorer.press("act")
    assert explorer.places["start"] == expected
    for _ in range(8):
        explorer.press("act")
    assert math.dist(explorer.places["start"], explorer.places["goal"]) < TwoRooms.near


def test_dragging_keeps_everything_in_the_field_and_out_of_the_wall() -> None:
    explorer = PlannerExplorer(horizon=4)
    explorer.drag("start", -50.0, 31.0)
    assert explorer.places["start"] == (5.0, 31.0)
    explorer.drag("start", 31.0, 50.0)  # in the wall
    assert explorer.places["start"] == (30.5, 50.0)
    explorer.drag("door", 90.0, 90.0)
    assert explorer.places["door"] == (44.0, 54.0)
    explorer.drag("door", 31.0, 20.0)
    assert explorer.places["start"] == (29.5, 50.0)  # the wall pushes it aside
    handles = [handle.name for panel in explorer.scene().panels for handle in panel.of(Handle)]
    assert handles == ["start", "goal", "door", "guardrail"]


def test_the_same_seed_gives_the_same_plan() -> None:
    one, same, other = PlannerExplorer(), PlannerExplorer(), PlannerExplorer(seed=1)
    assert one.probe() == same.probe() != other.probe()
    one.press("forget")
    same.press("forget")
    assert one.probe() == same.probe() and one.probe()["iterations"] < FIRST


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("planner", list(PLANNERS))
def test_every_control_answers(planner: str, cost: str) -> None:
    explorer = PlannerExplorer(horizon=5)
    explorer.set("planner", planner)
    explorer.set("cost", cost)
    explorer.set("horizon", 6)
    assert explorer.tick() and explorer.plan.shape == (1, 6, 2)
    assert planner in explorer.scene().text and len(explorer.scene().panels) == 3


def test_errors_say_what_would_be_right() -> None:
    with pytest.raises(ValueError, match="'MPPI', 'iCEM', 'CEM'"):
        PlannerExplorer("A*")
    with pytest.raises(ValueError, match="'on foot', 'as the crow flies'"):
        PlannerExplorer(cost="time")
    with pytest.raises(ValueError, match=r"goes from 4\.0 to 16\.0; got 40"):
        PlannerExplorer(horizon=40)
    explorer = PlannerExplorer(horizon=4)
    with pytest.raises(ValueError, match="start, goal, door, guardrail"):
        explorer.drag("window", 0.0, 0.0)
    with pytest.raises(ValueError, match="finite"):
        explorer.drag("goal", math.nan, 0.0)
    with pytest.raises(TypeError, match="True or False"):
        explorer.set("guarded", "no")

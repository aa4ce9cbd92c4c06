"""The published protocol in miniature: everything is measured, written down, and not done twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from benchmarks import two_rooms
from benchmarks.table import two_rooms as table
from benchmarks.two_rooms import Arguments, run
from benchmarks.two_rooms_planners import agent_of, floors, interval, measured
from ebm.world import TwoRooms, TwoRoomsModel


@pytest.mark.parametrize(("k", "n"), [(0, 20), (1, 3), (159, 160), (80, 80)])
def test_the_interval_is_wilsons(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_floors_are_as_they_should_be() -> None:
    rows = floors(TwoRooms(), 60)
    assert rows["expert"]["last"] == 1.0 and rows["expert"]["median steps"] < 30
    assert rows["random"]["last"] < 0.15 and 0.15 < rows["greedy"]["ever"] < 0.65


def test_a_model_that_knows_nothing_stays_where_it_is() -> None:
    model = TwoRoomsModel(generator=torch.Generator().manual_seed(0))
    knows = measured(model, count=200)
    assert knows["leak"] == knows["pass"] == 0.0  # it predicts that nothing moves
    assert 0 < knows["probe error"] < 25


@pytest.mark.parametrize("planner", [*two_rooms.PLANNERS])
def test_every_planner_of_the_table_can_be_made(planner: str) -> None:
    model, world = TwoRoomsModel(), TwoRooms()
    agent = agent_of(planner, model, world, torch.nn.PairwiseDistance())
    assert agent.guard.bounds is not None and agent.planner.horizon >= 30


def test_the_protocol_is_recorded_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_rooms, "PLANNERS", ("MPPI, path, small",))
    monkeypatch.setattr(two_rooms, "temporal_distance", lambda model, world: None)
    monkeypatch.setattr(two_rooms, "WITHOUT", {"variance": {"variance": 0.0}})
    monkeypatch.setattr(two_rooms, "world_of", lambda arguments: TwoRooms(steps=3))
    arguments = Arguments(
        steps=2,
        ablation_steps=2,
        batch=4,
        windows=8,
        hidden=8,
        seeds=1,
        episodes=2,
        compared_episodes=2,
        device="cpu",
        threads=1,
        out=str(tmp_path / "models"),
        results=str(tmp_path / "record.json"),
    )
    record = run(arguments)
    assert list(record["rows"]) == [
        "floors",
        "seed 0",
        "cost of a plan",
        "planner: MPPI, path, small",
        "without variance",
    ]
    assert record["success"]["episodes"] == 2 and math.isfinite(record["rows"]["seed 0"]["probe error"])
    written = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert written["rows"] == record["rows"]
    assert "of 2 episodes at the goal" in table(tmp_path / "record.json")

    def refuse(*anything: object, **more: object) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(two_rooms, "fit", refuse)
    monkeypatch.setattr(two_rooms, "tried", refuse)
    assert run(arguments)["rows"] == record["rows"]

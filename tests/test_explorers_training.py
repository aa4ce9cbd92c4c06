"""Training, live: collapse and recovery, numbers against plain torch, and the way back to the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ebm.show.explorers.scene import Heat, Line
from ebm.show.explorers.training import BETA, CONTRAST, DATA, PUSH, REGULARIZE, TrainingExplorer


def trained(explorer: TrainingExplorer, ticks: int) -> dict[str, float]:
    for _ in range(ticks):
        assert explorer.tick()
    return explorer.probe()


@pytest.fixture(scope="module")
def session() -> dict[str, dict[str, float]]:
    """Pushing down only, then contrastive, then pushing down again, then regularized: one network."""
    explorer, found = TrainingExplorer(), {}
    for name, loss, ticks in (
        ("push", PUSH, 20),
        ("contrast", CONTRAST, 12),
        ("again", PUSH, 25),
        ("regularized", REGULARIZE, 12),
    ):
        explorer.set("loss", loss)
        found[name] = trained(explorer, ticks)
    return found


def test_pushing_down_collapses_and_each_of_the_others_recovers(session: dict[str, dict[str, float]]) -> None:
    assert [session[name]["collapsed"] for name in session] == [1.0, 0.0, 1.0, 0.0]
    assert session["push"]["likely_volume"] > 0.95 and session["again"]["likely_volume"] > 0.9
    assert session["contrast"]["likely_volume"] < 0.5 and session["contrast"]["gap"] > 2
    assert session["regularized"]["likely_volume"] < 0.8 and session["regularized"]["gap"] > 1
    assert session["regularized"]["steps"] == 690


@pytest.mark.parametrize("loss", [CONTRAST, REGULARIZE])
def test_from_the_start_neither_collapses(loss: str) -> None:
    found = trained(TrainingExplorer("ring", loss), 20)
    assert found["collapsed"] == 0.0 and found["gap"] > 1 and found["likely_volume"] < 0.75


def test_without_noise_the_regularized_loss_is_pushing_down_to_the_bit() -> None:
    plain, zero = TrainingExplorer(loss=PUSH), TrainingExplorer(loss=REGULARIZE, noise=0.0)
    assert trained(plain, 3) == trained(zero, 3)
    zero.set("noise", 1.5)
    assert trained(plain, 1) != trained(zero, 1)


def test_the_numbers_are_those_of_the_network() -> None:
    """Energies written out in plain torch, on the unseen data and on the box's own points."""
    explorer = TrainingExplorer("eight Gaussians")
    found = trained(explorer, 2)
    y = explorer.unseen
    with torch.no_grad():
        code = explorer.model.encoder(y)
        code = code / code.square().mean(1, keepdim=True).add(torch.finfo(code.dtype).eps).sqrt()
        on = BETA * (y - explorer.model.decoder(code)).square().sum(1)
        low, high = y.amin(0), y.amax(0)
        box = low + (high - low) * torch.rand(40_000, 2, generator=torch.Generator().manual_seed(9))
        off = explorer.energy(y=box)
    assert found["on_data"] == pytest.approx(float(on.mean()), rel=1e-4)
    error = float(off.std()) / 500**0.5  # the report draws 500 points
    assert abs(found["gap"] - float(off.mean() - on.mean())) < 4 * error


def test_the_scene_shows_the_energy_and_one_line_for_each_loss() -> None:
    explorer = TrainingExplorer()
    explorer.tick()
    explorer.set("loss", CONTRAST)
    explorer.tick()
    energy, _, likely = explorer.scene().panels
    (heat,) = energy.of(Heat)
    with torch.no_grad():
        corner = explorer.energy(y=torch.tensor([[-2.8, -2.8]]))
    assert heat.values[0, 0] == pytest.approx(float(corner), rel=1e-4)
    assert [line.label for line in likely.of(Line)] == [PUSH, CONTRAST]
    pushed, contrasted = likely.of(Line)
    assert np.isnan(pushed.points[2, 1]) and np.isnan(contrasted.points[0, 1])
    assert contrasted.points[2, 1] == pytest.approx(100 * explorer.probe()["likely_volume"])
    assert "After 20 steps, contrastive" in explorer.scene().text


def test_restart_brings_back_the_first_scene_and_the_same_training() -> None:
    explorer = TrainingExplorer("pinwheel", CONTRAST)
    first, later = explorer.probe(), trained(explorer, 2)
    explorer.press("restart")
    assert explorer.probe() == first
    assert trained(explorer, 2) == later
    assert trained(TrainingExplorer("pinwheel", CONTRAST, seed=1), 2) != later


@pytest.mark.parametrize("data", list(DATA))
def test_every_data_set_is_standardized_and_shown(data: str) -> None:
    explorer = TrainingExplorer()
    explorer.set("data", data)
    every = torch.cat([explorer.seen, explorer.unseen])
    assert every.mean(0).abs().max() < 1e-5 and float(every.std()) == pytest.approx(1.0, abs=1e-5)
    assert explorer.tick() and len(explorer.scene().panels) == 3


def test_errors_say_what_would_be_right() -> None:
    with pytest.raises(ValueError, match="'two moons'"):
        TrainingExplorer("circles")
    with pytest.raises(ValueError, match=r"goes from 0\.0 to 2\.0; got 3"):
        TrainingExplorer().set("noise", 3)
    with pytest.raises(ValueError, match="has loss, noise, data"):
        TrainingExplorer().set("rate", 1.0)
    with pytest.raises(ValueError, match="no handle"):
        TrainingExplorer().drag("y", 0.0, 0.0)

"""Samplers side by side: moments against closed forms, Langevin's bias against its own, lost chains."""

from __future__ import annotations

import math

import pytest
import torch

from ebm.show.explorers import samplers
from ebm.show.explorers.samplers import COLORS, SamplersExplorer, landscapes
from ebm.show.explorers.scene import Heat, Line
from ebm.show.explorers.walks import moments
from ebm.targets import DoubleWell, Gaussian, Ring


def run(explorer: SamplersExplorer, ticks: int) -> dict[str, float]:
    for _ in range(ticks):
        explorer.tick()
    return explorer.probe()


@pytest.mark.parametrize("name", list(landscapes()))
def test_moments_are_those_of_the_target(name: str) -> None:
    target = landscapes()[name]
    found = moments(target, 1.0)
    assert (found.mean - target.mean).abs().max() < 1e-5
    assert (found.covariance - target.covariance).abs().max() < 1e-5


@pytest.mark.parametrize("beta", [0.2, 0.5, 5.0])
def test_moments_at_other_temperatures_have_closed_forms(beta: float) -> None:
    """exp(-βE) is a member of the same family for these three."""
    cold = {
        "long Gaussian": Gaussian(torch.zeros(2), torch.tensor([[2.0, 1.2], [1.2, 1.0]]) / beta),
        "ring": Ring(2.0, 0.3 / math.sqrt(beta)),
        "double well": DoubleWell(2, height=2.0 * beta),
    }
    for name, target in cold.items():
        exact = target.double().covariance
        found = moments(landscapes()[name], beta)
        assert (found.covariance - exact).abs().max() < 1e-4 * exact.trace(), name


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", ["long Gaussian", "double well"])
def test_mala_and_hmc_are_right_within_four_standard_errors(name: str, temperature: float) -> None:
    step_size = 0.08 if name == "long Gaussian" else 0.02
    explorer = SamplersExplorer(name, step_size, temperature)
    found = run(explorer, 25)
    for sampler in ("MALA", "HMC"):
        assert abs(found[f"{sampler} spread"] - 1) < 4 * found[f"{sampler} standard error"] < 0.3
        assert 0.5 < found[f"{sampler} accepted"] < 1
        assert found[f"{sampler} effective draws"] > 100


def test_langevin_has_the_bias_of_its_step_size() -> None:
    """On a Gaussian with variances v its draws end at v / (1 - ε / 2v): far from 1 here."""
    explorer = SamplersExplorer("long Gaussian", step_size=0.3)
    found = run(explorer, 25)
    v = torch.linalg.eigvalsh(explorer.exact.covariance)
    biased = float((v / (1 - 0.3 / (2 * v))).sum() / v.sum())
    error = found["Langevin standard error"]
    assert abs(found["Langevin spread"] - biased) < 4 * error
    assert found["Langevin spread"] - 1 > 4 * error
    assert abs(found["MALA spread"] - 1) < 4 * found["MALA standard error"]
    assert "Langevin" in explorer.scene().text and "too wide" in explorer.scene().text


def test_the_probe_is_computed_from_the_draws() -> None:
    explorer = SamplersExplorer("banana", step_size=0.05)
    found = run(explorer, 6)
    for name, walk in explorer.walks.items():
        half = walk.draws[len(walk.draws) // 2 :]
        spread = (half - explorer.exact.mean).square().sum(2).mean() / explorer.exact.covariance.trace()
        assert found[f"{name} spread"] == pytest.approx(float(spread), rel=1e-12)
        assert walk.spread[-1] == (240.0, pytest.approx(float(spread), rel=1e-12))
        assert len(walk.draws) * walk.sampler.gradients == 240
    assert found["Langevin accepted"] == 1.0
    moved = (explorer.walks["MALA"].draws.diff(dim=0) != 0).any(2).double().mean()  # all but the first step
    assert found["MALA accepted"] == pytest.approx(float(moved), abs=0.01)


def test_hmc_with_one_leapfrog_accepts_as_mala_does() -> None:
    found = run(SamplersExplorer("long Gaussian", leapfrogs=1), 15)
    n = 64 * 600
    assert abs(found["HMC accepted"] - found["MALA accepted"]) < 4 * math.sqrt(2 * 0.25 / n) * 3  # correlated


def test_chains_that_are_lost_are_counted_and_leave_the_others_alone() -> None:
    explorer = SamplersExplorer("double well", step_size=1.5)
    found = run(explorer, 3)
    assert found["Langevin lost chains"] == 64 and math.isnan(found["Langevin effective draws"])
    assert found["MALA lost chains"] == found["HMC lost chains"] == 0
    assert "Langevin has lost 64 of 64 chains" in explorer.scene().text


def test_a_spread_on_its_way_to_infinity_stays_a_short_word() -> None:
    explorer = SamplersExplorer(step_size=0.41)  # Langevin is stable below 2 / (the largest curvature)
    for _ in range(12):
        explorer.tick()
        words = explorer.scene().text
        assert max(map(len, words.split())) < 20, words
    assert explorer.probe()["Langevin spread"] > 1e3


def test_a_new_setting_or_start_begins_again_and_the_seed_repeats() -> None:
    explorer = SamplersExplorer("ring", step_size=0.05)
    first = run(explorer, 2)
    explorer.press("restart")
    assert explorer.probe()["gradients"] == 0.0
    assert run(explorer, 2) == first
    explorer.drag("start", 99.0, 0.5)  # to the edge, not beyond
    assert explorer.start.tolist() == [[explorer.extent[1], 0.5]] and explorer.probe()["gradients"] == 0.0
    explorer.set("temperature", 2.0)
    explorer.set("leapfrogs", 3)
    assert explorer.walks["HMC"].sampler.gradients == 3 and explorer.walks["HMC"].beta == 0.5
    explorer.set("target", "eight modes")
    assert explorer.tick() and explorer.start.tolist() == explorer.energy.minima[:1].tolist()


def test_the_scene_shows_each_sampler_on_the_landscape() -> None:
    explorer = SamplersExplorer("ring", step_size=0.05)
    assert "press play" in explorer.scene().text
    run(explorer, 3)
    *maps, curves = explorer.scene().panels
    assert [panel.title for panel in maps] == list(COLORS)
    assert len(curves.of(Line)) == 4 and curves.of(Line)[1].points.shape == (3, 2)
    (heat,) = maps[0].of(Heat)
    x0, _, y0, _ = explorer.extent
    corner = explorer.energy(y=torch.tensor([[x0, y0]], dtype=torch.float64))
    assert heat.values[0, 0] == pytest.approx(float(corner), rel=1e-6)


def test_play_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "LAST", 80)
    explorer = SamplersExplorer("ring", step_size=0.05)
    assert [explorer.tick() for _ in range(3)] == [True, False, False]
    assert explorer.probe()["gradients"] == 80


def test_errors_say_what_would_be_right() -> None:
    with pytest.raises(ValueError, match="'ring'"):
        SamplersExplorer("torus")
    with pytest.raises(ValueError, match=r"goes from 0\.002 to 2\.0; got 0"):
        SamplersExplorer(step_size=0.0)
    with pytest.raises(ValueError, match=r"goes from 1\.0 to 20\.0; got 21"):
        SamplersExplorer().set("leapfrogs", 21)
    with pytest.raises(ValueError, match="has start"):
        SamplersExplorer().drag("end", 0.0, 0.0)

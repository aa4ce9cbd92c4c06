"""Joint embedding, live: both collapses and the way back, terms against plain torch, and the restart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ebm.show.explorers.embedding import WEIGHTS, EmbeddingExplorer
from ebm.show.explorers.scene import Bars, Dots, Line


def trained(explorer: EmbeddingExplorer, ticks: int) -> dict[str, float]:
    for _ in range(ticks):
        assert explorer.tick()
    return explorer.probe()


def test_each_term_forbids_its_collapse() -> None:
    """Invariance alone, then with variance, then with covariance: a point, a line, the plane."""
    explorer = EmbeddingExplorer(variance=0.0, covariance=0.0)
    point = trained(explorer, 25)
    assert point["collapsed"] == 1.0 and point["std"] < 0.01 and point["invariance"] < 1e-3
    explorer.set("variance", 25.0)
    line = trained(explorer, 40)
    assert line["collapsed"] == 1.0 and line["std"] > 0.9 and line["directions"] < 1.05
    assert line["covariance"] > 1
    explorer.set("covariance", 1.0)
    plane = trained(explorer, 60)
    assert plane["collapsed"] == 0.0 and plane["directions"] > 1.8 and plane["covariance"] < 0.3
    assert plane["steps"] == 1250


def test_the_terms_are_those_of_plain_torch() -> None:
    explorer = EmbeddingExplorer(seed=3)
    found = trained(explorer, 2)
    with torch.no_grad():
        z, w = (explorer.network(view) for view in explorer.views)
    hinges = [torch.relu(1 - (each.var(0) + 1e-4).sqrt()).mean() for each in (z, w)]
    covariances = [torch.cov(each.T)[0, 1] for each in (z, w)]
    assert found["invariance"] == pytest.approx(float((z - w).square().mean()), rel=1e-4)
    assert found["variance"] == pytest.approx(float(sum(hinges)) / 2, rel=1e-4, abs=1e-6)
    expected = sum(float(2 * c**2 / 2) for c in covariances)
    assert found["covariance"] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_scene_shows_every_code_the_terms_and_the_meter() -> None:
    explorer = EmbeddingExplorer(covariance=0.0)
    found = trained(explorer, 3)
    cloud, curves, meter = explorer.scene().panels
    assert sum(len(dots.points) for dots in cloud.of(Dots)) == len(explorer.unseen)
    lines = {line.label: line for line in curves.of(Line)}
    assert tuple(lines) == WEIGHTS and [lines[name].dashed for name in WEIGHTS] == [False, False, True]
    assert lines["invariance"].points[-1].tolist() == pytest.approx([30, np.log10(found["invariance"])])
    (bars,) = meter.of(Bars)
    assert bars.heights[2] == pytest.approx(found["directions"])
    assert bars.heights[:2].mean() == pytest.approx(found["std"], rel=1e-5)
    assert "After 30 steps" in explorer.scene().text


def test_restart_brings_back_the_first_scene_and_the_same_training() -> None:
    explorer = EmbeddingExplorer()
    first, later = explorer.probe(), trained(explorer, 2)
    explorer.press("restart")
    assert explorer.probe() == first and trained(explorer, 2) == later
    assert trained(EmbeddingExplorer(seed=1), 2) != later


def test_it_ends() -> None:
    explorer = EmbeddingExplorer()
    explorer.steps[-1] = 3990
    assert not explorer.tick() and not explorer.tick()
    assert explorer.probe()["steps"] == 4000


def test_errors_say_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"goes from 0\.0 to 50\.0; got 60"):
        EmbeddingExplorer(variance=60.0)
    with pytest.raises(ValueError, match="has invariance, variance, covariance"):
        EmbeddingExplorer().set("noise", 1.0)
    with pytest.raises(ValueError, match="no handle"):
        EmbeddingExplorer().drag("y", 0.0, 0.0)

"""The ellipse's explorer against closed sums, brute force, autograd and the library's free energies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ebm import marginal_over
from ebm.nodes import Finite
from ebm.show.explorers import Dots, EllipseExplorer, Handle, Heat, Line
from ebm.show.explorers.ellipse import PLANE, WEIGHTS, free_energy
from ebm.targets import Ellipse, ellipse_data


def energies(w1: float, w2: float, y: np.ndarray) -> np.ndarray:
    """|y - g(z)|² for 48 angles, by numpy, (48,)."""
    z = 2 * math.pi * np.arange(48) / 48
    return (y[0] - w1 * np.cos(z)) ** 2 + (y[1] - w2 * np.sin(z)) ** 2


def closed_sum(e: np.ndarray, beta: float) -> float:
    return float(e.min()) if math.isinf(beta) else float(-np.log(np.mean(np.exp(-beta * e))) / beta)


@pytest.mark.parametrize("beta", [0.05, 0.4, 3.0, 20.0])
def test_free_energies_are_the_closed_sums(beta: float) -> None:
    explorer = EllipseExplorer()
    for x, y, w1, w2 in ((0.0, 0.0, 2.0, 1.5), (1.3, -0.7, 0.3, 2.9), (-2.0, 2.2, 1.0, 0.0)):
        explorer.drag("y", x, y)
        explorer.set("w1", w1)
        explorer.set("w2", w2)
        explorer.set("beta", beta)
        found, e = explorer.probe(), energies(w1, w2, np.array([x, y]))
        assert found["beta"] == beta
        assert found["F_beta"] == pytest.approx(closed_sum(e, beta), rel=1e-12)
        assert found["F_inf"] == pytest.approx(e.min(), abs=1e-12) and found["F_0"] == pytest.approx(e.mean())
        assert found["z_star"] == pytest.approx(2 * math.pi * e.argmin() / 48)
        on_data = np.mean([closed_sum(energies(w1, w2, p), beta) for p in explorer.data.numpy()])
        assert found["on_data"] == pytest.approx(on_data, rel=1e-12)
        assert found["gap"] == pytest.approx(closed_sum(energies(w1, w2, np.zeros(2)), beta) - on_data)
        explorer.set("minimize", True)
        assert explorer.probe()["F_beta"] == pytest.approx(e.min(), abs=1e-12)


def test_vectorized_free_energy_agrees_with_the_library(generator: torch.Generator) -> None:
    weights = 3 * torch.rand(4, 2, dtype=torch.float64, generator=generator)
    y = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    angles = Ellipse().double().angles()[:, 0]
    for beta in (0.3, 7.0, math.inf):
        for w, row in zip(weights, free_energy(weights, y, angles, beta), strict=True):
            model = Ellipse(w)
            expected = marginal_over(model, "z", beta, by=Finite(model.angles()))(y=y)
            torch.testing.assert_close(row, expected.detach(), rtol=1e-12, atol=1e-12)


def test_heat_over_the_plane_is_the_free_energy_there() -> None:
    explorer = EllipseExplorer()
    explorer.set("beta", 1.7)
    plane, _, loss = explorer.scene().panels
    (heat,) = plane.of(Heat)
    rows, columns = heat.values.shape
    x0, x1, y0, y1 = PLANE
    for row, column in ((0, 0), (10, 50), (rows - 1, 3)):
        y = np.array([x0 + (x1 - x0) * column / (columns - 1), y0 + (y1 - y0) * row / (rows - 1)])
        assert heat.values[row, column] == pytest.approx(closed_sum(energies(2.0, 1.5, y), 1.7), rel=1e-5)
    (heat,) = loss.of(Heat)
    side = np.linspace(*WEIGHTS[:2], heat.values.shape[0])
    mean = np.mean([closed_sum(energies(side[20], side[7], p), 1.7) for p in explorer.data.numpy()])
    assert heat.values[7, 20] == pytest.approx(mean, rel=1e-5)


def test_training_collapses_below_the_critical_beta_and_only_there() -> None:
    explorer = EllipseExplorer(weights=(1.5, 1.2))
    critical = explorer.probe()["critical_beta"]
    assert critical == pytest.approx(1 / (2 * (explorer.data**2).mean(0).max().item()))
    for beta, lives in ((0.9 * critical, False), (1.2 * critical, True), (10.0, True)):
        explorer.press("restart")
        explorer.set("beta", beta)
        steps = 0
        while explorer.tick() and steps < 2000:
            steps += 1
        w1, w2 = explorer.probe()["w1"], explorer.probe()["w2"]
        assert (max(w1, w2) > 0.2) is lives and steps < 2000
        assert ("it has" in explorer.scene().text) is not lives
        scan = explorer.scene().panels[2].of(Heat)[0]  # trained to the lowest place of the landscape
        assert explorer.probe()["on_data"] <= scan.values.min() + 1e-4
    assert (w1, w2) == pytest.approx((2.0, 1.5), abs=0.15)  # at β = 10 a little small


def test_a_training_step_is_a_step_along_the_slope() -> None:
    explorer = EllipseExplorer(weights=(1.5, 1.2))
    explorer.set("beta", 2.0)
    h, base = 1e-5, np.array([1.5, 1.2])
    mean = lambda w: np.mean([closed_sum(energies(*w, p), 2.0) for p in explorer.data.numpy()])  # noqa: E731
    slope = [(mean(base + h * d) - mean(base - h * d)) / (2 * h) for d in np.eye(2)]
    assert explorer.tick() is True
    moved = np.array([explorer.probe()["w1"], explorer.probe()["w2"]]) - base
    assert moved == pytest.approx(-0.5 * np.array(slope), rel=1e-6)


def test_the_scene_shows_what_the_probe_says() -> None:
    explorer = EllipseExplorer()
    explorer.drag("y", -1.0, 0.4)
    plane, angle, _ = explorer.scene().panels
    found = explorer.probe()
    (handle,) = plane.of(Handle)
    assert (handle.x, handle.y) == (found["y1"], found["y2"]) == (-1.0, 0.4)
    nearest = plane.of(Dots)[1].points[0]
    assert ((nearest - [-1.0, 0.4]) ** 2).sum() == pytest.approx(found["F_inf"])
    curve = next(line for line in angle.of(Line) if line.label == "E(y, z)").points
    assert curve[:, 1].min() <= found["F_inf"] <= curve[:, 1].min() + 0.02
    assert np.allclose(plane.of(Dots)[0].points, explorer.data)


def test_handles_stay_on_their_panels_and_bad_input_is_refused() -> None:
    explorer = EllipseExplorer()
    explorer.drag("y", 99.0, -99.0)
    assert (explorer.probe()["y1"], explorer.probe()["y2"]) == (PLANE[1], PLANE[2])
    explorer.drag("w", -1.0, 9.0)
    assert (explorer.probe()["w1"], explorer.probe()["w2"]) == (0.0, 3.0)
    with pytest.raises(ValueError, match=r"goes from 0\.05 to 100\.0; got 1000"):
        explorer.set("beta", 1000.0)
    with pytest.raises(ValueError, match=r"points \(N, 2\), one at least; got \(3,\)"):
        EllipseExplorer(torch.zeros(3))


def test_own_data_can_be_brought() -> None:
    data = ellipse_data(40, (1.0, 2.5), 0.01, torch.Generator().manual_seed(1))
    explorer = EllipseExplorer(data, weights=(1.2, 1.8))
    while explorer.tick():
        pass
    assert (explorer.probe()["w1"], explorer.probe()["w2"]) == pytest.approx((1.0, 2.5), abs=0.05)

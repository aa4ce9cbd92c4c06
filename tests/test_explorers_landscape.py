"""The landscape explorer: its paths are minimize's traces, its fields the energies, its gallery sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ebm import Energy, energy, minimize
from ebm.infer import LBFGS, Adam, GradientDescent, Momentum, Newton
from ebm.show.explorers import Choice, Dots, Heat, Landscape, Line, Slider, Subject, descent, gallery
from ebm.show.explorers.descent import MAX_STEPS, METHODS, TOL, descend
from ebm.show.explorers.fields import heat, plane
from ebm.show.explorers.subjects import lasso, near_a_ring
from ebm.targets import Ellipse, Himmelblau, Target

START = (3.5, 0.5)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("gradient descent", GradientDescent(0.01)),
        ("momentum 0.9", Momentum(0.01)),
        ("Adam", Adam(0.01)),
        ("L-BFGS", LBFGS()),
        ("Newton", Newton()),
    ],
)
def test_the_path_is_the_trace_of_minimize(name: str, method) -> None:
    explorer = Landscape()
    explorer.set("method", name)
    explorer.drag("start", *START)
    start = torch.tensor([START], dtype=torch.float64)
    solution = minimize(Himmelblau().double(), start, method, max_steps=MAX_STEPS, tol=TOL, trace=True)
    points = solution.trace.value[: int(solution.steps) + 1, 0].numpy()
    (line,) = explorer.scene().panels[0].of(Line)
    np.testing.assert_array_equal(line.points, points)
    found = explorer.probe()
    assert found["steps"] == int(solution.steps) and found["converged"] == float(solution.converged)
    assert found["energy_start"] == Himmelblau().double()(y=start).item()
    assert found["energy_end"] == float(solution.trace.energy[len(points) - 1, 0])


def test_gradient_descent_is_the_update_by_hand() -> None:
    path = descend(Himmelblau().double(), "y", START, {}, "gradient descent", 0.005)
    (a, b), points = START, [START]
    for _ in range(5):
        p, q = a * a + b - 11, a + b * b - 7
        a, b = a - 0.005 * (4 * a * p + 2 * q), b - 0.005 * (2 * p + 4 * b * q)
        points.append((a, b))
    np.testing.assert_allclose(path.points[:6], points, rtol=1e-12)


def test_walking_shows_step_after_step() -> None:
    explorer = Landscape()
    last = explorer.probe()["steps"]
    assert explorer.probe()["shown"] == last > 3
    seen, more = [], True
    while more:
        more = explorer.tick()
        seen.append(explorer.probe()["shown"])
        path = explorer.scene().panels[0].of(Dots)[0].points
        assert len(path) == seen[-1] + 1 and tuple(path[-1]) == (explorer.probe()["x"], explorer.probe()["y"])
    assert seen == [float(k) for k in range(int(last) + 1)]
    explorer.set("shown", 2)
    assert explorer.probe()["energy"] < explorer.probe()["energy_start"]


@pytest.mark.parametrize("name", list(gallery()))
def test_every_subject_goes_with_every_method(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "MAX_STEPS", 25)  # whether they go together is seen by then
    explorer = Landscape({name: gallery()[name]})
    for method in METHODS:
        explorer.set("method", method)
        found, scene = explorer.probe(), explorer.scene()
        assert all(math.isfinite(v) for k, v in found.items() if k != "beta"), method
        field = scene.panels[0].of(Heat)[0]
        assert np.isfinite(field.values).all() and scene.text.endswith(".")
    explorer.set("method", "FISTA")
    assert explorer.probe()["energy_end"] <= explorer.probe()["energy_start"]


def test_the_field_is_the_energy_and_the_known_minimum_is_its_lowest() -> None:
    for name, subject in gallery().items():
        explorer = Landscape({name: subject})
        field = explorer.scene().panels[0].of(Heat)[0].values
        rows = plane(subject.extent, field.shape[1], field.shape[0], subject.dtype)
        given = (
            {}
            if subject.observed is None
            else {"x": torch.tensor([subject.seen], dtype=torch.float64).expand(len(rows), 2)}
        )
        expected = explorer.free_energy()(y=rows, **given).detach().numpy().reshape(field.shape)
        np.testing.assert_allclose(field, expected, rtol=1e-9, atol=1e-9)
        if isinstance(subject.energy, Target):
            assert field.min() >= subject.energy.minimum - 1e-9


def test_the_observation_is_given_and_moves_the_minimum() -> None:
    explorer = Landscape(Subject(near_a_ring, (-4, 4, -4, 4), observed="x", step_size=0.1))
    explorer.set("method", "Newton")
    explorer.drag("start", 1.0, 1.0)
    for x in ((3.0, 0.5), (-1.0, 2.0)):
        explorer.drag("seen", *x)
        found = explorer.probe()
        # by symmetry y lies on the ray of x, where (r - |x|)² + 2 (r - 2)² is least at r = (|x| + 4) / 3
        size = math.hypot(*x)
        expected = tuple(v * (size + 4) / (3 * size) for v in x)
        assert (found["end_x"], found["end_y"]) == pytest.approx(expected, abs=1e-6)
        assert (found["seen_x"], found["seen_y"]) == x


@pytest.mark.parametrize("beta", [0.05, 1.0, 30.0])
def test_beta_slides_the_free_energy_from_the_minimum_to_the_mean(beta: float) -> None:
    ellipse = Ellipse().double()
    explorer = Landscape(Subject(ellipse, (-3, 3, -3, 3), latent="z", nodes=ellipse.angles(48)))
    explorer.drag("start", 1.0, 0.7)
    e = ((1.0 - 2.0 * np.cos(z := ellipse.angles(48).numpy())) ** 2 + (0.7 - 1.5 * np.sin(z)) ** 2)[:, 0]
    assert explorer.probe()["beta"] == math.inf
    assert explorer.probe()["energy_start"] == pytest.approx(e.min())
    explorer.set("beta", beta)
    assert explorer.probe()["energy_start"] == pytest.approx(-np.log(np.mean(np.exp(-beta * e))) / beta)
    assert e.min() <= explorer.probe()["energy_start"] <= e.mean()
    explorer.set("minimize", True)
    assert explorer.probe()["energy_start"] == pytest.approx(e.min())


def test_the_proximal_method_finds_an_exact_zero_where_descent_does_not() -> None:
    name = "sparse: a smooth bowl plus |y|₁"
    explorer = Landscape({name: gallery()[name]})
    explorer.set("method", "proximal gradient")
    # with y_2 = 0 the slope in y_1 is y_1 - 1.5 + 0.5, zero at 1; that in y_2, 0.5 · 1 - 0.4, is below 0.5
    assert (explorer.probe()["end_x"], explorer.probe()["end_y"]) == (pytest.approx(1.0, abs=1e-6), 0.0)
    assert lasso(y=torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.5 * 0.25 + 0.5 * 0.16)
    explorer.set("method", "gradient descent")
    assert explorer.probe()["end_y"] != 0.0


def test_controls_follow_the_subject_and_the_method() -> None:
    explorer = Landscape()
    names = lambda: [c.name for c in explorer.controls()]  # noqa: E731
    assert names() == ["energy", "method", "step_size", "shown"] and explorer.handles == ("start",)
    explorer.set("method", "Newton")
    assert names() == ["energy", "method", "shown"]
    explorer.set("energy", "latent prototypes: F over three z")
    assert names() == ["energy", "method", "minimize", "beta", "shown"]
    explorer.set("energy", "observed x: near x and near a ring")
    assert explorer.handles == ("start", "seen")
    assert isinstance(explorer.controls()[0], Choice) and isinstance(explorer.controls()[-1], Slider)


def test_a_step_that_is_too_large_is_said_to_be() -> None:
    explorer = Landscape()
    explorer.set("step_size", 1.0)
    assert "too large" in explorer.scene().text and explorer.probe()["converged"] == 0.0


def test_a_trained_network_in_single_precision_can_be_shown() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))

    class Net(Energy):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, v):
            return self.network(v)[:, 0] + 0.1 * v.square().sum(1)

    explorer = Landscape(Subject(Net(), (-3, 3, -3, 3), over="v"))
    explorer.set("method", "L-BFGS")
    assert explorer.probe()["energy_end"] < explorer.probe()["energy_start"]
    assert all(p.grad is None for p in network.parameters())


def test_what_does_not_fit_is_refused() -> None:
    @energy
    def two(x, y):
        return ((x - y) ** 2).sum(1)

    with pytest.raises(TypeError, match=r"energy of y and nothing else; two is one of x, y"):
        Subject(two, (-1, 1, -1, 1))
    with pytest.raises(ValueError, match="a latent comes with its nodes"):
        Subject(two, (-1, 1, -1, 1), latent="x")
    with pytest.raises(TypeError, match=r"looks at Subject\(energy, extent\)"):
        Landscape({"two": two})
    with pytest.raises(ValueError, match="needs a subject"):
        Landscape({})


def test_heat_leaves_out_what_is_not_finite() -> None:
    field = heat(np.array([[0.0, 1.0], [np.inf, np.nan]]), "energy", 1.0)
    assert (field.low, field.high) == (0.0, 1.0)
    flat = heat(np.full((2, 2), 3.0), "energy")
    assert flat.low == 3.0 < flat.high
    nothing = heat(np.full((2, 2), np.nan), "energy")
    assert (nothing.low, nothing.high) == (0.0, 1.0)

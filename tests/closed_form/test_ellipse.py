"""The ellipse trained on its free energies: when it collapses, when it opens, what it fits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from ebm import marginal_over, min_over
from ebm.infer import Enumerate
from ebm.infer.starts import Zeros
from ebm.nodes import Finite
from ebm.targets import Ellipse, ellipse_data

DATA_SEED = 0


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def data() -> Tensor:
    return ellipse_data(24, generator=torch.Generator().manual_seed(DATA_SEED))


def trained(beta: float, y: Tensor, start: tuple[float, float]) -> Tensor:
    """argmin_w ⟨F_β(y)⟩ from a start, (2,)."""
    model = Ellipse(start)
    free = marginal_over(model, "z", beta, by=Finite(model.angles(48)))
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = free(y=y).mean()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return model.weights.detach().abs()


def test_critical_beta_of_course_is_near_0_23():
    # 2 max_i <y_i²> = 4 + 2 * 0.05² in the mean over samples; 24 points scatter about it
    assert Ellipse.critical_beta(data()) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("start", [(0.3, 0.2), (2.0, 1.5)])
def test_collapses_to_exactly_zero_below_the_critical_beta(start):
    y = data()
    assert trained(0.97 * Ellipse.critical_beta(y), y, start).max() < 1e-4


def test_opens_to_a_segment_just_above_the_critical_beta():
    y = data()
    w = trained(1.05 * Ellipse.critical_beta(y), y, (0.3, 0.2))
    axis = int(y.square().mean(0).argmax())
    assert w[axis] > 0.1
    assert w[1 - axis] < 1e-4


def test_opens_to_an_ellipse_between_040_and_045():
    # the second axis opens when the curvature in it turns negative at the segment; over the whole curve, not
    # 24 points, so that the threshold is that of the model and not of one sample
    t = 2 * math.pi * (torch.arange(400) + 0.5) / 400
    y = torch.stack([2 * t.cos(), 1.5 * t.sin()], 1)
    assert trained(0.40, y, (1.0, 0.5)).min() < 1e-3
    assert trained(0.45, y, (1.0, 0.5)).min() > 0.1


def test_fits_the_ellipse_at_infinite_beta():
    w = trained(math.inf, data(), (1.0, 1.2))
    # 24 points of noise 0.05 leave a standard error of about 0.05 / sqrt(12) = 0.015 in each axis
    assert torch.allclose(w, torch.tensor([2.0, 1.5]), atol=4 * 0.05 / math.sqrt(12))


def test_free_energy_at_the_center_is_the_smaller_axis_squared():
    model = Ellipse()
    free = min_over(model, "z", Enumerate(model.angles(48)), Zeros(1))
    assert free(y=torch.zeros(1, 2)).item() == pytest.approx(2.25, abs=1e-12)


def test_free_energies_rise_from_the_minimum_to_the_mean_as_beta_falls():
    model, y = Ellipse(), data()
    values = [
        marginal_over(model, "z", b, by=Finite(model.angles(48)))(y=y).detach()
        for b in (math.inf, 4.0, 1.0, 0.1, 0.0)
    ]
    for colder, warmer in itertools.pairwise(values):
        assert (colder <= warmer + 1e-12).all()
    assert torch.allclose(values[-1], model.mean_energy(y).detach())


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_free_energy_at_the_center_equals_its_bessel_form(beta):
    model = Ellipse()
    free = marginal_over(model, "z", beta, by=Finite(model.angles(48)))
    assert free(y=torch.zeros(1, 2)).item() == pytest.approx(
        float(model.free_energy_at_center(beta).detach()), abs=1e-12
    )

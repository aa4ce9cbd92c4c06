"""MPPI: the weights of its formula, what they are worth, and the posterior mean that they estimate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import MPPI
from ebm.infer.pose import pose
from ebm.regularizers import Box


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@energy
def bowl(y, center):
    return ((y - center) ** 2).flatten(1).sum(1)


@energy
def steep(y, slope):
    return slope * y[:, 0]


def one_step(method: MPPI, energy_, u: Tensor, given=None, seed: int = 0, **more):
    problem, u = pose(
        energy_, u if isinstance(u, dict) else {"y": u}, given or {}, generator=seeded(seed), **more
    )
    return method.step(problem, method.init(problem, u))


def noise(batch: int, samples: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.empty(batch, samples, *shape, dtype=torch.float64).normal_(generator=seeded(seed))


@pytest.mark.parametrize(("gap", "temperature", "weight"), [(1.0, 0.5, 0.88079708), (2.0, 4.0, 0.62245933)])
def test_two_tries_are_weighed_by_the_logistic_function_of_their_gap(gap, temperature, weight):
    """w = σ(Δ/λ): a temperature divides."""
    tries = noise(1, 2, 1)[0, :, 0]
    slope = torch.tensor([gap / float((tries[0] - tries[1]).abs())], dtype=torch.float64)
    state = one_step(MPPI(2, temperature), steep, zeros(1, 1), {"slope": slope})
    low, high = tries.sort().values
    assert weight == pytest.approx(1 / (1 + math.exp(-gap / temperature)), abs=1e-8)
    assert float(state["u"]) == pytest.approx(float(weight * low + (1 - weight) * high), rel=1e-7)
    size = 1 / (weight**2 + (1 - weight) ** 2)
    assert float(state["effective_sample_size"]) == pytest.approx(size, rel=1e-7)


def test_equal_energies_weigh_the_same_and_a_constant_changes_nothing():
    @energy
    def flat(y):
        return zeros(len(y))

    state = one_step(MPPI(7, 0.3), flat, zeros(2, 3))
    torch.testing.assert_close(state["u"], noise(2, 7, 3).mean(1))
    torch.testing.assert_close(state["effective_sample_size"], zeros(2) + 7)

    @energy
    def lifted(y, center):
        return bowl(y=y, center=center) + 1e4

    given = {"center": zeros(2, 3) + 1}
    low, high = (one_step(MPPI(7, 0.3), e, zeros(2, 3), given) for e in (bowl, lifted))
    torch.testing.assert_close(low["u"], high["u"], rtol=1e-9, atol=1e-9)


def test_weights_by_rows_with_the_coupling_and_in_bounds():
    """S = E(v) + c λ uᵀ Σ⁻¹ ε with the ε that is left in the bounds; λ and Σ of each row."""
    batch, samples, c = 3, 20, 0.7
    u = torch.randn(batch, 4, 2, dtype=torch.float64, generator=seeded(5)).clamp(-1, 1)
    center = torch.randn(batch, 4, 2, dtype=torch.float64, generator=seeded(6))
    temperature = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    std = torch.tensor([0.3, 0.8], dtype=torch.float64).expand(4, 2)
    method = MPPI(samples, temperature, std=std, coupling=c)
    state = one_step(method, bowl + Box("y", -1.0, 1.0), u, {"center": center})
    draws = noise(batch, samples, 4, 2)
    for row in range(batch):
        tries = (u[row] + std * draws[row]).clamp(-1, 1)
        left = tries - u[row]
        score = ((tries - center[row]) ** 2).sum((1, 2))
        score = score + c * temperature[row] * (u[row] / std**2 * left).sum((1, 2))
        weight = torch.exp(-(score - score.min()) / temperature[row])
        weight = weight / weight.sum()
        expected = u[row] + (weight[:, None, None] * left).sum(0)
        torch.testing.assert_close(state["u"][row], expected, rtol=1e-10, atol=1e-12)
        size = 1 / (weight**2).sum()
        torch.testing.assert_close(state["effective_sample_size"][row], size)


def test_the_average_is_the_mean_of_the_tempered_posterior():
    """Prior N(u, σ²), energy (y - c)²: the posterior's mean is u + (c - u) σ² / (σ² + λ/2)."""
    u, c, std, temperature, samples, rows = 0.2, 1.0, 0.7, 0.6, 2000, 200
    center = zeros(rows, 1) + c
    state = one_step(MPPI(samples, temperature, std=std), bowl, zeros(rows, 1) + u, {"center": center})
    expected = u + (c - u) * std**2 / (std**2 + temperature / 2)
    found = state["u"].flatten()
    error = float(found.std()) / math.sqrt(rows)
    assert abs(float(found.mean()) - expected) < 4 * error + 2 / samples  # and a bias of order 1/N


def test_the_price_of_actions_of_the_original_algorithm_halves_the_way_to_a_flat_minimum():
    """With E = 0 and c = 1 the tries come from N(u, Σ) and are weighed back to N(0, Σ), whose mean is 0."""

    @energy
    def flat(y):
        return zeros(len(y))

    state = one_step(MPPI(4000, 0.8, std=0.5, coupling=1.0), flat, zeros(100, 1) + 0.3)
    found = state["u"].flatten()
    assert abs(float(found.mean())) < 4 * float(found.std()) / 10 + 2 / 4000


def test_tries_that_are_not_finite_weigh_nothing():
    @energy
    def holes(y):
        cost = (y**2).sum(1)
        cost = torch.where(y[:, 0] > 0.5, torch.nan, cost)
        return torch.where(y[:, 1] > 0.5, torch.inf, torch.where(y[:, 1] < -0.5, -torch.inf, cost))

    state = one_step(MPPI(50, 0.5), holes, zeros(1, 2))
    tries = noise(1, 50, 2)[0]
    good = tries[(tries[:, 0] <= 0.5) & (tries[:, 1].abs() <= 0.5)]
    weight = torch.softmax(-(good**2).sum(1) / 0.5, 0)
    assert 3 < len(good) < 45
    torch.testing.assert_close(state["u"][0], (weight[:, None] * good).sum(0))


def test_an_average_that_falls_between_two_valleys_gives_way_to_the_best_try():
    @energy
    def ridge(y):  # NaN between two valleys at ±1
        return torch.where(y[:, 0].abs() < 0.5, torch.nan, (y[:, 0].abs() - 1) ** 2)

    state = one_step(MPPI(500, 10.0), ridge, zeros(1, 1))
    tries = noise(1, 500, 1)[0]
    best = tries[(tries[:, 0].abs() - 1).abs().argmin()]
    torch.testing.assert_close(state["u"][0], best)
    assert bool(state["value"].isfinite())


def test_only_what_violates_least_weighs():
    @energy
    def wall(y):
        return 0.5 - y[:, 0]

    state = one_step(MPPI(50, 0.5), bowl, zeros(1, 2), {"center": zeros(1, 2)}, subject_to=[wall])
    tries = noise(1, 50, 2)[0]
    allowed = tries[tries[:, 0] >= 0.5]
    weight = torch.softmax(-(allowed**2).sum(1) / 0.5, 0)
    torch.testing.assert_close(state["u"][0], (weight[:, None] * allowed).sum(0))
    assert state["violation"].tolist() == [0.0]


def test_the_report_reaches_the_user_for_every_row():
    center = zeros(6, 2) + torch.arange(6, dtype=torch.float64)[:, None]
    found = minimize(
        bowl, {"y": zeros(6, 2)}, MPPI(100, 0.5), given={"center": center}, max_steps=4, generator=seeded()
    )
    size = found.report["effective_sample_size"]
    assert size.shape == (6,) and bool((size >= 1).all()) and bool((size <= 100).all())
    none = minimize(bowl, {"y": zeros(6, 2)}, MPPI(10), given={"center": center}, max_steps=0)
    assert bool(none.report["effective_sample_size"].isnan().all())


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: MPPI(0), "num_samples must be"),
        (lambda: MPPI(temperature=0.0), "temperature must be"),
        (lambda: MPPI(coupling=2.0), "coupling is a share"),
        (lambda: MPPI(coupling=1.0, exponent=2.0), "Leave one of them 0"),
        (lambda: MPPI(shrink=0.0), "shrink multiplies"),
    ],
)
def test_settings_out_of_range_are_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()

"""The collapse report against integrals over the box; its verdicts on energies of which one knows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

from ebm import Energy, energy
from ebm.contrastive import Gaussian
from ebm.measure.collapse import BOX, CORRUPTED, SHUFFLED, CollapseReport, collapse_report

DOUBLE = torch.float64
HALF = 3.0  # the box is [-HALF, HALF] in every direction


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


@energy
def bowl(y: Tensor) -> Tensor:
    return 0.5 * y.square().flatten(1).sum(1)


def grid(dim: int) -> Tensor:
    """Data of mean 0, most of them near it, that reach to the corners of the box."""
    line = torch.linspace(-1, 1, 40 if dim == 1 else 8, dtype=DOUBLE)
    line = HALF * line.sign() * line.abs() ** 3
    return torch.cartesian_prod(*[line] * dim).view(-1, dim)


def near(values: list[float], exact: float, name: str) -> None:
    """Independent estimates of `exact`: their mean is within 4 of its standard errors."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    assert abs(np.mean(values) - exact) <= 4 * error, f"{name}: {np.mean(values)} ± {error}, not {exact}"
    assert error < 0.02 * max(abs(exact), 0.5), name  # so the bound says something


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_numbers_of_a_gaussian_energy(dim: int, beta: float) -> None:
    y = grid(dim)
    reports = [collapse_report(bowl, y, beta=beta, points=8000, generator=seeded(s)) for s in range(25)]
    one = reports[0]
    on, s = bowl(y=y).numpy(), float(y[:, 0].std())
    assert one.mean == pytest.approx(on.mean()) and one.std == pytest.approx(on.std(ddof=1))
    assert one.quantile == pytest.approx(np.quantile(on, 0.95)) and (one.beta, one.points) == (beta, 8000)

    def check(name: str, number: Callable[[CollapseReport], float], exact: float) -> None:
        near([number(report) for report in reports], exact, name)

    a, radius = HALF, math.sqrt(2 * one.quantile)
    check("spread", lambda r: r.spread, beta * a**2 * math.sqrt(dim / 45))
    distance = {1: 0.5, 2: (math.sqrt(2) + math.asinh(1)) / 3}[dim] * a  # mean |y| over the box
    check("slope", lambda r: r.slope, beta * s * distance)
    low = 2 * min(radius, a) if dim == 1 else disc_in_square(radius, a)
    check("low volume", lambda r: r.low_volume, low / (2 * a) ** dim)
    entropy = dim * scipy.stats.truncnorm(-a * beta**0.5, a * beta**0.5, scale=beta**-0.5).entropy()
    check("likely volume", lambda r: r.likely_volume, math.exp(entropy) / (2 * a) ** dim)
    if beta == 4:  # where the walls are far, exp(H) = √(2πe / β) in every direction
        assert math.exp(entropy) == pytest.approx((2 * math.pi * math.e / beta) ** (dim / 2), rel=1e-6)
    check("gap to the box", lambda r: r.off_data[BOX].gap, dim * a**2 / 6 - one.mean)
    noise = float(y[:, 0].var(correction=0))  # of rows drawn from y: their own variance, on average this
    check("gap to corrupted data", lambda r: r.off_data[CORRUPTED].gap, dim * noise / 2)
    check("gap to shuffled data", lambda r: r.off_data[SHUFFLED].gap, 0.0)  # E adds up over coordinates


def disc_in_square(radius: float, half: float) -> float:
    """The area that a disc and the square [-half, half]² have in common."""
    x = np.linspace(0, min(radius, half), 100_001)
    return float(4 * scipy.integrate.trapezoid(np.minimum(np.sqrt(radius**2 - x**2), half), x))


def test_shuffling_costs_what_the_coordinates_had_in_common() -> None:
    """E = ½ (y_1 - y_2)²: to shuffle adds the covariance to its mean."""
    y = draw(400, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.4]], dtype=DOUBLE)
    spring = energy(lambda y: 0.5 * (y[:, 0] - y[:, 1]) ** 2)
    gaps = [
        collapse_report(spring, y, points=4000, generator=seeded(i)).off_data[SHUFFLED].gap for i in range(20)
    ]
    near(gaps, float(np.cov(y.T.numpy(), ddof=0)[0, 1]), "shuffled")


def test_points_keep_what_is_given_with_their_row() -> None:
    """E = |y - x|² with x = y on the data; noise of variance v costs v, whichever row it falls on."""
    spring, y = energy(lambda x, y: (y - x).square().sum(1)), 10 * draw(300, 2)
    corrupt = Gaussian(0.5)
    reports = [
        collapse_report(
            spring, y, given={"x": y}, corruption=corrupt, off_data={"moved": y + 1}, generator=seeded(i)
        )
        for i in range(20)
    ]
    near([report.off_data[CORRUPTED].gap for report in reports], 2 * 0.25, "corrupted")
    assert reports[0].off_data["moved"].gap == pytest.approx(2) and reports[0].mean == 0
    assert list(reports[0].off_data) == [BOX, SHUFFLED, CORRUPTED, "moved"]
    swapped = collapse_report(
        spring, y, given={"y": y}, variable="x", corruption=corrupt, generator=seeded(0)
    )
    assert swapped.off_data[CORRUPTED].gap == pytest.approx(reports[0].off_data[CORRUPTED].gap)


def test_the_dial_from_alive_to_flat() -> None:
    """E_t = t E: differences scale with t, ranks do not change, and p ∝ exp(-E_t) is that of β = t."""
    y = grid(2)
    full = collapse_report(bowl, y, generator=seeded())
    likely = []
    for t in (1.0, 0.5, 0.001, 0.0):
        report = collapse_report(t * bowl, y, generator=seeded())
        for name in ("mean", "std", "quantile", "spread", "slope"):
            assert getattr(report, name) == pytest.approx(t * getattr(full, name), rel=1e-9), name
        for name, points in report.off_data.items():
            assert points.gap == pytest.approx(t * full.off_data[name].gap, rel=1e-9)
            assert points.auroc == (full.off_data[name].auroc if t else 0.5)
        assert report.low_volume == (full.low_volume if t else 1.0)
        if t:
            colder = collapse_report(bowl, y, beta=t, generator=seeded())
            assert colder.likely_volume == pytest.approx(report.likely_volume)
            assert colder.verdict == report.verdict
            assert colder.spread == pytest.approx(report.spread) and colder.mean == full.mean
        likely.append(report.likely_volume)
        assert (report.verdict == "flat energy") == (t < 0.1)
    assert likely == sorted(likely) and likely[-1] == pytest.approx(1.0)


VERDICTS: dict[str, tuple[Energy, str]] = {
    "flat": (energy(lambda y: 5.0 + 0 * y.sum(1)), "flat energy"),
    "without a gradient": (energy(lambda y: torch.zeros(len(y), dtype=y.dtype)), "flat energy"),
    "upside down": (-bowl, "upside down"),
    "blind": (energy(lambda y: 10 * (40 * y.sum(1)).sin()), "blind"),
    "coordinates": (bowl, f"alive, but takes {SHUFFLED} for data"),
    "alive": (energy(lambda y: bowl(y=y) + 20 * (y[:, 0] - y[:, 1]) ** 2), "alive"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name: str) -> None:
    model, verdict = VERDICTS[name]
    y = draw(600, 1).expand(600, 2) if name == "alive" else draw(600, 2)
    report = collapse_report(model, 0.7 * y, generator=seeded())
    assert report.verdict == verdict, report
    assert str(report).endswith(f"verdict: {verdict}") and all(n in str(report) for n in report.off_data)
    torch.manual_seed(1)  # all randomness comes from the generator
    assert collapse_report(model, 0.7 * y, generator=seeded()) == report


def test_the_numbers_are_json_even_where_they_are_infinite() -> None:
    step = energy(lambda y: (y[:, 0] > 10).to(y))
    y = draw(50, 2)
    report = collapse_report(step, y, off_data={"far": y + 100}, generator=seeded())
    assert report.off_data["far"].standardized_gap == math.inf
    text = json.dumps(report.numbers(), allow_nan=False)
    numbers = json.loads(text)
    assert numbers["off_data"]["far"]["standardized_gap"] is None and numbers["verdict"] == report.verdict
    assert numbers["off_data"]["far"]["gap"] == 1 and numbers["points"] == 2000


def test_bad_input_is_told() -> None:
    y = draw(5, 2)
    for bad in (y[:1], y.long()):
        with pytest.raises(ValueError, match="at least 2 rows of floating-point data; got"):
            collapse_report(bowl, bad)
    for settings in ({"beta": 0.0}, {"beta": math.inf}, {"beta": math.nan}, {"points": 1}):
        with pytest.raises(ValueError, match="beta must be positive and finite, points at least 2; got"):
            collapse_report(bowl, y, **settings)
    with pytest.raises(ValueError, match="NaN or infinite at 5 of 5 points"):
        collapse_report(energy(lambda y: y.sum(1) * math.nan), y)
    with pytest.raises(TypeError, match="'x' is missing"):
        collapse_report(energy(lambda x, y: (x - y).sum(1)), y)

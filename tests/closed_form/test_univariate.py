"""Statistics of samples that are small for N(0, 1), each against closed forms of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import CramerVonMises, EppsPulley, Moments, Quantiles, UnivariateTest

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=DOUBLE)[:, None]


# --- the characteristic function ----------------------------------------------------------------------------


def whole_line(x: Tensor) -> Tensor:
    """T on the whole line without quadrature, term by term of |φ_N - φ|² e^(-t²/2)."""
    n = len(x)
    pairs = torch.exp(-((x[:, None] - x[None]) ** 2) / 2).mean((0, 1))
    single = torch.exp(-(x**2) / 4).mean(0)
    return n * (math.sqrt(2 * math.pi) * pairs - 2 * math.sqrt(math.pi) * single + math.sqrt(2 * math.pi / 3))


def by_quadrature(x: Tensor, knots: np.ndarray, weights: np.ndarray) -> Tensor:
    """T = N Σ_k w_k |φ_N(t_k) - e^(-t_k²/2)|² e^(-t_k²/2), every knot and both signs written out."""
    total = torch.zeros(x.shape[1], dtype=DOUBLE)
    for t, w in zip(knots.tolist(), weights.tolist(), strict=True):
        phi = torch.exp(1j * t * x).mean(0)
        total = total + w * math.exp(-t * t / 2) * (phi - math.exp(-t * t / 2)).abs() ** 2
    return len(x) * total


def trapezoid(low: float, high: float, number: int) -> tuple[np.ndarray, np.ndarray]:
    knots = np.linspace(low, high, number)
    weights = np.full(number, knots[1] - knots[0])
    weights[[0, -1]] /= 2
    return knots, weights


VERSIONS: dict[str, tuple[EppsPulley, tuple[np.ndarray, np.ndarray]]] = {
    "official package": (EppsPulley(), trapezoid(-3, 3, 33)),
    "paper's algorithm 1": (EppsPulley(17, 5.0, half_line=False), trapezoid(-5, 5, 17)),
    "EB-JEPA, with N": (EppsPulley(10, 3.0, half_line=False), trapezoid(-3, 3, 10)),
    "two knots": (EppsPulley(2, 1.5, half_line=False), trapezoid(-1.5, 1.5, 2)),
    "three knots": (EppsPulley(2, 1.5), trapezoid(-1.5, 1.5, 3)),
}


def value_and_gradient(statistic: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    value = statistic(leaf)
    weights = torch.linspace(0.5, 2, len(value), dtype=DOUBLE)  # another gradient for each column
    return value.detach(), torch.autograd.grad((value * weights).sum(), leaf)[0]


@pytest.mark.parametrize("name", VERSIONS)
def test_epps_pulley_is_its_quadrature(name: str) -> None:
    statistic, (knots, weights) = VERSIONS[name]
    x = 1.7 * draw(9, 4) + 0.3
    came = value_and_gradient(statistic, x)
    expected = value_and_gradient(lambda x: by_quadrature(x, knots, weights), x)
    for a, b in zip(came, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_epps_pulley_with_many_knots_is_the_integral() -> None:
    x = 1.7 * draw(9, 4) + 0.3
    for a, b in zip(
        value_and_gradient(EppsPulley(120, 12.0), x), value_and_gradient(whole_line, x), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("statistic", "zeros", "ones"),
    [
        (EppsPulley(times_n=False), 0.40204758, 0.10282962),
        (EppsPulley(17, 5.0, half_line=False, times_n=False), 0.40892072, None),
        (EppsPulley(120, 12.0, times_n=False), 0.40892308, 0.10935738),
    ],
)
def test_epps_pulley_of_simple_samples(statistic: EppsPulley, zeros: float, ones: float | None) -> None:
    assert float(statistic(column(0, 0, 0))) == pytest.approx(zeros, abs=1e-8)
    if ones is not None:
        assert float(statistic(column(1, -1))) == pytest.approx(ones, abs=1e-8)


def test_the_factor_n_is_that_of_a_test_statistic() -> None:
    """It grows as N where the sample collapsed, and stays as it is where there is nothing to find."""
    x = draw(12, 3)
    for one, other in ((EppsPulley(), EppsPulley(times_n=False)), (CramerVonMises(), CramerVonMises(False))):
        torch.testing.assert_close(one(x), 12 * other(x), rtol=1e-12, atol=0)


MEANS = {
    "EppsPulley, [0, 3]": (EppsPulley(), 1.05246415),
    "EppsPulley, [-5, 5]": (EppsPulley(17, 5.0, half_line=False), 1.05942312),
    "EppsPulley, the line": (EppsPulley(120, 12.0), math.sqrt(2 * math.pi) - math.sqrt(2 * math.pi / 3)),
    "CramerVonMises": (CramerVonMises(), 1 / 6),
}


@pytest.mark.parametrize("rows", [2, 50])
@pytest.mark.parametrize("name", MEANS)
def test_means_over_normal_samples_do_not_depend_on_n(name: str, rows: int) -> None:
    statistic, mean = MEANS[name]
    found = statistic(draw(rows, 10_000))
    assert abs(float(found.mean()) - mean) < 4 * float(found.std()) / 100


# --- the others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 30])
def test_cramer_von_mises_is_scipys(rows: int) -> None:
    x = 1.4 * draw(rows, 3) - 0.2
    expected = [scipy.stats.cramervonmises(sample, "norm").statistic for sample in x.T.numpy()]
    torch.testing.assert_close(CramerVonMises()(x), torch.tensor(expected), rtol=1e-11, atol=1e-12)
    zeros = CramerVonMises()(torch.zeros(rows, 1, dtype=DOUBLE))
    assert float(zeros) == pytest.approx(rows / 12, rel=1e-12)  # N (∫₀^½ u² du + ∫_½^1 (1-u)² du)


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_moments(most: int) -> None:
    x = draw(11, 3)
    normal = [scipy.stats.norm.moment(k) for k in range(most + 1)]
    expected = x.mean(0).abs()
    for k in range(2, most + 1):
        expected = expected + math.exp(-k) * ((x**k).mean(0) - normal[k]).abs()
    torch.testing.assert_close(Moments(most)(x), expected, rtol=1e-12, atol=1e-13)
    if most == 4:
        assert float(Moments()(column(1, -1))) == pytest.approx(2 * math.exp(-4), rel=1e-12)
        assert float(Moments()(column(0, 0))) == pytest.approx(math.exp(-2) + 3 * math.exp(-4), rel=1e-12)


def test_quantiles() -> None:
    q = [0.13971030, 0.43072730, 0.76470967, 1.22064035]
    sample = column(*q, *(-x for x in q))
    assert float(Quantiles()(sample[torch.randperm(8, generator=torch.Generator().manual_seed(1))])) < 1e-15
    assert float(Quantiles()(torch.zeros(8, 1, dtype=DOUBLE))) == pytest.approx(0.56994718, abs=1e-8)
    assert float(Quantiles()(sample + 0.5)) == pytest.approx(0.25, abs=1e-7)


TESTS: list[UnivariateTest] = [EppsPulley(), CramerVonMises(), Moments(), Quantiles()]


@given(seed=st.integers(0, 10**6), rows=st.integers(2, 20), which=st.integers(0, len(TESTS) - 1))
def test_order_and_sign_of_a_sample_do_not_matter(seed: int, rows: int, which: int) -> None:
    x, statistic = draw(rows, 3, seed=seed), TESTS[which]
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(statistic(x[order]), statistic(x), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(statistic(-x), statistic(x), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(statistic(x)[:1], statistic(x[:, :1]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("statistic", TESTS, ids=lambda t: type(t).__name__)
def test_gradients_are_those_of_finite_differences(statistic: UnivariateTest) -> None:
    assert torch.autograd.gradcheck(statistic, (draw(7, 3).requires_grad_(),), check_undefined_grad=False)


def test_epps_pulley_refuses_second_derivatives() -> None:
    """Its gradient is a closed form: without a graph, but never taken for a constant."""
    x = draw(7, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(EppsPulley()(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="Characteristic has no second derivatives"):
        gradient.sum().backward()

"""Chains and draws against numpy's correlations and histograms and against exact densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ebm import energy
from ebm.measure import ess, rhat
from ebm.show import autocorrelation, draws_histogram, trace_plot
from ebm.show.style import COLORS


def flat() -> Axes:
    return Figure().subplots()


def remembering(rho: float, draws: int = 400, chains: int = 3) -> torch.Tensor:
    """x ← ρ x + ξ, (N, B)."""
    noise = torch.randn(draws, chains, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = [noise[0] / (1 - rho**2) ** 0.5]
    for each in noise[1:]:
        x.append(rho * x[-1] + each)
    return torch.stack(x)


def test_traces_are_the_chains() -> None:
    draws, ax = remembering(0.5, chains=9), flat()
    assert trace_plot(draws, ax, label="energy") is ax
    assert len(ax.lines) == len(COLORS)
    for chain, line in zip(draws.T, ax.lines, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), chain.numpy())
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 401))
    words = f"R-hat {float(rhat(draws)):.2f}, {float(ess(draws)):.0f} effective draws of 3600"
    assert ax.get_title() == words and (ax.get_xlabel(), ax.get_ylabel()) == ("draw", "energy")
    assert len(trace_plot(draws, flat(), chains=2).lines) == 2


def test_autocorrelations_are_numpys() -> None:
    draws, ax = {"slow": remembering(0.9), "fast": remembering(0.2)}, flat()
    assert autocorrelation(draws, ax, lags=20) is ax
    for (name, each), line in zip(draws.items(), ax.lines, strict=False):
        centered = each.numpy() - each.numpy().mean(0)
        summed = sum(np.correlate(chain, chain, "full")[399:420] for chain in centered.T)
        np.testing.assert_allclose(line.get_ydata(), summed / summed[0], atol=1e-12)
        assert line.get_label() == f"{name}: {float(ess(each)) / 1200:.1%} independent"
    # of 1200 draws with this memory ρ_1 has a standard error of about √((1 - ρ²) / 1200)
    for line, rho in zip(ax.lines, (0.9, 0.2), strict=False):
        assert abs(float(line.get_ydata()[1]) - rho) < 4 * math.sqrt((1 - rho**2) / 1200) + 0.01  # type: ignore[index]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag, draws", "autocorrelation")


def test_bars_count_the_draws_and_the_line_is_the_density() -> None:
    bowl, draws = energy(lambda y: 0.5 * y.square().sum(1)), remembering(0.0)
    ax = draws_histogram(draws, flat(), exact=bowl, beta=4.0, bins=30, extent=(-5, 5), label="y")
    counts, edges = np.histogram(draws.numpy(), 30, (-5, 5))
    np.testing.assert_allclose(ax.patches[0].get_data().values, counts / counts.sum() * 3)  # type: ignore[attr-defined]
    assert edges[1] - edges[0] == pytest.approx(1 / 3)
    t, p = ax.lines[0].get_data()
    np.testing.assert_allclose(p, np.exp(-2 * np.asarray(t) ** 2) * math.sqrt(4 / (2 * math.pi)), atol=1e-6)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["exact"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("y", "density")


def test_draws_outside_of_the_extent_count_in_the_height() -> None:
    draws = {"a": torch.tensor([0.5, 0.5, 3.0, 0.1]), "b": torch.tensor([0.9])}
    ax = draws_histogram(draws, flat(), bins=2, extent=(0.0, 1.0))
    assert [patch.get_data().values.tolist() for patch in ax.patches] == [[0.5, 1.0], [0.0, 2.0]]  # type: ignore[attr-defined]
    ax = draws_histogram(draws, flat(), exact=lambda t: 2 * t, extent=(0.0, 1.0))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 2 * np.linspace(0, 1, 801))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "exact"]
    assert draws_histogram(draws["a"], flat()).get_legend() is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace_plot(torch.zeros(10, 2, 3), flat()), r"got \(10, 2, 3\). Choose a coordinate"),
        (lambda: trace_plot(torch.randn(10, 2), flat(), chains=0), "1 or more; got 0"),
        (lambda: autocorrelation(torch.randn(10, 2), flat()), "between 1 and N - 1 = 9; got 50"),
        (lambda: autocorrelation(torch.zeros(10, 2), flat(), lags=5), "never change"),
        (lambda: autocorrelation({}, flat()), "draws: one to 7 in a picture; got 0"),
        (lambda: draws_histogram(torch.zeros(0), flat()), "draws  are 0"),
        (lambda: draws_histogram({"a": torch.tensor([torch.nan])}, flat()), "draws a are 1, .* infinite: 1"),
        (lambda: draws_histogram(torch.zeros(3), flat()), "from a min to a greater max"),
        (lambda: draws_histogram(torch.randn(3), flat(), beta=0.0), "beta positive"),
        (
            lambda: draws_histogram(torch.randn(3), flat(), exact=energy(lambda x, y: (x + y).sum(1))),
            "the density is of one variable",
        ),
    ],
)
def test_bad_input_is_told(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_no_tensor_is_told() -> None:
    with pytest.raises(TypeError, match="draws: a tensor, or tensors by name"):
        draws_histogram([0.0, 1.0], flat())  # type: ignore[arg-type]

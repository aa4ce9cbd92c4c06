"""Colored noise: variance 1, the spectrum that was asked for, and lag correlations in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ebm.infer.powerlaw import powerlaw_noise

ROWS = 40_000


def white(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariance(length: int, exponent: float) -> np.ndarray:
    """E x_s x_t by the definition: the inverse Fourier transform of S, scaled to 1 at lag 0."""
    frequency = np.abs(np.fft.fftfreq(length))
    frequency[0] = 1 / length
    power = frequency**-exponent
    lag = np.arange(length)
    by_lag = (power * np.cos(2 * np.pi * np.outer(lag, np.fft.fftfreq(length)))).sum(1) / power.sum()
    return by_lag[(lag[:, None] - lag[None]) % length]


@pytest.mark.parametrize("length", [2, 9, 30])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_the_covariance_is_that_of_the_spectrum(length, exponent):
    x = powerlaw_noise(white(ROWS, length), exponent)
    expected = covariance(length, exponent)
    np.testing.assert_allclose(np.diag(expected), 1, rtol=1e-12)
    error = np.sqrt((1 + expected**2) / ROWS)  # of E x_s x_t for normal x_s, x_t of variance 1
    found = (x.T @ x / ROWS).numpy()
    assert (np.abs(found - expected) < 4.5 * error).all()


def test_the_filter_itself_has_exactly_this_covariance():
    """Without any sampling error: x = A z, A Aᵀ = the covariance."""
    for length, exponent in ((7, 1.5), (30, 3.0), (1, 2.0)):
        a = powerlaw_noise(torch.eye(length, dtype=torch.float64), exponent).numpy().T
        np.testing.assert_allclose(a @ a.T, covariance(length, exponent), atol=1e-12)


def test_the_spectrum_falls_with_the_exponent():
    length, exponent = 64, 2.0
    power = torch.fft.rfft(powerlaw_noise(white(ROWS, length), exponent)).abs().square().mean(0)[1:]
    frequency = torch.arange(1, length // 2 + 1, dtype=torch.float64)
    centered = frequency.log() - frequency.log().mean()
    slope = (centered * power.log()).sum() / centered.square().sum()
    error = 1 / math.sqrt(ROWS * float(centered.square().sum()))  # a mean of ROWS exponentials: 1/√ROWS each
    assert abs(float(slope) + exponent) < 4 * math.sqrt(2) * error


def test_neighbors_in_time_go_together_and_neighbors_in_other_dimensions_do_not():
    lags = []
    for exponent in (0.0, 1.0, 2.0, 3.0):
        x = powerlaw_noise(white(4000, 30, 3), exponent, dim=1)
        lags.append(float((x[:, 1:] * x[:, :-1]).mean()))
        other = (x[:, :, 1:] * x[:, :, :-1]).mean((0, 1))  # 30 entries a row, but not independent ones
        assert bool((other.abs() < 4 * 3 / math.sqrt(4000)).all())
    assert abs(lags[0]) < 4 / math.sqrt(4000 * 29 * 3)
    assert lags == sorted(lags) and lags[-1] > 0.9


@pytest.mark.parametrize(("exponent", "excess"), [(0.0, 1.0526), (2.0, 1.317), (3.0, 1.416)])
def test_what_the_docstring_says_of_the_reference_package(exponent, excess):
    """It scales by the mean power without frequency 0; with real parts at 0 and ½ of twice the square."""
    scale = np.fft.rfftfreq(30)
    scale[0] = 1 / 30
    scale = scale ** (-exponent / 2)
    weights = scale[1:].copy()
    weights[-1] *= 0.5
    drawn = 2 * scale[0] ** 2 + 4 * (scale[1:-1] ** 2).sum() + 2 * scale[-1] ** 2
    assert drawn / (4 * (weights**2).sum()) == pytest.approx(excess, rel=1e-3)


def test_keeps_dtype_and_refuses_what_is_no_exponent():
    assert powerlaw_noise(white(3, 5).float(), 2.0).dtype == torch.float32
    noise = white(3, 5)
    assert powerlaw_noise(noise, 0.0) is noise
    for exponent in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="at least 0"):
            powerlaw_noise(noise, exponent)

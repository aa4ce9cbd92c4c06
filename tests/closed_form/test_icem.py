"""iCEM: two steps as in numpy, bounds from a Box, and the noise that lets a mass be pushed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import CEM, ICEM, MPPI
from ebm.infer.powerlaw import powerlaw_noise
from ebm.regularizers import Box


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@energy
def bowl(y, center):
    return ((y - center) ** 2).flatten(1).sum(1)


def test_three_steps_are_those_of_numpy():
    """Samples shrink by γ to 2M, kept elites compete, mean and std are those of the elites, smoothed."""
    batch, samples, elites, smoothing, exponent, decay = 3, 30, 10, 0.2, 2.0, 1.25
    center = torch.randn(batch, 5, 2, dtype=torch.float64, generator=seeded(1))
    method = ICEM(samples, elites, 0.7, exponent, decay, keep=0.3, smoothing=smoothing)
    solution = minimize(
        bowl + Box("y", -1.0, 1.0),
        {"y": zeros(batch, 5, 2)},
        method,
        given={"center": center},
        generator=seeded(2),
        max_steps=3,
        trace=True,
    )
    g, mean, sigma = seeded(2), np.zeros((batch, 5, 2)), np.full((batch, 5, 2), 0.7)
    kept = np.zeros((batch, 0, 5, 2))
    for step, number in enumerate((30, 24, 20)):  # 30 / 1.25² = 19.2, but 2M = 20 at least
        white = torch.empty(batch, number, 5, 2, dtype=torch.float64).normal_(generator=g)
        noise = powerlaw_noise(white, exponent, dim=2).numpy()
        pool = np.concatenate([mean[:, None] + sigma[:, None] * noise, kept], 1).clip(-1, 1)
        energies = ((pool - center.numpy()[:, None]) ** 2).sum((2, 3))
        lowest = np.minimum(energies.min(1), ((mean - center.numpy()) ** 2).sum((1, 2)))
        assert solution.trace is not None
        np.testing.assert_allclose(solution.trace.energy[step + 1], lowest, rtol=1e-10)
        best = np.stack([pool[b][np.argsort(energies[b])[:elites]] for b in range(batch)])
        mean = (1 - smoothing) * best.mean(1) + smoothing * mean
        sigma = (1 - smoothing) * best.std(1) + smoothing * sigma
        kept = best[:, :3]


def test_the_noise_of_several_variables_is_colored_along_the_time_of_each():
    along: list[Tensor] = []

    @energy
    def spy(a, b, c):
        in_time = (a[:, 1:] * a[:, :-1]).mean(), (b[:, 1:] * b[:, :-1]).mean()
        along.append(torch.stack([*in_time, (a[:, :, 1:] * a[:, :, :-1]).mean()]))
        return (c**2).mean(tuple(range(1, c.ndim))) if c.ndim > 1 else c**2

    start = {"a": zeros(1, 30, 3), "b": zeros(1, 20), "c": zeros(1)}
    minimize(spy, start, ICEM(4000, 10, std=1.0, exponent=2.0), generator=seeded(), max_steps=1)
    a_time, b_time, a_other = along[-1].tolist()
    assert a_time > 0.8 and b_time > 0.8 and abs(a_other) < 0.05


@energy
def landing(push):  # (B, T, 1) -> (B,): a mass comes to rest 3 m away, which takes slow pushes
    speed = 0.2 * push.cumsum(1)
    place = 0.2 * speed.cumsum(1)
    return ((place[:, -1] - 3.0) ** 2 + speed[:, -1] ** 2).sum(1)


def test_needs_fewer_samples_than_cem_where_pushes_add_up():
    still = zeros(30, 20, 1)
    cem = minimize(
        landing + Box("push", -1.0, 1.0), still, CEM(40, 10, std=0.5), generator=seeded(), max_steps=5
    )
    icem = minimize(
        landing + Box("push", -1.0, 1.0), still, ICEM(40, 10, std=0.5), generator=seeded(), max_steps=5
    )
    assert bool((icem.value.abs() <= 1).all())
    assert float(icem.energy.median()) < 0.5 * float(cem.energy.median())


@pytest.mark.parametrize("method", [ICEM(60, 10), CEM(60, 10, std=0.5), MPPI(60, 0.1, std=0.5)])
def test_costs_of_nan_are_avoided_and_the_action_is_finite(method):
    """A plan whose first push is positive costs NaN: it is never taken, whatever lies beyond."""

    @energy
    def forbidden(push):
        cost = ((push - 0.5) ** 2).flatten(1).sum(1)
        return torch.where(push[:, 0, 0] > 0, torch.nan, cost)

    for energy_ in (forbidden, forbidden + Box("push", -1.0, 1.0)):
        found = minimize(energy_, zeros(5, 8, 2), method, generator=seeded(), max_steps=30)
        assert bool(found.value.isfinite().all()) and bool(found.energy.isfinite().all())
        assert bool((found.value[:, 0, 0] <= 0).all())
        assert float(found.energy.max()) < 2.0  # at the start 4, at best 0.25


@pytest.mark.parametrize("method", [ICEM(60, 10), CEM(60, 10), MPPI(60)])
def test_where_all_costs_are_nan_the_start_stays(method):
    @energy
    def lost(y):
        return (y * torch.nan).sum(1)

    found = minimize(lost, zeros(3, 4) + 0.3, method, generator=seeded(), max_steps=30)
    assert found.reasons == ["non finite"] * 3 and torch.equal(found.value, zeros(3, 4) + 0.3)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: ICEM(10, 20), "num_samples=10, num_elites=20"),
        (lambda: ICEM(std=0.0), "std must be"),
        (lambda: ICEM(exponent=-1.0), "exponent must be"),
        (lambda: ICEM(decay=0.5), "decay must be at least 1"),
        (lambda: ICEM(keep=1.5), "keep is a share"),
        (lambda: ICEM(smoothing=1.0), "smoothing must be"),
    ],
)
def test_settings_out_of_range_are_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()

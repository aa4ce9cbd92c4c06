"""Adaptation: dual averaging by hand, what a warm-up finds, and that sampling after it is exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import energy, sample
from ebm.infer import HMC, MALA, NUTS, Langevin, UnderdampedLangevin, warm_up
from ebm.infer.dual_averaging import DualAveraging
from ebm.infer.sampler import Sampler
from ebm.infer.tunable import Tunable
from ebm.infer.warm_up import _mass, _observe, _windows
from ebm.targets import Banana, Gaussian, Ring

SCALES = torch.tensor([10.0, 0.1, 1.0], dtype=torch.float64)


def stretched() -> Gaussian:
    return Gaussian(torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), torch.diag(SCALES**2))


@pytest.mark.parametrize("kind", [MALA, HMC, NUTS, UnderdampedLangevin])
def test_a_mass_is_a_change_of_units(kind: type[Sampler]) -> None:
    """With mass m, u goes where u = v/√m goes if v is sampled without one."""
    mass = torch.tensor([0.3, 4.0], dtype=torch.float64)
    bent = Banana(2, scale=1.0, bend=0.5).double()

    @energy
    def in_other_units(v: Tensor) -> Tensor:
        return bent(y=v / mass.sqrt())

    start = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = [
        sample(e, y, m, num_samples=20, beta=1.5, generator=torch.Generator().manual_seed(1))
        for e, y, m in (
            (bent, start, kind(0.2, mass=mass)),
            (in_other_units, start * mass.sqrt(), kind(0.2)),
        )
    ]
    torch.testing.assert_close(draws[0].value, draws[1].value / mass.sqrt(), rtol=1e-9, atol=1e-9)
    assert torch.equal(draws[0].accepted > 0, draws[1].accepted > 0)


def test_dual_averaging_by_hand() -> None:
    """The recursion of Hoffman & Gelman (2014), algorithm 5, in plain numbers."""
    chances, target, first = [0.9, 0.2, 0.7, 1.0, 0.0, 0.5], 0.65, 0.3
    mu, h, average = math.log(10 * first), 0.0, 0.0
    search = DualAveraging.begin(torch.tensor(first, dtype=torch.float64))
    assert float(search.log_step) == pytest.approx(math.log(first))
    for m, alpha in enumerate(chances, start=1):
        h = (1 - 1 / (m + 10)) * h + (target - alpha) / (m + 10)
        log_step = mu - math.sqrt(m) / 0.05 * h
        average = m**-0.75 * log_step + (1 - m**-0.75) * average
        search = search.update(torch.tensor(alpha, dtype=torch.float64), target)
        assert float(search.log_step) == pytest.approx(log_step, rel=1e-12)
        assert float(search.average) == pytest.approx(average, rel=1e-12)


def test_the_variance_is_that_of_all_draws() -> None:
    draws = torch.randn(7, 5, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 100
    moments = None
    for u in draws:
        moments = _observe(moments, u)
    variance = draws.flatten(0, 1).var(0)
    torch.testing.assert_close(1 / _mass(moments), (35 * variance + 0.005) / 40, rtol=1e-11, atol=0)


@pytest.mark.parametrize("steps", [49, 50, 100, 175, 500, 1000])
def test_windows_double_and_leave_the_last_steps_to_the_step_size(steps: int) -> None:
    ends = _windows(steps)
    if steps < 50:
        assert ends == []
        return
    start = int(0.15 * steps)
    lengths = [b - a for a, b in zip([start, *ends[:-1]], ends, strict=True)]
    assert ends[-1] == steps - int(0.1 * steps)
    assert lengths[:-1] == [25 * 2**k for k in range(len(lengths) - 1)]
    assert len(lengths) == 1 or lengths[-1] >= 2 * lengths[-2]


@pytest.mark.parametrize(
    "method, target, steps", [(MALA(0.05), 0.574, 400), (NUTS(0.5), 0.8, 150), (HMC(0.05, 2), 0.9, 400)]
)
def test_it_finds_the_step_and_the_mass(method: Tunable, target: float, steps: int) -> None:
    g = torch.Generator().manual_seed(0)
    start = torch.zeros(100, 3, dtype=torch.float64)
    found, y = warm_up(stretched(), start, method, steps=steps, target=target, generator=g)
    assert type(found) is type(method) and method.mass == 1.0
    # At least 100 draws of 100 chains; the variances' errors are √(2/ESS), the ESS at least a tenth.
    assert float((found.mass * SCALES**2 - 1).abs().max()) < 4 * math.sqrt(2 / 1000)
    draws = sample(stretched(), y, found, num_samples=40, generator=g)
    assert abs(float(draws.accepted.mean()) - target) < 0.05


def test_sampling_after_it_is_exact() -> None:
    g = torch.Generator().manual_seed(3)
    target, chains = Ring(2.0, 0.5).double(), 800
    start = torch.ones(chains, 2, dtype=torch.float64)
    method, y = warm_up(target, start, NUTS(0.3), steps=60, generator=g)
    draws = sample(target, y, method, num_samples=1, burn_in=15, generator=g).value[0]
    moments = torch.cat([draws, draws.square()], 1)
    exact = torch.cat([target.mean, target.covariance.diagonal()])
    error = moments.std(0) / math.sqrt(chains)
    assert float(((moments.mean(0) - exact).abs() / error).max()) < 4


def test_each_chain_may_find_its_own_step() -> None:
    """Rows whose densities differ in scale; the step goes with it, and chains know nothing of one another."""

    @energy
    def bowl(y: Tensor, scale: Tensor) -> Tensor:
        return 0.5 * (y / scale.unsqueeze(1)).square().sum(1)

    scale = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)

    def run(scale: Tensor) -> Tensor:
        g, y = torch.Generator().manual_seed(0), torch.zeros(3, 5, dtype=torch.float64)
        method, _ = warm_up(
            bowl, y, HMC(0.5, 3), given={"scale": scale}, steps=500, pooled=False, generator=g
        )
        assert method.mass == 1.0 and isinstance(method.step_size, Tensor)
        return method.step_size

    steps = run(scale)
    assert steps.shape == (3,) and bool((steps / scale > 0.3).all()) and bool((steps / scale < 3).all())
    other = run(torch.tensor([0.01, 30.0, 100.0], dtype=torch.float64))
    assert torch.equal(other[[0, 2]], steps[[0, 2]]) and other[1] != steps[1]


def test_variables_by_name_and_repeatability() -> None:
    @energy
    def both(y: Tensor, z: Tensor) -> Tensor:
        return 0.5 * y.square().flatten(1).sum(1) + 50 * (z - y[:, 0, 0]) ** 2

    def run(seed: int) -> tuple[MALA, dict[str, Tensor]]:
        over = {"y": torch.zeros(6, 2, 2), "z": torch.zeros(6)}
        found = warm_up(both, over, MALA(0.1), steps=60, generator=torch.Generator().manual_seed(seed))
        return found.method, found.over

    method, over = run(0)
    assert over["y"].shape == (6, 2, 2) and over["z"].shape == (6,) and method.mass.shape == (5,)
    assert torch.equal(run(0)[1]["y"], over["y"]) and not torch.equal(run(1)[1]["y"], over["y"])
    sample(both, over, method, num_samples=2)


def test_what_it_refuses() -> None:
    start = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"a sampler with a test: MALA\(0\.1\), HMC"):
        warm_up(stretched(), start, Langevin(0.1))
    with pytest.raises(ValueError, match=r"between 0 and 1; got 1\.5"):
        warm_up(stretched(), start, MALA(0.1), target=1.5)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        warm_up(stretched(), start, MALA(0.1), steps=0)
    with pytest.raises(ValueError, match="beta must be finite and positive"):
        warm_up(stretched(), start, MALA(0.1), beta=-1.0)

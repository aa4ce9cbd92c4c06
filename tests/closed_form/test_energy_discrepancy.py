"""Energy discrepancy against its closed form for Gaussians, and a constant energy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import energy
from ebm.contrastive import EnergyDiscrepancy

DOUBLE = torch.float64
V, SIGMA = 1.5, 0.8  # the variance of the data, and the scale of the noise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def closed_form(theta: float) -> float:
    """E = ½θx², data of variance V, M → ∞ and w = 0."""
    s = SIGMA**2
    return 0.5 * (theta * V - math.log(1 + theta * s) - theta * (V + s) / (1 + theta * s))


def means(loss: EnergyDiscrepancy, theta: float, batches: int = 40) -> tuple[float, float]:
    """The loss and its standard error, over batches of 100 rows."""
    model, generator = energy(lambda y: 0.5 * theta * y.square().sum(1)), seeded(3)
    values = []
    for _ in range(batches):
        y = math.sqrt(V) * torch.randn(100, 1, generator=generator, dtype=DOUBLE)
        values.append(loss(model, generator, y=y).loss)
    draws = torch.stack(values)
    return float(draws.mean()), float(draws.std()) / math.sqrt(batches)


@pytest.mark.parametrize("theta", [0.401, 1 / V, 1.2])
def test_it_is_the_closed_form_of_a_gaussian(theta: float) -> None:
    came, error = means(EnergyDiscrepancy(SIGMA, 1000, 0.0), theta)
    assert abs(came - closed_form(theta)) < 4 * error
    assert error < 0.02


def test_the_closed_form_is_smallest_at_the_precision() -> None:
    lowest = closed_form(1 / V)
    assert lowest == pytest.approx(-0.5 * math.log(1 + SIGMA**2 / V))
    assert all(closed_form(theta) > lowest for theta in (0.401, 0.66, 0.67, 1.2))


@pytest.mark.parametrize(("m", "w"), [(4, 1.0), (4, 0.0), (7, 2.5)])
def test_a_constant_energy(m: int, w: float) -> None:
    flat = energy(lambda y: 0 * y.flatten(1).sum(1) + 3)
    came = EnergyDiscrepancy(SIGMA, m, w)(flat, seeded(), y=torch.ones(5, 2, 3, dtype=DOUBLE)).loss
    torch.testing.assert_close(came.item(), math.log((w + m) / m))


def test_the_point_between_is_shared() -> None:
    """With M = 1 the pair (x, x') has variance 2σ²; with many, the x' of a row stay together."""
    seen: list[Tensor] = []

    def watch(y: Tensor) -> Tensor:
        seen.append(y)
        return 0 * y.sum(1)

    rows, m = 4000, 2
    EnergyDiscrepancy(SIGMA, m)(energy(watch), seeded(), y=torch.zeros(rows, 1, dtype=DOUBLE))
    x, first, second = seen[0].view(rows, 1 + m).unbind(1)
    assert bool((x == 0).all())
    tolerance = 4 * math.sqrt(2 / rows)
    assert abs(first.square().mean() / (2 * SIGMA**2) - 1) < tolerance
    assert abs((first * second).mean() / SIGMA**2 - 1) < 4 * math.sqrt(5 / rows)  # y's own variance


def test_what_depends_on_x_alone_cancels() -> None:
    y, x = torch.randn(6, 2, generator=seeded(), dtype=DOUBLE), torch.arange(6, dtype=DOUBLE) * 50
    loss, plain = EnergyDiscrepancy(SIGMA), energy(lambda y: y.square().sum(1))
    shifted = energy(lambda x, y: y.square().sum(1) + x)
    torch.testing.assert_close(loss(shifted, seeded(), x=x, y=y).loss, loss(plain, seeded(), y=y).loss)


def test_settings_out_of_range() -> None:
    for settings in ((0.0,), (1.0, 0), (1.0, 4, -1.0)):
        with pytest.raises(ValueError, match=r"scale|negatives|stabilization"):
            EnergyDiscrepancy(*settings)  # type: ignore[arg-type]

"""Losses: they add and scale in value and gradient, and report their parts; against sums by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy
from ebm.binder import Binder
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.loss import AverageEnergy, Loss, LossOutput

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Weight(Loss):
    """½ |θ|² of all parameters of the energy, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones((), dtype=DOUBLE))

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor) -> LossOutput:
        size = 0.5 * sum(p.square().sum() for p in energy.parameters())
        return LossOutput(size + 0.5 * (self.own - 3) ** 2, {"size": size.detach()})


def test_losses_add_and_scale_in_value_and_gradient() -> None:
    model, y = AutoEncoder(nn.Linear(3, 3, dtype=DOUBLE)), draw(8, 3)
    parameters = tuple(model.parameters())

    def of(loss: Loss) -> tuple[Tensor, tuple[Tensor, ...]]:
        value = loss(model, seeded(1), y=y).loss
        return value.detach(), torch.autograd.grad(value, parameters)

    a, b, c = AverageEnergy(), Denoising(Gaussian(0.3)), Weight()
    values, slopes = zip(*map(of, (a, b, c)), strict=True)
    for loss, weights in (
        (a + b + c, (1, 1, 1)),
        (0.5 * a + b * 3, (0.5, 3, 0)),
        (sum([a, b]), (1, 1, 0)),
        (a - b / 4, (1, -0.25, 0)),
        (-(2 * (b + 0.5 * c)), (0, -2, -1)),
    ):
        value, slope = of(loss)
        torch.testing.assert_close(value, sum(w * v for w, v in zip(weights, values, strict=True)))
        for found, *parts in zip(slope, *slopes, strict=True):
            torch.testing.assert_close(found, sum(w * p for w, p in zip(weights, parts, strict=True)))
    assert len((a + b + c).parts) == 3 and isinstance(sum([a]), AverageEnergy)


def test_a_sum_reports_every_part_and_its_terms() -> None:
    model, y = AutoEncoder(nn.Linear(3, 3, dtype=DOUBLE)), draw(8, 3)
    a, b = AverageEnergy(), Denoising(Gaussian(0.3))
    output, alone = (2 * a + b + a)(model, seeded(1), y=y), b(model, seeded(1), y=y)
    mean = model(y=y).mean().detach()
    expected = {
        "AverageEnergy": 2 * mean,
        "energy on data": mean,
        "Denoising": alone.loss.detach(),
        "energy on data_2": mean,
        "energy off data": alone.terms["energy off data"],
        "AverageEnergy_2": mean,
        "energy on data_3": mean,
    }
    assert list(output.terms) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output.terms[name], value)
    torch.testing.assert_close(output.gap, alone.terms["energy off data"] - mean)
    assert a(model, y=y).gap is None and not any(t.requires_grad for t in output.terms.values())


class Noisy(Energy):
    """E = |y + ε|², with ε drawn once a bind."""

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"noise": torch.randn(len(given["y"]), 2, generator=binder.generator, dtype=DOUBLE)}

    def forward(self, y: Tensor, noise: Tensor | None = None) -> Tensor:
        return (y + noise).square().sum(1)


def test_what_an_energy_draws_comes_from_the_generator() -> None:
    y, noise = draw(5, 2), draw(5, 2, seed=3)
    output = AverageEnergy()(Noisy(), seeded(3), y=y)
    torch.testing.assert_close(output.loss, (y + noise).square().sum(1).mean())


def test_losses_say_what_they_need() -> None:
    with pytest.raises(
        TypeError, match=r"AverageEnergy is called as loss\(energy, generator, y=y\); got 3 first"
    ):
        AverageEnergy()(3, y=draw(2, 2))
    with pytest.raises(TypeError, match="unsupported operand"):
        AverageEnergy() + 1
    with pytest.raises(TypeError, match="unsupported operand"):
        AverageEnergy() * None
    with pytest.raises(ValueError, match="0 rows, so it has no mean energy"):
        AverageEnergy()(energy(lambda y: y.sum(1)), y=draw(0, 2))
    for wrong in (lambda y: y, lambda y: y.sum()):  # each has a mean, and it is no mean energy
        with pytest.raises(ValueError, match=r"\(4,\)"):
            AverageEnergy()(energy(wrong), y=draw(4, 2))

"""Training against closed forms and least squares, and the mistakes that it refuses."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.loss import AverageEnergy, Loss, LossOutput
from ebm.nets import mlp
from ebm.train import fit

DOUBLE = torch.float64
SGD = partial(torch.optim.SGD, lr=0.1)
QUICK = {"optimizer": SGD, "steps": 6, "batch_size": 4, "progress": False}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Well(Energy):
    """E = ½ |y - μ|²; it writes down the rows that it was asked about."""

    def __init__(self, dim: int = 2):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim, dtype=DOUBLE))
        self.asked: list[Tensor] = []

    def forward(self, y: Tensor) -> Tensor:
        self.asked.append(y.detach())
        return 0.5 * (y - self.center).square().sum(1)


class Linear(Energy):
    """E = ½ |y - Wx|²."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, 3, dtype=DOUBLE))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (y - x @ self.w.T).square().sum(1)


class Weight(Loss):
    """½ |θ|² of all parameters of the energy, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones((), dtype=DOUBLE))

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor) -> LossOutput:
        size = 0.5 * sum(p.square().sum() for p in energy.parameters())
        return LossOutput(size + 0.5 * (self.own - 3) ** 2, {"size": size.detach()})


def test_every_step_of_a_gaussians_mean_is_known() -> None:
    """On all data μ_k - ȳ = (1 - lr)ᵏ (μ_0 - ȳ), and L = ½ ⟨|y - ȳ|²⟩ + ½ |μ - ȳ|²."""
    y, well = draw(50, 2) + 3, Well()
    history = fit(well, AverageEnergy(), y, optimizer=SGD, steps=60, batch_size=50, progress=False)
    mean = y.mean(0)
    distance = mean.norm() * 0.9 ** torch.arange(60, dtype=DOUBLE)  # before each step
    torch.testing.assert_close(history.column("gradient norm"), distance)
    spread = 0.5 * (y - mean).square().sum(1).mean()
    torch.testing.assert_close(history.column("loss"), spread + 0.5 * distance**2)
    torch.testing.assert_close(history.column("energy on data"), history.column("loss"))
    torch.testing.assert_close(well.center.detach(), (1 - 0.9**60) * mean)
    assert len(history) == 60 and not history.interrupted and history.seconds > 0 and not well.training
    assert history.columns == ("loss", "gradient norm", "energy on data")


def test_two_variables_are_matched_row_by_row_and_find_the_least_squares() -> None:
    x, y, model = draw(40, 3), draw(40, 2, seed=1), Linear()
    adam = partial(torch.optim.SGD, lr=0.5)
    fit(model, AverageEnergy(), {"x": x, "y": y}, optimizer=adam, steps=300, batch_size=40, progress=False)
    torch.testing.assert_close(model.w.detach().T, torch.linalg.lstsq(x, y).solution)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100])
def test_each_row_comes_once_before_any_comes_twice(size: int) -> None:
    y, well = torch.arange(7, dtype=DOUBLE)[:, None], Well(1)
    fit(
        well, AverageEnergy(), y, optimizer=SGD, steps=14, batch_size=size, generator=seeded(), progress=False
    )
    assert {len(rows) for rows in well.asked} == {min(size, 7)}
    seen = torch.cat(well.asked).flatten()
    orders = [seen[i : i + 7].tolist() for i in range(0, len(seen) - 6, 7)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)  # shuffled anew


def test_an_order_is_drawn_when_it_is_needed() -> None:
    """Two steps of half the rows draw one permutation, and a third step another one."""
    for steps, orders in ((2, 1), (3, 2)):
        ours, expected = seeded(), seeded()
        fit(Well(), AverageEnergy(), draw(8, 2), **{**QUICK, "steps": steps}, generator=ours)
        for _ in range(orders):
            torch.randperm(8, generator=expected)
        assert torch.equal(ours.get_state(), expected.get_state())


def test_the_same_generator_trains_alike() -> None:
    def trained(seed: int, made: bool = True) -> tuple[list[dict[str, float]], Tensor]:
        model = AutoEncoder(mlp(3, 3, generator=seeded(7)).double())
        optimizer = SGD if made else SGD(model.parameters())
        history = fit(
            model,
            Denoising(Gaussian(0.5)),
            draw(20, 3),
            **{**QUICK, "optimizer": optimizer},
            generator=seeded(seed),
        )
        return history.rows, next(model.parameters()).detach()

    state = torch.get_rng_state()
    rows, weight = trained(0)
    for made in (True, False):  # a maker of optimizers or an optimizer
        again = trained(0, made)
        assert again[0] == rows and torch.equal(again[1], weight)
    assert trained(1)[0] != rows
    assert all(row["energy gap"] == row["energy off data"] - row["energy on data"] for row in rows)
    assert torch.equal(torch.get_rng_state(), state)


def test_parameters_of_the_loss_are_trained_too_and_others_are_not() -> None:
    well, loss = Well(), Weight()
    fit(
        well,
        loss,
        draw(8, 2),
        optimizer=partial(torch.optim.SGD, lr=0.5),
        steps=60,
        batch_size=8,
        progress=False,
    )
    assert loss.own.item() == pytest.approx(3) and not loss.training
    loss = Weight()
    only = torch.optim.SGD(well.parameters(), lr=0.1)
    history = fit(well, loss, draw(8, 2) + 1, **{**QUICK, "optimizer": only})
    assert loss.own.item() == 1  # the optimizer does not hold it ...
    assert (
        history.column("gradient norm")[0] == history.column("size")[0] == 0
    )  # ... nor measure its gradient


def test_bad_calls_are_told() -> None:
    y = draw(4, 2)
    loss = AverageEnergy()
    for model, data, message in (
        (Linear(), y, "Linear is an energy of x, y; pass data={name:"),
        (Linear(), {"y": y}, "'x' is missing"),
        (Well(), {"y": y, "colour": y}, "Well is an energy of y; it has no 'colour'"),
    ):
        with pytest.raises(TypeError, match=message):
            fit(model, loss, data, **QUICK)
    nothing = energy(lambda y: y.sum(1))
    stranger = torch.optim.SGD([nn.Parameter(y)], lr=0.1)
    for model, data, change, message in (
        (Linear(), {"x": y, "y": y[:3]}, {}, r"same number of rows, at least one; got {'x': 4, 'y': 3}"),
        (Well(), y[:0], {}, "at least one; got {'y': 0}"),
        (Well(), y, {"steps": 0}, "at least 1; got steps=0"),
        (Well(), y, {"batch_size": 0}, "at least 1; got .*batch_size=0"),
        (Well(), y, {"optimizer": stranger}, "the optimizer holds no parameter of Well"),
        (Well().requires_grad_(False), y, {}, "no parameter of Well that requires a gradient"),
        (nothing, y, {}, "nor AverageEnergy has a parameter to learn"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(model, loss, data, **{**QUICK, **change})

"""The settings of `fit`: schedules, clipping, micro-batches, half precision, averages of the parameters.

Each is held to a closed form of a quadratic energy, or to a loop written out in torch.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau, StepLR

from ebm import Energy
from ebm.callbacks import ParameterEMA
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.history import History
from ebm.joint import OnCodes, SquaredDistance, VICReg
from ebm.loss import AverageEnergy, Loss, LossOutput
from ebm.nets import mlp
from ebm.train import fit
from ebm.training.learning_rate import described

DOUBLE = torch.float64
SGD = partial(torch.optim.SGD, lr=0.1)
QUICK = {"optimizer": SGD, "steps": 6, "batch_size": 8, "progress": False}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Well(Energy):
    """E = ½ |y - μ|²."""

    def __init__(self, dim: int = 2):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.center).square().sum(1)


def joint(seed: int = 0) -> Energy:
    """|f(x) - f(y)|² with a small network f."""
    f = mlp(3, 8, 4, generator=seeded(seed)).double()
    return SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [True, False])
def test_the_learning_rate_follows_its_schedule_and_is_written_down(made: bool) -> None:
    """μ_k - ȳ = Π_j (1 - lr_j) (μ_0 - ȳ) with lr_j = ½ lr (1 + cos πj/K): what the parameter did is known."""
    y, well, steps = draw(8, 2) + 3, Well(), 10
    schedule = partial(CosineAnnealingLR, T_max=steps)
    optimizer = SGD if made else SGD(well.parameters())
    history = fit(
        well,
        AverageEnergy(),
        y,
        **{**QUICK, "optimizer": optimizer, "steps": steps},
        schedule=schedule if made else schedule(optimizer),
    )
    rates = 0.05 * (1 + torch.cos(math.pi * torch.arange(steps, dtype=DOUBLE) / steps))
    torch.testing.assert_close(history.column("learning rate"), rates)
    torch.testing.assert_close(well.center.detach(), (1 - (1 - rates).prod()) * y.mean(0))


def test_a_plateau_is_one_of_the_loss_and_groups_have_columns() -> None:
    pair = nn.ModuleList([Well(), Well()])

    class Both(Energy):
        def __init__(self) -> None:
            super().__init__()
            self.parts = pair

        def forward(self, y: Tensor) -> Tensor:
            return self.parts[0](y=y) + self.parts[1](y=y)

    groups = [{"params": pair[0].parameters(), "lr": 0.0}, {"params": pair[1].parameters(), "lr": 1e-3}]
    plateau = partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.5)  # never half as much: plateau
    optimizer = torch.optim.SGD(groups, lr=1.0)
    history = fit(Both(), AverageEnergy(), draw(8, 2), **{**QUICK, "optimizer": optimizer}, schedule=plateau)
    expected = 1e-3 * torch.tensor([1, 1, 0.5, 0.25, 0.125, 0.0625], dtype=DOUBLE)
    assert history.column("learning rate").tolist() == [0.0] * 6
    torch.testing.assert_close(history.column("learning rate of group 1"), expected)
    same_rows = torch.ones(8, 2, dtype=DOUBLE)  # L_k = 0.81ᵏ L_0 falls by more than a tenth: no plateau
    falls = partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.1)
    history = fit(Well(), AverageEnergy(), same_rows, **QUICK, schedule=falls)
    assert history.column("learning rate").tolist() == [0.1] * 6


def test_a_schedule_is_told_by_its_plain_settings() -> None:
    """A function's text has its address in it, so a training could never go on from its checkpoint."""
    told = partial(LambdaLR, lr_lambda=lambda step: 0.5, last_epoch=-1)
    assert described(told) == "LambdaLR {'last_epoch': -1}" and described(None) == "none"


def test_a_schedule_of_another_optimizer_is_refused() -> None:
    well = Well()
    other = StepLR(SGD(well.parameters()), 3)
    with pytest.raises(
        ValueError, match=r"this StepLR was made for another optimizer.*partial\(StepLR, ...\)"
    ):
        fit(well, AverageEnergy(), draw(8, 2), **QUICK, schedule=other)


# --- clipping and micro-batches -------------------------------------------------------------------


def test_clipping_shortens_the_step_and_the_norm_before_it_is_written_down() -> None:
    """Far away each step is lr·clip long, and |μ - ȳ|, the norm, falls by that; then it is linear."""
    y, well, clip, lr = draw(8, 2) + torch.tensor([30.0, 40.0]), Well(), 2.0, 0.1
    history = fit(well, AverageEnergy(), y, **{**QUICK, "steps": 40}, clip=clip)
    norm, expected = float(y.mean(0).norm()), []
    for _ in range(40):
        expected.append(norm)
        norm -= lr * min(norm, clip)
    torch.testing.assert_close(
        history.column("gradient norm"), torch.tensor(expected, dtype=DOUBLE), rtol=1e-5, atol=0
    )
    assert history.column("gradient norm")[0] > 40


@pytest.mark.parametrize("micro", [2, 4, 8])
def test_micro_batches_give_the_step_of_the_batch_where_the_loss_is_a_mean_over_rows(micro: int) -> None:
    def trained(accumulate: int) -> tuple[History, list[Tensor]]:
        model = AutoEncoder(mlp(3, 5, 3, generator=seeded(7)).double())
        settings = {**QUICK, "optimizer": partial(torch.optim.Adam, lr=0.01)}
        history = fit(
            model, AverageEnergy(), draw(20, 3), **settings, accumulate=accumulate, generator=seeded()
        )
        return history, list(model.parameters())

    (whole, expected), (parts, came) = trained(1), trained(micro)
    assert whole.columns == parts.columns
    for name in whole.columns:
        torch.testing.assert_close(parts.column(name), whole.column(name))
    torch.testing.assert_close(came, expected, rtol=1e-6, atol=1e-12)


def test_a_criterion_compares_the_rows_of_a_micro_batch_alone() -> None:
    """The step is that of the mean of the micro-batches' criteria, not of the criterion of the batch."""
    data, lr = {"x": draw(8, 3), "y": draw(8, 3, seed=1)}, 0.1
    whole, parts, by_hand = joint(), joint(), joint()
    settings = {**QUICK, "optimizer": partial(torch.optim.SGD, lr=lr), "steps": 1}
    one = fit(whole, OnCodes(VICReg()), data, **settings, generator=seeded())
    two = fit(parts, OnCodes(VICReg()), data, **settings, generator=seeded(), accumulate=2)
    order = torch.randperm(8, generator=seeded())
    halves = [
        OnCodes(VICReg())(by_hand, **{name: value[half] for name, value in data.items()}).loss
        for half in order.chunk(2)
    ]
    mean = (halves[0] + halves[1]) / 2
    mean.backward()
    torch.testing.assert_close(two.column("loss")[0], mean.detach())
    assert abs(float(one.column("loss")[0] - mean.detach())) > 0.01  # comparing half the rows is another loss
    torch.testing.assert_close(two.column("energy on data"), one.column("energy on data"))  # a mean over rows
    for p, q in zip(parts.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), (q - lr * q.grad).detach())


# --- half precision -------------------------------------------------------------------------------


def test_half_precision_is_for_the_layers_alone() -> None:
    """Each step is the one of a loop in plain torch under autocast; loss and parameters stay in float32."""

    def net() -> nn.Sequential:
        return mlp(3, 16, 1, generator=seeded(3))

    class Score(Energy):
        """The network's output: bfloat16 numbers, whose mean keeps the digits of float32."""

        def __init__(self) -> None:
            super().__init__()
            self.net, self.seen = net(), set()

        def forward(self, y: Tensor) -> Tensor:
            value = self.net(y).squeeze(1)
            self.seen.add(value.dtype)
            return value.square()

    y = draw(16, 3).float()
    settings = {"optimizer": SGD, "steps": 3, "batch_size": 16, "progress": False}
    half, full, by_hand = Score(), Score(), net()
    ours = fit(half, AverageEnergy(), y, **settings, autocast=torch.bfloat16, generator=seeded())
    exact = fit(full, AverageEnergy(), y, **settings, generator=seeded())
    order, expected = seeded(), []
    for _ in range(3):
        rows = y[torch.randperm(16, generator=order)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = by_hand(rows).squeeze(1).square().float().mean()
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        expected.append(loss.item())
        for p, g in zip(by_hand.parameters(), gradients, strict=True):
            p.data -= 0.1 * g
    assert half.seen == {torch.bfloat16} and full.seen == {torch.float32}
    assert ours.column("loss").tolist() == expected
    assert all(torch.equal(p, q) for p, q in zip(half.parameters(), by_hand.parameters(), strict=True))
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert ours.column("loss")[0] != exact.column("loss")[0]
    torch.testing.assert_close(ours.column("loss"), exact.column("loss"), rtol=0.03, atol=0)


# --- averages of the parameters -------------------------------------------------------------------


def test_the_average_of_the_parameters_is_its_closed_form() -> None:
    """θ_k = (1 - aᵏ) ȳ with a = 1 - lr, so θ̄_K = ȳ (1-d) Σ_k d^(K-k) (1 - aᵏ)."""
    y, well, d, a, steps = draw(8, 2) + 1, Well(), 0.7, 0.9, 12
    ema = ParameterEMA(well, d)
    fit(well, AverageEnergy(), y, **{**QUICK, "steps": steps}, callbacks=[ema])
    weight = sum((1 - d) * d ** (steps - k) * (1 - a**k) for k in range(1, steps + 1))
    last = well.center.detach().clone()
    torch.testing.assert_close(ema.average["center"], weight * y.mean(0))
    with ema.swapped():
        torch.testing.assert_close(well.center.detach(), weight * y.mean(0))
        for change, message in (
            (ema.update, "can't take parameters into the average while it is swapped in"),
            (ema.state_dict, "can't save the average"),
            (lambda: ema.load_state_dict({}), "can't load an average while it is swapped in"),
            (ema.swapped().__enter__, r"can't swap the average in .*call swap\(\) to put it back"),
        ):
            with pytest.raises(RuntimeError, match=message):
                change()
    assert torch.equal(well.center, last)
    ema.swap()
    assert torch.equal(ema.average["center"], last)


def test_what_was_swapped_in_goes_out_again_after_an_error() -> None:
    well = Well()
    ema = ParameterEMA(well, 0.5)
    with torch.no_grad():
        well.center.fill_(4.0)
    ema.update()
    with pytest.raises(ZeroDivisionError), ema.swapped():
        assert well.center.tolist() == [2.0, 2.0]
        raise ZeroDivisionError
    assert well.center.tolist() == [4.0, 4.0] and ema.average["center"].tolist() == [2.0, 2.0]


def test_an_average_says_what_it_needs() -> None:
    for decay in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"decay in \[0, 1\), for instance 0.999; got"):
            ParameterEMA(Well(), decay)
    with pytest.raises(ValueError, match="Identity has no parameters to average"):
        ParameterEMA(nn.Identity(), 0.9)
    with pytest.raises(
        ValueError, match=r"average is of {'center': \(2,\)}; the state holds {'center': \(3,\)}"
    ):
        ParameterEMA(Well(2), 0.9).load_state_dict(ParameterEMA(Well(3), 0.9).state_dict())


# --- names and refusals ---------------------------------------------------------------------------


def test_a_term_with_the_name_of_a_column_is_numbered() -> None:
    class Named(Loss):
        def forward(
            self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor
        ) -> LossOutput:
            loss = energy(**data).mean()
            names = ("loss", "gradient norm", "energy gap", "learning rate", "loss_2")
            terms = {name: torch.tensor(7.0 + i) for i, name in enumerate(names)}
            return LossOutput(
                loss, {**terms, "energy on data": loss.detach(), "energy off data": loss.detach() + 2}
            )

    flat = partial(LambdaLR, lr_lambda=lambda step: 1.0)
    history = fit(Well(), Named(), draw(8, 2), **QUICK, schedule=flat)
    row = history.rows[0]
    expected = {
        "loss_2": 7.0,
        "gradient norm_2": 8.0,
        "energy gap_2": 9.0,
        "learning rate_2": 10.0,
        "loss_2_2": 11.0,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["loss"] == row["energy on data"] != 7.0 and row["learning rate"] == 0.1
    assert row["energy gap"] == pytest.approx(2.0)


@pytest.mark.filterwarnings("error")
def test_a_parameter_of_energy_and_loss_is_one() -> None:
    """The optimizer gets it once, and its gradient counts once: |∇| = |2μ - ȳ| at μ = 0 is |ȳ|."""

    class Shares(AverageEnergy):
        def __init__(self, center: nn.Parameter):
            super().__init__()
            self.center = center

        def forward(
            self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor
        ) -> LossOutput:
            output = super().forward(energy, generator, **data)
            return LossOutput(output.loss + 0.5 * self.center.square().sum(), output.terms)

    y, well = draw(8, 2), Well()
    history = fit(well, Shares(well.center), y, **QUICK)
    torch.testing.assert_close(history.column("gradient norm")[0], y.mean(0).norm())


def test_settings_out_of_range_are_told() -> None:
    y = draw(8, 2)
    for change, message in (
        ({"accumulate": 0}, "accumulate is how many micro-batches make a batch, at least 1; got 0"),
        ({"clip": 0.0}, "clip is the greatest norm of the gradient, above 0, or None; got 0.0"),
        ({"clip": math.nan}, "above 0, or None; got nan"),
        ({"autocast": torch.float16}, r"autocast is torch.bfloat16 or None .*got torch.float16"),
        ({"autocast": torch.bfloat16}, r"all parameters are torch.float64; use .float\(\)"),
        ({"accumulate": 3}, "a batch of 8 rows can't be shared equally by 1 processes with 3 micro-batches"),
        ({"accumulate": 3, "batch_size": 9}, r"8 rows \(batch_size=9 is more than the 8 rows of the data\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(Well(), AverageEnergy(), y, **{**QUICK, **change})


def test_noise_of_micro_batches_comes_from_the_generator_in_turn() -> None:
    """Denoising on micro-batches: the numbers that a loop over the halves draws."""
    model, y = AutoEncoder(nn.Linear(3, 3, dtype=DOUBLE)), draw(8, 3)
    loss, source = Denoising(Gaussian(0.5)), seeded()
    order = torch.randperm(8, generator=source)
    expected = sum(loss(model, source, y=y[half]).loss.item() for half in order.chunk(2)) / 2
    history = fit(model, loss, y, **{**QUICK, "steps": 1}, accumulate=2, generator=seeded())
    assert history.rows[0]["loss"] == pytest.approx(expected, rel=1e-12)

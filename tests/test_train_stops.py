"""What ends a training early, what is left then, and the history of it."""

from __future__ import annotations

import math
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.history import History
from ebm.loss import AverageEnergy, LossOutput
from ebm.train import DivergedError, fit
from ebm.training.health import refuse_diverged

DOUBLE = torch.float64
SGD = partial(torch.optim.SGD, lr=0.1)
QUICK = {"optimizer": SGD, "steps": 6, "batch_size": 4, "progress": False}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Well(Energy):
    """E = ½ |y - μ|²; it counts how often it was asked."""

    def __init__(self, dim: int = 2):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim, dtype=DOUBLE))
        self.asked = 0

    def forward(self, y: Tensor) -> Tensor:
        self.asked += 1
        return 0.5 * (y - self.center).square().sum(1)


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_parameters() -> None:
    """log θ with θ falling by lr ⟨y⟩ / θ: from 1 to ½, to -½, where the logarithm is NaN."""

    class Log(Well):
        def forward(self, y: Tensor) -> Tensor:
            return (y * (self.center + 1).log()).sum(1)

    model, y = Log(1), torch.ones(4, 1, dtype=DOUBLE)
    half = partial(torch.optim.SGD, lr=0.5)
    with pytest.raises(DivergedError, match=r"step 3: loss is nan.*smaller learning rate") as caught:
        fit(model, AverageEnergy(), y, optimizer=half, steps=9, batch_size=4, progress=False)
    assert caught.value.history.column("loss").tolist() == [0.0, math.log(0.5)]
    assert model.center.item() + 1 == -0.5 and not model.training


def test_a_gradient_that_is_no_number_and_a_loss_beyond_all_bounds_stop_too() -> None:
    class Root(Well):
        def forward(self, y: Tensor) -> Tensor:
            return (self.center * y).sum(1).abs().sqrt()

    root = Root()
    with pytest.raises(DivergedError, match=r"step 1: gradient norm is nan \(in center\)"):
        fit(root, AverageEnergy(), draw(4, 2), **QUICK)
    assert root.center.tolist() == [0.0, 0.0]
    wild, well = partial(torch.optim.SGD, lr=1e3), Well()
    with pytest.raises(DivergedError, match=r"step 3: loss is .*e\+1\d, .* at first") as caught:
        fit(well, AverageEnergy(), draw(4, 2) + 1, **{**QUICK, "optimizer": wild})
    assert len(caught.value.history) == 2 and bool(well.center.isfinite().all())


def test_the_error_names_the_rows_to_look_at() -> None:
    """Row 13 is spoilt: the error comes at the step that draws it, and holds that step's batch."""
    y, well, size = draw(20, 2), Well(), 4
    y[13, 1] = torch.nan
    order = torch.randperm(20, generator=seeded())
    step = int((order == 13).nonzero()) // size
    listed = ", ".join(str(i) for i in order[step * size : (step + 1) * size].tolist())
    message = (
        rf"step {step + 1}: loss is nan.*The batch was rows \[{listed}\] of the data, 4 in all; look at them"
    )
    with pytest.raises(DivergedError, match=message) as caught:
        fit(well, AverageEnergy(), y, **{**QUICK, "steps": 5}, generator=seeded())
    assert caught.value.batch.tolist() == order[step * size : (step + 1) * size].tolist()
    assert bool(y[caught.value.batch].isnan().any()) and len(caught.value.history) == step
    with pytest.raises(DivergedError, match=r"rows \[(\d+, ){8}...\] of the data, 20 in all"):
        fit(well, AverageEnergy(), y, **{**QUICK, "batch_size": 20})


def test_what_is_beyond_all_bounds() -> None:
    """1e10 times the first loss, of either sign, or 1e10 where that was less than 1; and what is infinite."""
    spoilt, sound = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    spoilt.grad, sound.grad = torch.tensor([0.0, math.inf]), torch.ones(2)
    trained = {"sound": sound, "spoilt": spoilt}
    for first, loss, healthy in (
        (-1e3, 9e12, True),
        (-1e3, 2e13, False),
        (1e3, -9e12, True),
        (1e3, -2e13, False),
        (1e-9, -9e9, True),
        (1e-9, -2e10, False),
    ):
        history = History()
        history.append({"loss": first})
        with nullcontext() if healthy else pytest.raises(DivergedError, match=r"step 2: loss is .* at first"):
            refuse_diverged(2, {"loss": loss}, history, trained, torch.arange(4))
    row = {"loss": 1.0, "gradient norm": 1.0, "far": math.inf}
    with pytest.raises(DivergedError, match=r"step 1: far is inf \(in spoilt\)\. .* rows \[0, .*, 7\] of"):
        refuse_diverged(1, row, History(), trained, torch.arange(8))


@pytest.mark.parametrize("where", ["callback", "loss", "callback says so", "callback at the last step"])
def test_an_interrupt_keeps_every_whole_step(where: str) -> None:
    class Cut(AverageEnergy):
        def forward(
            self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor
        ) -> LossOutput:
            if where == "loss" and energy.asked == 3:
                raise KeyboardInterrupt
            return super().forward(energy, generator, **data)

    def stop(step: int, history: History) -> bool:
        assert len(history) == step
        if where == "callback" and step == 3:
            raise KeyboardInterrupt
        return step == {"callback says so": 3, "callback at the last step": 6}.get(where)

    cut, whole, y = Well(), Well(), draw(12, 2)
    history = fit(cut, Cut(), y, **QUICK, callbacks=[stop], generator=seeded())
    steps = 6 if "last" in where else 3
    full = fit(whole, AverageEnergy(), y, **{**QUICK, "steps": steps}, generator=seeded())
    assert history.rows == full.rows and torch.equal(cut.center, whole.center)
    assert history.interrupted == (steps == 3) and not cut.training
    assert ("interrupted" in str(history)) == (steps == 3)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_is_heard_after_the_step_and_a_second_one_at_once(times: int) -> None:
    class Pressed(AverageEnergy):
        def forward(
            self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor
        ) -> LossOutput:
            if energy.asked == 2:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
            return super().forward(energy, generator, **data)

    cut, whole, y = Well(), Well(), draw(12, 2)
    history = fit(cut, Pressed(), y, **QUICK, generator=seeded())
    steps = 3 if times == 1 else 2
    full = fit(whole, AverageEnergy(), y, **{**QUICK, "steps": steps}, generator=seeded())
    assert history.interrupted and history.rows == full.rows and torch.equal(cut.center, whole.center)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # as it was before


def test_whoever_listens_for_ctrl_c_already_goes_on_to() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        history = fit(
            Well(),
            AverageEnergy(),
            draw(4, 2),
            **QUICK,
            callbacks=[lambda step, _: signal.raise_signal(signal.SIGINT)],
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT] * 6 and not history.interrupted


def test_ctrl_c_belongs_to_the_main_thread() -> None:
    """In another one nobody may listen for it, and training goes its way."""
    with ThreadPoolExecutor(1) as other:
        history = other.submit(fit, Well(), AverageEnergy(), draw(4, 2), **QUICK).result()
    assert len(history) == 6 and not history.interrupted


def test_history_is_a_table() -> None:
    history = History()
    assert len(history) == 0 and history.columns == () and str(history) == "History: 0 steps in 0.0 s"
    with pytest.raises(KeyError, match="no column 'loss'; there are: none yet"):
        history.column("loss")
    row = {"loss": 2.0}
    history.append(row)
    row["loss"] = 7.0  # what was written down stays
    history.append({"gap": 0.25, "loss": 1.0})
    assert history.columns == ("loss", "gap") and len(history) == 2
    assert history.column("loss").tolist() == [2.0, 1.0] and history.column("loss").dtype == DOUBLE
    assert math.isnan(history.column("gap")[0]) and history.column("gap")[1] == 0.25
    with pytest.raises(KeyError, match="no column 'los'; there are: loss, gap"):
        history.column("los")
    assert str(history).splitlines() == [
        "History: 2 steps in 0.0 s",
        "step  loss   gap",
        "   1     2",
        "   2     1  0.25",
    ]

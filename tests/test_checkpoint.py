"""A training that goes on from its file is the training that was never cut: bit for bit, on the CPU."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import lr_scheduler

from ebm import Energy
from ebm.callbacks import ParameterEMA
from ebm.checkpoint import Checkpoint, CheckpointError
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.history import History
from ebm.loss import AverageEnergy, Loss, LossOutput
from ebm.train import fit
from ebm.training import read, write

STEPS = 12


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Learning:
    """A training in which everything that can be random or remembered is: fresh objects for every call."""

    def __init__(
        self, optimizer: Callable[..., Any] | None = None, schedule: Callable[..., Any] | None = None
    ):
        torch.manual_seed(5)  # of the dropout
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layers = nn.Sequential(
                nn.Linear(3, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Dropout(0.3), nn.Linear(6, 3)
            )
        self.energy = AutoEncoder(layers)
        self.ema = ParameterEMA(self.energy, 0.8)
        self.generator = seeded(7)
        self.optimizer = optimizer or partial(torch.optim.Adam, lr=0.01)
        self.schedule = schedule or partial(lr_scheduler.OneCycleLR, max_lr=0.02, total_steps=STEPS + 1)

    def __call__(self, path: Path | None = None, stop: int | None = None, **changes: Any) -> History:
        settings: dict[str, Any] = {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "steps": STEPS,
            "batch_size": 8,
            "accumulate": 2,
            "clip": 1.0,
            "generator": self.generator,
            "callbacks": [self.ema, lambda step, history: step == stop],
            "progress": False,
            "checkpoint": None if path is None else Checkpoint(path, every=2),
        }
        data = torch.randn(20, 3, generator=seeded(3))
        return fit(self.energy, Denoising(Gaussian(0.4)), data, **{**settings, **changes})

    def found(self) -> dict[str, Tensor]:
        """All that is left when it is over."""
        states = {"generator": self.generator.get_state(), "global": torch.get_rng_state()}
        return {**self.energy.state_dict(), **{f"ema {n}": t for n, t in self.ema.average.items()}, **states}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def uncut() -> tuple[History, dict[str, Tensor]]:
    learning = Learning()
    history = learning()
    return history, {name: tensor.clone() for name, tensor in learning.found().items()}


@pytest.mark.parametrize("cuts", [[1], [2], [5], [11], [3, 4, 9], [12]])
def test_cut_and_gone_on_is_uncut_bit_for_bit(
    cuts: list[int], tmp_path: Path, uncut: tuple[History, dict[str, Tensor]]
) -> None:
    path = tmp_path / "run"
    for cut in cuts:
        assert len(Learning()(path, stop=cut)) == cut
    learning = Learning()
    torch.randn(3)  # wherever the global generator is, it goes back
    learning.generator.manual_seed(99)
    history = learning(path)
    assert history.rows == uncut[0].rows and history.columns == uncut[0].columns
    assert not history.interrupted and same(learning.found(), uncut[1])
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_steps_since_the_last_save_are_taken_again(
    tmp_path: Path, uncut: tuple[History, dict[str, Tensor]]
) -> None:
    class Cut(Exception):
        pass

    def cut(step: int, history: History) -> None:
        if step == 7:
            raise Cut

    learning = Learning()
    with pytest.raises(Cut):
        learning(tmp_path / "run", callbacks=[learning.ema, cut])
    assert read(tmp_path / "run")["step"] == 6
    again, seen = Learning(), []
    again(tmp_path / "run", callbacks=[again.ema, lambda step, _: seen.append(step)])
    assert seen == [7, 8, 9, 10, 11, 12] and same(again.found(), uncut[1])


def test_the_same_objects_go_on_too(tmp_path: Path, uncut: tuple[History, dict[str, Tensor]]) -> None:
    """As in a notebook, where the cell is run again after Ctrl-C; the optimizer has been used."""
    learning = Learning()
    learning.optimizer = torch.optim.Adam(learning.energy.parameters(), lr=0.01)  # type: ignore[assignment]
    schedule = learning.schedule(learning.optimizer)
    for stop in (4, 9, None):
        history = learning(tmp_path / "run", stop=stop, schedule=schedule)
    assert same(learning.found(), uncut[1]) and history.rows == uncut[0].rows


OPTIMIZERS = {
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "AMSGrad": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.05),
    "NAdam": partial(torch.optim.NAdam, lr=0.01),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01, centered=True, momentum=0.5),
    "Adafactor": partial(torch.optim.Adafactor, lr=0.01),
    "averaged SGD": partial(torch.optim.ASGD, lr=0.05),
}


def chained(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
    rest = lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS - 4)
    return lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[4])


SCHEDULES: dict[str, Callable[..., Any]] = {
    "milestones": partial(lr_scheduler.MultiStepLR, milestones=[2, 2, 6]),
    "restarts": partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3, T_mult=2),
    "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=1, threshold=0.1),
    "chained": chained,
    "lambda": partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 0.9**step),
    "cyclic": partial(
        lr_scheduler.CyclicLR, base_lr=0.001, max_lr=0.02, step_size_up=3, cycle_momentum=False
    ),
}


@pytest.mark.parametrize(
    "optimizer, schedule",
    [(name, "milestones") for name in OPTIMIZERS] + [("momentum", name) for name in SCHEDULES],
)
def test_every_optimizer_and_schedule_goes_on(optimizer: str, schedule: str, tmp_path: Path) -> None:
    def learning() -> Learning:
        return Learning(OPTIMIZERS[optimizer], SCHEDULES[schedule])

    whole = learning()
    expected = whole()
    found = {name: tensor.clone() for name, tensor in whole.found().items()}
    learning()(tmp_path / "run", stop=5)
    rest = learning()
    history = rest(tmp_path / "run")
    assert history.rows == expected.rows and same(rest.found(), found)


def test_a_finished_training_is_returned_and_more_steps_go_on(tmp_path: Path) -> None:
    flat = partial(lr_scheduler.ConstantLR, factor=1.0)
    done = Learning(schedule=flat)(tmp_path / "run")
    again = Learning(schedule=flat)
    history = again(
        tmp_path / "run", callbacks=[again.ema, lambda step, _: pytest.fail("there is none left")]
    )
    assert history.rows == done.rows and history.seconds >= read(tmp_path / "run")["seconds"] > 0
    longer = Learning(schedule=flat)(tmp_path / "run", steps=20)
    assert longer.rows == Learning(schedule=flat)(steps=20).rows


class Bowl(Energy):
    """E = ½ |y - μ|²."""

    def __init__(self) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.zeros(2))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.center).square().sum(1)


class Other(Bowl):
    """The same tensors under another name."""


class Learned(AverageEnergy):
    """With a parameter of its own, a, and ½ (a - 3)²."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(()))

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor) -> LossOutput:
        output = super().forward(energy, generator, **data)
        return LossOutput(output.loss + 0.5 * (self.own - 3) ** 2, output.terms)


SMALL: dict[str, Any] = {"optimizer": partial(torch.optim.SGD, lr=0.5), "batch_size": 4, "progress": False}


def test_parameters_of_the_loss_go_on_too(tmp_path: Path) -> None:
    """a_k = 3 (1 - 2^-k)."""
    checkpoint, y = Checkpoint(tmp_path / "run"), torch.ones(4, 2)
    for steps in (2, 5):
        loss = Learned()
        fit(Bowl(), loss, y, steps=steps, **SMALL, checkpoint=checkpoint)
        assert loss.own.item() == 3 * (1 - 0.5**steps)


def test_what_is_written_down_now_and_then_stays_so(tmp_path: Path) -> None:
    """As a watch does: a cell that is empty is no 0."""

    def now_and_then(step: int, history: History) -> None:
        if step % 2 == 0:
            history.rows[-1]["seldom"] = step / 7

    call = partial(fit, loss=AverageEnergy(), data=torch.ones(4, 2), callbacks=[now_and_then], **SMALL)
    checkpoint = Checkpoint(tmp_path / "run")
    call(Bowl(), steps=3, checkpoint=checkpoint)
    rows = call(Bowl(), steps=5, checkpoint=checkpoint).rows
    assert rows == call(Bowl(), steps=5).rows and [("seldom" in row) for row in rows] == [False, True] * 2 + [
        False
    ]


# --- what is in the file --------------------------------------------------------------------------


def test_shared_tensors_are_saved_once_and_come_back_shared(tmp_path: Path) -> None:
    class Tied(Energy):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight
            self.register_buffer("scale", torch.ones(1))
            self.register_buffer("hidden", torch.zeros(1), persistent=False)

        def forward(self, y: Tensor) -> Tensor:
            self.hidden += 1  # not in the state_dict, yet a part of what goes on
            return (self.b(self.a(y)) - y).square().sum(1) * self.scale

    tied, again, y = Tied(), Tied(), torch.randn(8, 2, generator=seeded())
    settings = {
        "optimizer": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        "batch_size": 8,
        "progress": False,
    }
    fit(tied, AverageEnergy(), y, steps=3, **settings, checkpoint=Checkpoint(tmp_path / "run"))
    with safe_open(tmp_path / "run", framework="pt") as file:
        kept = {name: file.get_slice(name).get_shape() for name in file.keys() if ".tensors." in name}  # noqa: SIM118
    energy = "state.tensors.energy."
    assert kept == {f"{energy}a.weight": [2, 2], f"{energy}scale": [1], f"{energy}hidden": [1]}
    fit(again, AverageEnergy(), y, steps=3, **settings, checkpoint=Checkpoint(tmp_path / "run"))
    assert again.a.weight is again.b.weight and torch.equal(again.a.weight, tied.a.weight)
    assert again.hidden.item() == tied.hidden.item() == 3.0


def test_time_can_be_what_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, saved = [0.0], []
    monkeypatch.setattr("ebm.checkpoint.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("ebm.checkpoint.write", lambda path, state: saved.append(state["step"]))

    def tick(step: int, history: History) -> None:
        clock[0] += 10.0

    learning = Learning()
    learning(callbacks=[tick], checkpoint=Checkpoint(tmp_path / "run", every=timedelta(seconds=35)))
    assert saved == [4, 8, 12]


@pytest.mark.parametrize("every", [0, -1, 2.5, True, timedelta(0), timedelta(seconds=-1), None])
def test_what_is_no_interval_is_told(every: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number of steps, 1 or more, or a positive timedelta; got"):
        Checkpoint(tmp_path / "run", every)


# --- files that cannot be gone on from ------------------------------------------------------------


def refused(path: Path, message: str, learning: Learning | None = None, **changes: Any) -> None:
    """The call raises this message, and has changed nothing."""
    learning = learning or Learning()
    before = {name: tensor.clone() for name, tensor in learning.found().items()}
    contents = path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        learning(path, **changes)
    assert same(learning.found(), before) and path.read_bytes() == contents


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    Learning()(path, stop=4)
    return path


def test_a_damaged_file_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    for size in (0, 5, 100, header, header + 50, len(whole) - 1):
        saved.write_bytes(whole[:size])
        refused(saved, rf"run \({size} bytes\) is truncated or damaged: .*Delete or rename it to begin anew")
    dice = random.Random(0)
    for place in [dice.randrange(header, len(whole)) for _ in range(10)]:
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        refused(saved, r"run is damaged: state\..* changed since it was written")
    number = whole.index(b'\\"lr\\", ') + 9
    saved.write_bytes(whole[:number] + b"9" + whole[number + 1 :])
    refused(saved, r"run is damaged: its header changed since it was written")
    saved.write_text("a diary\n" * 100)
    refused(saved, r"truncated or damaged")
    save_file({"weight": torch.ones(3)}, saved)
    refused(saved, r"holds tensors but was not written by")
    write(saved, {"step": 3})
    refused(saved, r"run was not written by Checkpoint\. Give Checkpoint another path")


def test_a_format_of_another_version_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm.training.archive.FORMAT", "2")
    refused(saved, r"has format 1, this version of ebm reads 2; read it with the version that wrote it")


def test_a_file_of_another_training_is_refused(saved: Path) -> None:
    wide = Learning()
    wide.energy.network[4] = nn.Linear(6, 3, bias=False)
    wide.ema = ParameterEMA(wide.energy, 0.8)
    refused(saved, r"tensor energy\.network\.4\.bias was float32 \(3,\), is not there", wide)
    deep = Learning()
    deep.energy.network[0] = nn.Linear(3, 6).double()
    refused(saved, r"tensor energy\.network\.0\.weight was float32 \(6, 3\), is float64 \(6, 3\)", deep)
    learning = Learning()
    for changes, message in (
        ({"batch_size": 4}, "batch_size was 8, is 4. Call fit as it was called then to go on"),
        ({"accumulate": 1, "clip": None}, "accumulate was 2, is 1; clip was 1.0, is None"),
        ({"optimizer": partial(torch.optim.AdamW, lr=0.01)}, "optimizer was Adam, is AdamW"),
        ({"optimizer": partial(torch.optim.Adam, lr=0.001)}, "optimizer's lr was 0.01, is 0.001"),
        ({"schedule": None}, r"schedule was OneCycleLR {'max_lr': 0.02, 'total_steps': 13}, is none"),
        ({"generator": None}, "generator was given, on cpu, is none"),
        ({"callbacks": []}, "callbacks with a state was ParameterEMA, is none"),
        ({"steps": 3}, "run is at step 4, beyond steps=3. Ask for that many steps at least, or give"),
    ):
        refused(saved, message, **changes)
    data = torch.randn(21, 3)
    with pytest.raises(CheckpointError, match=r"variable y was float32 \(20, 3\), is float32 \(21, 3\)"):
        settings = {
            "optimizer": learning.optimizer,
            "schedule": learning.schedule,
            "generator": learning.generator,
        }
        fit(
            learning.energy,
            Denoising(Gaussian(0.4)),
            data,
            **settings,
            steps=STEPS,
            batch_size=8,
            accumulate=2,
            clip=1.0,
            callbacks=[learning.ema],
            progress=False,
            checkpoint=Checkpoint(saved),
        )


def test_an_energy_a_loss_and_an_optimizer_are_told_apart(tmp_path: Path) -> None:
    class Half(AverageEnergy):
        pass

    def go_on(energy: Energy, loss: Loss, **changes: Any) -> None:
        fit(
            energy,
            loss,
            torch.ones(4, 2),
            **{**SMALL, **changes},
            steps=2,
            checkpoint=Checkpoint(tmp_path / "run"),
        )

    go_on(Bowl(), AverageEnergy())
    part = Bowl()
    groups = torch.optim.SGD(
        [{"params": part.parameters()}, {"params": [nn.Parameter(torch.ones(1))]}], lr=0.5
    )
    for energy, loss, changes, message in (
        (Other(), AverageEnergy(), {}, "energy was Bowl, is Other"),
        (Bowl(), Half(), {}, "loss was AverageEnergy, is Half"),
        (Bowl(), 2 * AverageEnergy() + Half(), {}, r"loss was AverageEnergy, is 2 AverageEnergy \+ Half"),
        (part, AverageEnergy(), {"optimizer": groups}, r"parameters in the optimizer was \[1\], is \[1, 1\]"),
    ):
        with pytest.raises(CheckpointError, match=message):
            go_on(energy, loss, **changes)


def test_a_state_that_is_not_plain_is_refused_before_anything_is_written(saved: Path) -> None:
    class Odd:
        def __call__(self, step: int, history: History) -> None:
            pass

        def state_dict(self) -> dict[str, Any]:
            return {"seen": {1, 2}}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    contents = saved.read_bytes()
    path = saved.with_name("other")
    with pytest.raises(
        TypeError, match=r"state\.callbacks\.0\.seen is {1, 2}, a set; a state that is saved is made"
    ):
        Learning()(path, callbacks=[Odd()])
    assert not path.exists() and saved.read_bytes() == contents


def test_nothing_of_a_file_runs(saved: Path) -> None:
    """It is a safetensors file: a header of JSON, then numbers."""
    whole = saved.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    assert set(header["__metadata__"]) == {"ebm", "checksum"}
    assert json.loads(header["__metadata__"]["ebm"])["format"] == "1"
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    assert max(ends) == len(whole) - 8 - size

"""Processes: what they exchange, and what happens to the others when one of them fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.history import History
from ebm.loss import AverageEnergy, Loss, LossOutput
from ebm.processes import (
    ProcessError,
    agreed,
    average,
    collect,
    fail,
    gather,
    rank,
    refuse_different,
    refuse_lone,
    send,
    share,
    texts,
    world_size,
)
from ebm.testing.processes import WorkerError, run_processes
from ebm.train import fit

DOUBLE = torch.float64
ROOT = Path(__file__).parent.parent


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


# --- exchanges ------------------------------------------------------------------------------------


def exchanges() -> dict[str, Any]:
    """One of each, in every process."""
    r = rank()
    z = draw(2, 3, seed=r).requires_grad_()
    whole = gather(z)
    (slope,) = torch.autograd.grad((whole.square() * torch.arange(1.0, 5)[:, None]).sum() * (r + 1), z)
    beside = torch.zeros(4, 3, dtype=DOUBLE, requires_grad=True)  # gets the very gradient that gather gets
    own, _ = torch.autograd.grad(((gather(z) + beside) * draw(4, 3)).sum() * (r + 1), (beside, z))
    mixed = [torch.full((2, 2), float(r)), torch.full((), 10.0 * r, dtype=DOUBLE), torch.full((3,), 2.0 + r)]
    average(mixed)
    first = [draw(3, seed=r), torch.tensor([r, 2**62 + 1]), torch.tensor(r == 0)]
    share(first)
    errors = []
    for call in (
        lambda: gather(torch.zeros(2 + r, 3)),
        lambda: gather(torch.zeros(2, 3)[..., None] if r else torch.zeros(2, 3)),
        lambda: refuse_different({"size": "4", "color": "red" if r else "blue"}),
        lambda: refuse_different({"size": "4", **({"more": "1"} if r else {})}),
        lambda: refuse_different({"size": "4"}),
    ):
        try:
            call()
            errors.append("")
        except ValueError as error:
            errors.append(str(error))
    return {
        "rank": (r, world_size()),
        "gather": (z.detach(), whole.detach(), slope, own),
        "average": mixed,
        "share": first,
        "agreed": [agreed(False), agreed(r == 1), agreed(True)],
        "collect": collect(torch.arange(3 - 2 * r, dtype=torch.uint8)),
        "texts": texts("ü" * (3 * r)),
        "send": send({"a": [1, None, f"from {r}"]}),
        "errors": errors,
        "second derivative": _twice(z),
    }


def _twice(z: Tensor) -> str:
    (slope,) = torch.autograd.grad(gather(z).square().sum(), z, create_graph=True)
    try:
        slope.sum().backward()
    except RuntimeError as error:
        return str(error)
    return ""


def test_what_is_exchanged_arrives() -> None:
    both = run_processes(exchanges, 2)
    rows = torch.cat([found["gather"][0] for found in both])
    weights = torch.arange(1.0, 5, dtype=DOUBLE)[:, None]
    for r, found in enumerate(both):
        assert found["rank"] == (r, 2)
        _, whole, slope, own = found["gather"]
        assert torch.equal(whole, rows)
        # the losses of the two processes are 1 and 2 times Σ w z², so the sum of their slopes is 3 times 2wz
        torch.testing.assert_close(slope, (6 * weights * rows)[2 * r : 2 * r + 2])
        assert torch.equal(own, (r + 1) * draw(4, 3))
        assert [t.dtype for t in found["average"]] == [torch.float32, DOUBLE, torch.float32]
        assert [t.flatten()[0].item() for t in found["average"]] == [0.5, 5.0, 2.5]
        assert torch.equal(found["share"][0], draw(3)) and found["share"][1].tolist() == [0, 2**62 + 1]
        assert found["share"][2].item() is True
        assert found["agreed"] == [False, True, True]
        assert [t.tolist() for t in found["collect"]] == [[0, 1, 2], [0]]
        assert found["texts"] == ["", "üüü"] and found["send"] == {"a": [1, None, "from 0"]}
        rows_differ, dims_differ, red, more, nothing = found["errors"]
        assert "different shapes, [(2, 3), (3, 3)] by rank" in rows_differ
        assert "[(2, 3), (2, 3, 1)] by rank" in dims_differ
        assert "color differs between the processes: process 0 has blue; process 1 has red" in red
        assert "more differs between the processes: process 0 has none; process 1 has 1" in more
        assert nothing == ""
        assert "no second derivatives" in found["second derivative"]


def test_one_process_exchanges_nothing() -> None:
    z = draw(2, 3)
    assert gather(z) is z and torch.equal(collect(z[0])[0], z[0])
    average([z])
    share([z])
    refuse_different({"a": "1"})
    assert torch.equal(z, draw(2, 3)) and (rank(), world_size()) == (0, 1)
    assert [agreed(True), agreed(False)] == [True, False] and texts("a") == ["a"] and send((1,)) == (1,)


def test_a_process_that_was_started_with_others_has_to_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    refuse_lone()  # a WORLD_SIZE that isn't torchrun's
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(
        RuntimeError, match=r"torchrun started 3 processes, but each is alone: call .*init_process"
    ):
        fit(Well(), AverageEnergy(), draw(4, 2), optimizer=SGD, steps=1, batch_size=4)


# --- one of them fails ----------------------------------------------------------------------------

SGD = partial(torch.optim.SGD, lr=0.1)


class Well(Energy):
    """E = ½ |y - μ|²."""

    def __init__(self) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.zeros(2, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.center).square().sum(1)


class Failing(Loss):
    """Goes wrong in one way at step 3, in process 1."""

    def __init__(self, how: str):
        super().__init__()
        self.how, self.calls = how, 0

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor) -> LossOutput:
        self.calls += 1
        if self.calls == 3 and rank() == 1:
            if self.how == "error":
                raise ZeroDivisionError("no such code")
            if self.how == "interrupt":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGKILL if self.how == "killed" else signal.SIGINT)
        loss = gather(energy(**data)).mean()  # an exchange within the loss: the other process waits here
        return LossOutput(loss, {})


def fails(how: str) -> tuple[str, float]:
    """What this process says, and how long it took."""
    began = time.monotonic()
    try:
        history = fit(
            Well(),
            Failing(how),
            draw(8, 2),
            optimizer=SGD,
            steps=5,
            batch_size=8,
            generator=seeded(),
            progress=False,
        )
    except (Exception, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - began
    return f"{len(history)} steps, interrupted {history.interrupted}", time.monotonic() - began


@pytest.mark.parametrize(
    "how, message",
    [
        (
            "error",
            "ProcessError: process 1 failed: ZeroDivisionError: no such code. Process 0 cannot go on alone",
        ),
        ("interrupt", "ProcessError: process 1 failed: KeyboardInterrupt"),
    ],
)
def test_an_error_in_one_process_ends_both(how: str, message: str) -> None:
    (zero, waited), (one, _) = run_processes(fails, 2, how, timeout=60)
    assert zero.startswith(message) and waited < 20
    assert one.startswith({"error": "ZeroDivisionError: no such code", "interrupt": "KeyboardInterrupt"}[how])


def hears() -> str:
    """Processes 1 and 2 fail one after the other, while process 0 waits for both."""
    average([torch.zeros(1)])
    if rank():
        time.sleep(0.3 * (rank() - 1))
        fail(ZeroDivisionError(f"of {rank()}"))
        return ""
    try:
        average([torch.zeros(1)])
    except ProcessError as error:
        return str(error)
    return "nothing"


def test_the_first_to_fail_is_named() -> None:
    assert run_processes(hears, 3, timeout=60)[0].startswith("process 1 failed: ZeroDivisionError: of 1.")


def knows_the_others(run: str) -> bool:
    os.environ["TORCHELASTIC_RUN_ID"] = run  # as torchrun does
    refuse_lone()
    return True


def test_processes_that_know_one_another_are_not_refused() -> None:
    assert run_processes(knows_the_others, 2, "a run") == [True, True]


class Normed(AverageEnergy):
    """A loss with a batch normalization of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2, dtype=DOUBLE)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor) -> LossOutput:
        return super().forward(energy, generator, y=self.norm(data["y"]))


def running_mean() -> Tensor:
    loss = Normed()
    fit(Well(), loss, draw(8, 2), optimizer=SGD, steps=1, batch_size=8, progress=False)
    return loss.norm.running_mean


def test_running_buffers_of_a_loss_are_averaged_too() -> None:
    for found in run_processes(running_mean, 2):
        torch.testing.assert_close(found, 0.1 * draw(8, 2).mean(0))


class Seen:
    """A callback whose state is a list, and differs from process to process."""

    def __init__(self) -> None:
        self.seen = [torch.tensor([10.0 + rank()])]

    def __call__(self, step: int, history: History) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class Counting(Well):
    """It counts in each process by itself, which spoils no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, y: Tensor) -> Tensor:
        self.count += 1 + rank()
        return super().forward(y)


def differs() -> tuple[float, float]:
    energy, seen = Counting(), Seen()
    fit(
        energy,
        AverageEnergy(),
        draw(8, 2),
        optimizer=SGD,
        steps=2,
        batch_size=8,
        callbacks=[seen],
        progress=False,
    )
    return seen.seen[0].item(), energy.count.item()


def test_callbacks_begin_from_what_process_0_has_and_buffers_may_differ() -> None:
    assert run_processes(differs, 2) == [(10.0, 2.0), (10.0, 4.0)]


def draws() -> list[Tensor]:
    """The state of the generator after a training that all begin with seed 0, and process 1 with seed 7."""
    found = []
    for given in (seeded(), seeded(7 * rank())):
        settings = {"optimizer": SGD, "steps": 1, "batch_size": 8, "progress": False}
        fit(Well(), AverageEnergy(), draw(8, 2), **settings, generator=given)
        found.append(given.get_state())
    return found


def test_the_random_numbers_of_all_follow_from_those_of_process_0() -> None:
    (zero, again), (one, other) = run_processes(draws, 2)
    assert torch.equal(zero, again) and torch.equal(one, other) and not torch.equal(zero, one)


def fails_and_goes_on() -> list[str]:
    """Both fail alike, twice; then they learn together, and one of them makes the other wait."""

    class Both(AverageEnergy):
        def forward(
            self, energy: Energy, generator: torch.Generator | None = None, **data: Tensor
        ) -> LossOutput:
            raise ZeroDivisionError("alike")

    said = []
    for loss in (Both(), Both(), AverageEnergy()):
        began = time.monotonic()
        settings: dict[str, Any] = {"optimizer": SGD, "steps": 2, "batch_size": 8, "progress": False}
        late = [lambda step, history: time.sleep(2.5 * (rank() == 0 and step == 1))]
        try:
            said.append(str(len(fit(Well(), loss, draw(8, 2), **settings, callbacks=late))))
        except ZeroDivisionError as error:
            said.append(f"{error}, {'at once' if time.monotonic() - began < 2 else 'late'}")
    return said


def test_processes_that_fail_alike_can_go_on_together() -> None:
    for said in run_processes(fails_and_goes_on, 2, timeout=60):
        assert said == ["alike, at once", "alike, at once", "2"]


def test_ctrl_c_in_one_process_ends_both_after_a_whole_step() -> None:
    for said, _ in run_processes(fails, 2, "ctrl-c", timeout=60):
        assert said == "3 steps, interrupted True"


def test_a_process_that_is_killed_ends_the_other() -> None:
    with pytest.raises(WorkerError, match="process 1: died") as caught:
        run_processes(fails_loudly, 2, "killed", timeout=60)
    assert caught.value.errors[1] is None
    assert "ProcessError: contact with another process was lost, it was killed or has ended" in str(
        caught.value
    )


def fails_loudly(how: str) -> None:
    said, _ = fails(how)
    raise ProcessError(said)


def quick() -> int:
    return rank()


def forever() -> None:
    if rank() == 1:
        time.sleep(600)


def test_processes_that_take_too_long_are_killed() -> None:
    assert run_processes(quick, 3) == [0, 1, 2]
    began = time.monotonic()
    with pytest.raises(WorkerError, match="process 0: finished\nprocess 1: still running when time was up"):
        run_processes(forever, 2, timeout=2)
    assert time.monotonic() - began < 20


# --- torchrun itself ------------------------------------------------------------------------------

SCRIPT = """
import sys, torch
from functools import partial
from ebm.loss import AverageEnergy
from ebm.nets import mlp
from ebm.contrastive import AutoEncoder
from ebm.processes import rank
from ebm.train import fit
if sys.argv[1] == "together":
    torch.distributed.init_process_group("gloo")
y = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
model = AutoEncoder(mlp(2, 4, 2, generator=torch.Generator().manual_seed(rank())))
history = fit(model, AverageEnergy(), y, optimizer=partial(torch.optim.SGD, lr=0.1), steps=3, batch_size=16)
print("loss", rank(), history.column("loss").tolist())
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_torchrun_runs_the_same_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = subprocess.run(
        [*command, "together"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert both.returncode == 0, both.stderr
    zero, one = sorted(line for line in both.stdout.splitlines() if line.startswith("loss"))
    assert zero.split(" ", 2)[2] == one.split(" ", 2)[2]
    assert both.stderr.count("100%") == 1  # one bar
    alone = subprocess.run([*command, "alone"], env=environment, capture_output=True, text=True, timeout=300)
    assert alone.returncode != 0 and "torchrun started 2 processes, but each is alone" in alone.stderr

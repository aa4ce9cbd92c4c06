"""A training that is killed by SIGKILL, at any moment, goes on bit for bit as if it had not been."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm.callbacks import ParameterEMA
from ebm.checkpoint import Checkpoint
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.history import History
from ebm.nets import mlp
from ebm.testing.processes import start_context
from ebm.train import fit
from ebm.training import archive, read

STEPS = 60
CONTEXT = start_context()


def train(folder: Path, trap: str | None = None, at: int = 0, pipe: Connection | None = None) -> None:
    """The training, to be killed from outside, or by itself at step `at` where the trap says."""
    torch.set_num_threads(1)
    model = AutoEncoder(torch.nn.Sequential(mlp(3, 8, 3, generator=seeded(1)), torch.nn.Dropout(0.2)))
    ema = ParameterEMA(model, 0.9)
    torch.manual_seed(2)

    def slowly(step: int, history: History) -> None:
        if pipe is not None:
            pipe.send(step)
            time.sleep(0.002)  # so that a kill from outside comes soon after
        if trap == "step" and step == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if trap not in (None, "step") and step == at:
            set_trap(trap)

    fit(
        model,
        Denoising(Gaussian(0.4)),
        torch.randn(40, 3, generator=seeded(3)),
        optimizer=partial(torch.optim.Adam, lr=0.01),
        schedule=partial(CosineAnnealingLR, T_max=STEPS),
        steps=STEPS,
        batch_size=8,
        callbacks=[ema, slowly],
        generator=seeded(4),
        progress=False,
        checkpoint=Checkpoint(folder / "run", every=3),
    ).save(folder / "history.json")
    averages = {f"ema {name}": tensor for name, tensor in ema.average.items()}
    save_file({**model.state_dict(), **averages, "random": torch.rand(3)}, folder / "end")


def set_trap(where: str) -> None:
    """Kill this process during the next save."""

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        die()

    if where == "half of the file is written":
        archive.save_file = half  # type: ignore[attr-defined]
    else:
        setattr(os, {"written, not on the disk": "fsync", "on the disk, not renamed": "replace"}[where], die)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(folder: Path, *arguments: Any) -> int:
    process = CONTEXT.Process(target=train, args=(folder, *arguments))
    process.start()
    process.join(120)
    return int(process.exitcode)


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uncut")
    assert run(folder) == 0
    return folder


def check_same(folder: Path, uncut: Path) -> None:
    came, expected = load_file(folder / "end"), load_file(uncut / "end")
    assert came.keys() == expected.keys() and all(torch.equal(came[n], expected[n]) for n in came)
    assert History.load(folder / "history.json").rows == History.load(uncut / "history.json").rows
    assert {p.name for p in folder.iterdir()} == {"run", "end", "history.json"}


def test_killed_from_outside_at_any_time(tmp_path: Path, uncut: Path) -> None:
    dice, reached = random.Random(1), [0]
    while reached[-1] < 45:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=train, args=(tmp_path, None, 0, theirs))
        process.start()
        last = reached[-1] + dice.randrange(1, 13)
        while ours.recv() < last:
            pass
        time.sleep(dice.uniform(0.0, 0.005))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        reached.append(read(tmp_path / "run")["step"] if (tmp_path / "run").exists() else 0)
        assert reached[-1] >= last // 3 * 3 - 3
    assert len(reached) > 5 and reached == sorted(reached)
    assert run(tmp_path) == 0
    check_same(tmp_path, uncut)


@pytest.mark.parametrize(
    "trap", ["half of the file is written", "written, not on the disk", "on the disk, not renamed"]
)
def test_killed_while_saving(trap: str, tmp_path: Path, uncut: Path) -> None:
    assert run(tmp_path, trap, 1) == -signal.SIGKILL  # in its very first save
    assert {p.name for p in tmp_path.iterdir()} == {"run.partial"}
    assert run(tmp_path, trap, 20) == -signal.SIGKILL
    assert read(tmp_path / "run")["step"] == 18  # the one before is whole
    assert (tmp_path / "run.partial").exists()
    assert run(tmp_path, "step", 43) == -signal.SIGKILL
    assert read(tmp_path / "run")["step"] == 42
    assert run(tmp_path) == 0
    check_same(tmp_path, uncut)

"""One training in two processes is the training in one: the same steps, to rounding, and the same files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm import Energy
from ebm.callbacks import ParameterEMA
from ebm.checkpoint import Checkpoint, CheckpointError
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.history import History
from ebm.joint import OnCodes, SquaredDistance, VICReg
from ebm.loss import AverageEnergy, Loss
from ebm.nets import mlp
from ebm.processes import rank, world_size
from ebm.regularized import DeadReconstruction, SparseAutoEncoder
from ebm.regularized.sparse_activations import BatchTopK, TopK
from ebm.testing.processes import run_processes
from ebm.train import DivergedError, fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.5, weight_decay=0.01)


class Well(Energy):
    """E = ½ |y - μ|², and a parameter that no gradient reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.center = nn.Parameter(draw(2, seed=40 + rank()))  # every process begins elsewhere
        self.unused = nn.Parameter(torch.ones(1, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y - self.center).square().sum(1)


class Halves(Well):
    """A parameter that has a gradient in process 1 alone."""

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y) + (self.unused * y[:, 0] if rank() == 1 else 0.0)


def posed(which: str) -> tuple[Energy, Loss, Any]:
    """What is to be learned, by name; process 0 counts where the processes begin differently."""
    torch.manual_seed(3)
    y = draw(24, 2, seed=9) + 1
    linear = nn.Linear(2, 2).double()
    normalized = AutoEncoder(nn.Sequential(linear, nn.BatchNorm1d(2).double()))
    noisy = AutoEncoder(nn.Sequential(linear, nn.Dropout(0.3)))
    network = mlp(2, 5, 2, generator=seeded(rank())).double()
    pair = SquaredDistance().compose(s_x=(network, "x"), s_y=(network, "y"))
    sparse, coupled = (SparseAutoEncoder(draw(6, 2, seed=7), a) for a in (TopK(1), BatchTopK(1)))
    dead = AverageEnergy() + 0.1 * DeadReconstruction(6, k=1, patience=16)
    trainings: dict[str, tuple[Energy, Loss, Any]] = {
        "sparse": (sparse.free_energy, dead, y),
        "coupled": (coupled.free_energy, AverageEnergy(), y),
        "well": (Well(), AverageEnergy(), y),
        "halves": (Halves(), AverageEnergy(), y),
        "auto-encoder": (AutoEncoder(network), AverageEnergy(), y),
        "joint": (pair, OnCodes(VICReg()), {"x": y, "y": y + 0.1 * draw(24, 2)}),
        "normalized": (normalized, AverageEnergy(), y),
        "noisy": (noisy, Denoising(Gaussian(1.0)), y),
    }
    return trainings[which]


def learn(which: str, folder: Path | None = None, **changes: Any) -> dict[str, Any]:
    """A training by name: its history and what it leaves."""
    energy, loss, data = posed(which)
    ema = ParameterEMA(energy, 0.9)
    settings: dict[str, Any] = {
        "optimizer": SGD,
        "steps": 8,
        "batch_size": 8,
        "clip": 1.0,
        "schedule": partial(CosineAnnealingLR, T_max=8),
        "callbacks": [ema],
        "generator": seeded(5),
        "progress": False,
    }
    if folder is not None:  # process 1 sees no file of process 0
        settings["checkpoint"] = Checkpoint(folder / f"of {rank()}" / "run", every=2)
    if changes.pop("stops", False):  # one process alone asks for it
        settings["callbacks"] = [ema, lambda step, history: rank() == world_size() - 1 and step == 5]
    history = fit(energy, loss, data, **{**settings, **changes})
    left = {name: t.detach().clone() for name, t in energy.state_dict().items()}
    left |= {f"ema {name}": t for name, t in ema.average.items()}
    left |= {f"loss {name}": t.detach().clone() for name, t in loss.state_dict().items()}
    return {
        "history": history,
        "left": left,
        "global": torch.get_rng_state(),
        "given": settings["generator"].get_state(),
    }


def several(folder: Path) -> dict[str, dict[str, Any]]:
    """Trainings one after another in the same processes."""
    kinds = ("well", "halves", "auto-encoder", "joint", "normalized", "noisy", "sparse")
    plain = {which: learn(which) for which in kinds}
    return plain | {
        "micro": learn("joint", accumulate=2),
        "whole": learn("well", batch_size=100),
        "one step": learn("normalized", steps=1),
        "one step, coupled": learn("coupled", steps=1),
        "cut": learn("noisy", folder, stops=True),
        "gone on": learn("noisy", folder),
        "diverged": _diverged(),
        "errors": [_error(*each) for each in REFUSED],  # type: ignore[dict-item]
    }


def _diverged() -> dict[str, Any]:
    y = draw(24, 2)
    y[3] = torch.nan
    try:
        fit(
            Well(),
            AverageEnergy(),
            y,
            optimizer=SGD,
            steps=9,
            batch_size=4,
            generator=seeded(),
            progress=False,
        )
    except DivergedError as error:
        return {"message": str(error), "batch": error.batch}
    return {}


def _drift(energy: Energy) -> Any:
    def callback(step: int, history: History) -> None:
        if rank() == 1 and step == 4:
            next(energy.parameters()).data.add_(1e-9)

    return callback


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("size", {"batch_size": 7}),
    ("steps", {}),
    ("data", {}),
    ("drift", {}),
]


def _error(case: str, changes: dict[str, Any]) -> str:
    """What each process says to a call in which they differ, or that they can't share."""
    energy, rows = Well(), 24 + (rank() if case == "data" else 0)
    settings = {
        "optimizer": SGD,
        "steps": 6 + (rank() if case == "steps" else 0),
        "batch_size": 8,
        "progress": False,
    }
    if case == "drift":
        settings["callbacks"] = [_drift(energy)]
    try:
        fit(energy, AverageEnergy(), draw(rows, 2), **{**settings, **changes})
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """All trainings above in two processes, which are started once."""
    return run_processes(several, 2, tmp_path_factory.mktemp("shared"), timeout=300)


@pytest.mark.parametrize(
    "which, changes",
    [
        ("well", {}),
        ("auto-encoder", {}),
        ("joint", {}),
        ("sparse", {}),
        ("micro", {"accumulate": 2}),
        ("whole", {"batch_size": 100}),
    ],
)
def test_two_processes_learn_what_one_does(
    which: str, changes: dict[str, Any], ran: list[dict[str, dict[str, Any]]]
) -> None:
    one = learn({"micro": "joint", "whole": "well"}.get(which, which), **changes)
    for found in (each[which] for each in ran):
        assert found["history"].columns == one["history"].columns
        for name in one["history"].columns:
            torch.testing.assert_close(found["history"].column(name), one["history"].column(name))
        torch.testing.assert_close(found["left"], one["left"], rtol=1e-9, atol=1e-11)


def test_both_processes_hold_the_same_bits(ran: list[dict[str, dict[str, Any]]]) -> None:
    kinds = ("well", "halves", "auto-encoder", "joint", "normalized", "noisy", "sparse", "micro", "gone on")
    for which in kinds:
        zero, one = (each[which] for each in ran)
        assert zero["history"].rows == one["history"].rows
        assert all(torch.equal(zero["left"][n], one["left"][n]) for n in zero["left"]), which


def test_gradients_that_one_process_lacks_count_as_0_and_that_none_has_as_none(
    ran: list[dict[str, dict[str, Any]]],
) -> None:
    """Weight decay moves a parameter whose gradient is 0, and leaves alone one that has none."""
    assert ran[0]["well"]["left"]["unused"].item() == 1.0
    moved = ran[0]["halves"]["left"]["unused"]
    assert moved.item() != 1.0 and torch.equal(moved, ran[1]["halves"]["left"]["unused"])


def test_batch_normalization_sees_its_own_rows_and_its_buffers_are_averaged(
    ran: list[dict[str, dict[str, Any]]],
) -> None:
    """After one step: 0.1 of the mean over the halves of their means; and so of their variances."""
    energy, _, y = posed("normalized")
    halves = y[torch.randperm(24, generator=seeded(5))[:8]].chunk(2)
    outputs = [energy.network[0](half).detach() for half in halves]
    mean = 0.1 * torch.stack([z.mean(0) for z in outputs]).mean(0)
    variance = 0.9 + 0.1 * torch.stack([z.var(0) for z in outputs]).mean(0)
    for found in (each["one step"]["left"] for each in ran):
        torch.testing.assert_close(found["network.1.running_mean"], mean)
        torch.testing.assert_close(found["network.1.running_var"], variance)
        assert int(found["network.1.num_batches_tracked"]) == 1


def test_the_threshold_of_a_batch_is_averaged_over_the_processes(
    ran: list[dict[str, dict[str, Any]]],
) -> None:
    """The smallest code that is kept of each half; and a latent is dead where it is off in both."""
    energy, _, y = posed("coupled")
    halves = y[torch.randperm(24, generator=seeded(5))[:8]].chunk(2)
    codes = [energy.model.encode(half) for half in halves]
    expected = torch.stack([z[z > 0].min() for z in codes]).mean().detach()
    assert not torch.allclose(*(z[z > 0].min() for z in codes))
    for found in (each["one step, coupled"]["left"] for each in ran):
        torch.testing.assert_close(found["model.activation.threshold"], expected)
    assert int(ran[0]["sparse"]["history"].column("dead latents").max()) > 0


def test_every_process_draws_noise_of_its_own(ran: list[dict[str, dict[str, Any]]]) -> None:
    zero, one = (each["noisy"] for each in ran)
    assert not torch.equal(zero["given"], one["given"]) and not torch.equal(zero["global"], one["global"])


def test_two_processes_go_on_bit_for_bit(ran: list[dict[str, dict[str, Any]]]) -> None:
    for found in ran:
        assert len(found["cut"]["history"]) == 5 and found["cut"]["history"].interrupted
        assert found["gone on"]["history"].rows == found["noisy"]["history"].rows
        for name, tensor in found["noisy"]["left"].items():
            assert torch.equal(found["gone on"]["left"][name], tensor)
        for name in ("given", "global"):
            assert torch.equal(found["gone on"][name], found["noisy"][name])


def test_errors_come_in_both_processes(ran: list[dict[str, dict[str, Any]]]) -> None:
    rows = seeded()
    order = torch.cat([torch.randperm(24, generator=rows) for _ in range(2)])
    step = int((order == 3).nonzero()[0]) // 4
    for found in ran:
        assert f"step {step + 1}: loss is nan" in found["diverged"]["message"]
        assert found["diverged"]["batch"].tolist() == order[4 * step : 4 * step + 4].tolist()
        size, steps, data, drift = found["errors"]
        assert "ValueError: a batch of 7 rows can't be shared equally by 2 processes" in size
        assert "ValueError: steps differs between the processes: process 0 has 6; process 1 has 7" in steps
        assert "variable y differs between the processes: process 0 has float64 (24, 2)" in data
        assert "RuntimeError: after step 6 the processes no longer hold the same parameters" in drift
        assert "tensor" not in drift and "energy.center differs" in drift


def one_of_two(folder: Path) -> str:
    """Go on with another number of processes than before."""
    try:
        learn("noisy", folder)
    except CheckpointError as error:
        return str(error)
    return ""


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    learn("noisy", tmp_path, stops=True)
    for said in run_processes(one_of_two, 2, tmp_path):
        assert "processes was 1, is 2. Call fit as it was called then" in said

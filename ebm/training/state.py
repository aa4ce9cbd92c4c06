"""Everything that a step of training changes: to be given to other processes, saved, and found again.

    (θ, buffers, optimizer, schedule, callbacks, random numbers, order of the data, history)_k -> (...)_{k+1}

A step is a function of this state and the data, so a training that goes on from a saved state gives bit for
bit what it would have given (on the CPU; a GPU may add numbers in another order each time).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ebm.callbacks import Callback, Stateful
from ebm.energy import Energy
from ebm.history import History
from ebm.loss import Loss
from ebm.processes import collect, rank, refuse_different, share, world_size
from ebm.training.archive import checksum
from ebm.training.batches import Batches

Schedule = torch.optim.lr_scheduler.LRScheduler


@dataclass
class Training:
    """The state of a training.

    Attributes:
        energy, loss, optimizer, schedule, callbacks, batches, history: what `fit` works with.
        generator: the one that `fit` was given; the global ones are part of the state too.
        data: the variables by name.
        settings: of `fit`, by name, which have to be the same when it goes on.
        steps: how many there will be; more may follow when it goes on.
    """

    energy: Energy
    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: Schedule | None
    callbacks: Sequence[Callback]
    generator: torch.Generator | None
    batches: Batches
    history: History
    data: Mapping[str, Tensor]
    settings: Mapping[str, object]
    steps: int

    def parameters(self) -> dict[str, Tensor]:
        """Parameters of energy and loss by name, shared ones once."""
        whole = nn.ModuleDict({"energy": self.energy, "loss": self.loss})
        return {name: p.detach() for name, p in whole.named_parameters()}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of energy and loss by name, shared ones once."""
        whole = nn.ModuleDict({"energy": self.energy, "loss": self.loss})
        return {**self.parameters(), **dict(whole.named_buffers())}

    def stateful(self) -> list[Stateful]:
        """The callbacks that have a state."""
        every: list[object] = [*self.callbacks]
        return [each for each in every if isinstance(each, Stateful)]

    def running(self) -> list[Tensor]:
        """Running means over batches, which differ between processes.

        They are those of batch normalization, and what a module lists in its `running_buffers`.
        """
        modules = [module for whole in (self.energy, self.loss) for module in whole.modules()]
        norms = [(m.running_mean, m.running_var) for m in modules if isinstance(m, _BatchNorm)]
        told = [tuple(map(m.get_buffer, getattr(m, "running_buffers", ()))) for m in modules]
        return [t for found in (*norms, *told) for t in found if t is not None]

    def generators(self) -> dict[str, torch.Generator]:
        """The sources of random numbers: the given generator, and the global ones of the CPU and the GPUs."""
        homes = {t.device.index or 0 for t in self.tensors().values() if t.device.type == "cuda"}
        given = {} if self.generator is None else {"given": self.generator}
        gpus = {f"cuda:{i}": torch.cuda.default_generators[i] for i in sorted(homes)}
        return {**given, "cpu": torch.default_generator, **gpus}

    def facts(self) -> dict[str, str]:
        """What has to be the same in all processes, and when a training goes on: names, shapes, settings."""
        data = {f"variable {n}": f"{_kind(v)} {tuple(v.shape)}" for n, v in self.data.items()}
        update = {f"optimizer's {name}": repr(value) for name, value in self.optimizer.defaults.items()}
        objects = {
            "energy": self.energy.label,
            "loss": self.loss.described,
            "optimizer": type(self.optimizer).__name__,
            "parameters in the optimizer": str([len(g["params"]) for g in self.optimizer.param_groups]),
            "callbacks with a state": ", ".join(type(each).__name__ for each in self.stateful()) or "none",
            "generator": "none" if self.generator is None else f"given, on {self.generator.device.type}",
        }
        tensors = {f"tensor {name}": f"{_kind(t)} {tuple(t.shape)}" for name, t in self.tensors().items()}
        settings = {name: str(value) for name, value in self.settings.items()}
        return {**objects, **update, **settings, **data, **tensors}

    def join(self) -> None:
        """Make the processes one: check that they were started alike, and begin from what process 0 has.

        Random numbers are the exception: those of process 0 go on, the others get generators of their own,
        so that rows in different processes see different noise.
        """
        if world_size() == 1:
            return
        refuse_different({**self.facts(), "steps": str(self.steps)})
        share(
            [*self.tensors().values(), *(t for each in self.stateful() for t in _inside(each.state_dict()))]
        )
        for name, generator in self.generators().items():
            state = generator.get_state()
            share([state])
            if rank():
                told = f"{name} {rank()}".encode() + bytes(state.tolist())
                generator.manual_seed(int.from_bytes(hashlib.sha256(told).digest()[:7]))

    def refuse_drift(self, step: int) -> None:
        """Raise, in every process, if the parameters aren't the same bits in all of them."""
        if world_size() > 1:
            sums = {n: f"checksum {checksum(p)}" for n, p in self.parameters().items()}
            try:
                refuse_different(sums)
            except ValueError as error:
                raise RuntimeError(
                    f"after step {step} the processes no longer hold the same parameters: something changes "
                    f"them in one process alone, a callback perhaps. ({error})"
                ) from error

    def state(self) -> dict[str, Any]:
        """The state as tensors and plain values; every process has to take part."""
        drawn = {name: collect(g.get_state()) for name, g in self.generators().items()}
        columns, rows = self.history.columns, self.history.rows
        return {
            "facts": self.facts(),
            "tensors": self.tensors(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "callbacks": [each.state_dict() for each in self.stateful()],
            "generators": drawn,
            "left": self.batches.left,
            "columns": list(columns),
            "history": torch.tensor(
                [[row.get(c, 0.0) for c in columns] for row in rows], dtype=torch.float64
            ),
            "written": torch.tensor([[c in row for c in columns] for row in rows], dtype=torch.bool),
            "seconds": self.history.seconds,
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state whose facts are those of this training."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        for each, saved in zip(self.stateful(), state["callbacks"], strict=True):
            each.load_state_dict(saved)
        for name, tensor in self.tensors().items():
            tensor.copy_(state["tensors"][name])
        for name, generator in self.generators().items():
            generator.set_state(state["generators"][name][rank()])
        self.batches.left = state["left"].to(self.batches.left.device)
        for numbers, written in zip(state["history"].tolist(), state["written"].tolist(), strict=True):
            cells = zip(state["columns"], numbers, written, strict=True)
            self.history.append({name: number for name, number, there in cells if there})
        self.history.seconds = state["seconds"]


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _inside(state: Any) -> list[Tensor]:
    """The tensors of a state."""
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return [tensor for part in parts for tensor in _inside(part)]

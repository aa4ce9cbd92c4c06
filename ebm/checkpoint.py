"""Checkpoints: a training that was killed at any time goes on as if it had not been.

    fit(..., steps=K)  =  fit(..., steps=K, checkpoint=c), killed  ->  the same call again

Every few steps or minutes the whole state of the training is written to one file (`ebm.training.archive`:
tensors and JSON, the previous file kept until the new one is complete). The same call finds it there and goes
on. A file that was written for something else is refused, naming the difference; nothing is repaired.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from ebm.processes import agreed, rank, send, share
from ebm.training.archive import ArchiveError, pack, read, unpack, write
from ebm.training.state import Training


class CheckpointError(ValueError):
    """A file that this training can't go on from; the message says why and what to do."""


class Checkpoint:
    """Where and how often a training is saved.

    It holds parameters and buffers (shared ones once), the state of the optimizer, the schedule and of
    callbacks that have one (`ParameterEMA`), random numbers, the order of the data, and the history. It does
    not hold random numbers of numpy or `random`, so losses draw from their generator or torch.

    Args:
        path: the file.
        every: so many steps, or so much time (`timedelta(minutes=10)`), from one to the next; the last
            step is saved in any case, and so is the one after which Ctrl-C or a callback ends the training.

    Raises:
        ValueError: if `every` isn't positive.
        CheckpointError: from `fit`, if the file is damaged or of another training.

    Example:
        >>> import tempfile
        >>> from functools import partial
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.targets import Gaussian
        >>> from ebm.train import fit
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     E = Gaussian(torch.zeros(1)).compose(y=(torch.nn.Linear(1, 1), "x"))
        ...     sgd, checkpoint = partial(torch.optim.SGD, lr=0.1), Checkpoint(f"{folder}/run")
        ...     settings = {"optimizer": sgd, "batch_size": 4, "progress": False, "checkpoint": checkpoint}
        ...     call = partial(fit, E, AverageEnergy(), torch.ones(4, 1), **settings)
        ...     len(call(steps=3)), len(call(steps=5))  # the second call begins with step 4
        (3, 5)
    """

    def __init__(self, path: str | Path, every: int | timedelta = 1000):
        least: int | timedelta = timedelta() if isinstance(every, timedelta) else 0
        if isinstance(every, bool) or not isinstance(every, int | timedelta) or not every > least:  # type: ignore[operator]
            raise ValueError(
                f"every is a number of steps, 1 or more, or a positive timedelta; got {every!r}."
            )
        self.path, self.every = Path(path), every
        self._saved = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether it is time to save; the same answer in all processes."""
        if isinstance(self.every, timedelta):
            return agreed(time.monotonic() - self._saved >= self.every.total_seconds())
        return step % self.every == 0

    def save(self, training: Training, step: int) -> None:
        """Write the state after this step; process 0 does, with what the others tell it."""
        training.refuse_drift(step)
        state = {"step": step, **training.state()}
        if rank() == 0:
            write(self.path, state)
        self._saved = time.monotonic()

    def resume(self, training: Training) -> int:
        """Go back to the saved state, in all processes.

        Returns:
            The step that was saved last; 0 if there is no file.

        Raises:
            CheckpointError: if the file is damaged, or of another training; nothing has changed then.
        """
        state = self._found()
        if state is None:
            return 0
        if not isinstance(state, dict) or "facts" not in state:
            raise CheckpointError(f"{self.path} was not written by Checkpoint. Give Checkpoint another path.")
        self._refuse_foreign(state["facts"], training.facts())
        if state["step"] > training.steps:
            raise CheckpointError(
                f"{self.path} is at step {state['step']}, beyond steps={training.steps}. Ask for that "
                f"many steps at least, or give Checkpoint another path to begin anew."
            )
        training.load(state)
        self._saved = time.monotonic()
        step: int = state["step"]
        return step

    def _found(self) -> Any:
        """The state in the file, which process 0 alone has to see; None if there is no file."""
        state, wrong = None, ""
        if rank() == 0 and self.path.exists():
            try:
                state = read(self.path)
            except ArchiveError as error:
                wrong = str(error)
        plain, tensors = pack(state)
        shapes = {name: (str(t.dtype).removeprefix("torch."), list(t.shape)) for name, t in tensors.items()}
        wrong, plain, shapes = send((wrong, plain, shapes))
        if wrong:
            raise CheckpointError(wrong)
        if rank():
            tensors = {
                name: torch.empty(shape, dtype=getattr(torch, kind)) for name, (kind, shape) in shapes.items()
            }
        share(tensors.values())
        return unpack(plain, tensors)

    def _refuse_foreign(self, saved: Mapping[str, str], present: Mapping[str, str]) -> None:
        differ = [
            f"{name} was {saved.get(name, 'not there')}, is {present.get(name, 'not there')}"
            for name in dict.fromkeys([*saved, *present])
            if saved.get(name) != present.get(name)
            and not (
                name.startswith("optimizer's") and not {name} <= saved.keys() & present.keys()
            )  # versions of torch differ in which settings there are
        ]
        if differ:
            more = f" (and {len(differ) - 4} more)" if len(differ) > 4 else ""
            raise CheckpointError(
                f"{self.path} is of another training: {'; '.join(differ[:4])}{more}. Call fit as it was "
                f"called then to go on, or give Checkpoint another path to begin anew."
            )

"""Health of a training: a step that would spoil the parameters is not taken; the error says where to look."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from ebm.history import History

BOUND = 1e10  # times the first loss (or 1): no training has ever come back from so far away
SHOWN = 8  # rows of the batch that a message lists


class DivergedError(ArithmeticError):
    """Training went wrong; the parameters are as the step before left them.

    Attributes:
        history: the steps before.
        batch: the rows of the data in the step's batch, (B,), to look at: `data[error.batch]`.
    """

    def __init__(self, message: str, history: History, batch: Tensor):
        self.history, self.batch = history, batch
        super().__init__(message)


def refuse_diverged(
    step: int, row: Mapping[str, float], history: History, trained: Mapping[str, nn.Parameter], batch: Tensor
) -> None:
    """Raise before the parameters take a step that they can't take back.

    Args:
        step: the number of the step, for the message.
        row: its numbers, "loss" among them.
        history: the steps before.
        trained: parameters by name, with their gradients.
        batch: the rows of the data that the step used, (B,).

    Raises:
        DivergedError: if a number is NaN or infinite, or the loss is beyond all bounds.
    """
    first = history.rows[0]["loss"] if history.rows else row["loss"]
    wrong = next((f"{name} is {value}" for name, value in row.items() if not math.isfinite(value)), None)
    if wrong is not None:
        bad = [n for n, p in trained.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
        wrong += f" (in {', '.join(bad[:3])})" if bad else ""
    elif abs(row["loss"]) > BOUND * max(1.0, abs(first)):
        wrong = f"loss is {row['loss']:.3g}, {first:.3g} at first"
    if wrong is None:
        return
    listed = ", ".join(str(i) for i in batch[:SHOWN].tolist()) + (", ..." if len(batch) > SHOWN else "")
    raise DivergedError(
        f"step {step}: {wrong}. The batch was rows [{listed}] of the data, {len(batch)} in all; look at them "
        f"(`error.batch`). The parameters are as the step before left them; try a smaller learning rate.",
        history,
        batch,
    )

"""The learning rate of each step, by torch's schedulers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

LearningRate = LRScheduler | Callable[[Optimizer], LRScheduler]


def scheduled(schedule: LearningRate, optimizer: Optimizer) -> LRScheduler:
    """The scheduler of this optimizer, made if need be.

    Raises:
        ValueError: if it is another optimizer's.
    """
    made = schedule if isinstance(schedule, LRScheduler) else schedule(optimizer)
    if made.optimizer is not optimizer:
        name = type(made).__name__
        raise ValueError(
            f"this {name} was made for another optimizer; pass that one as optimizer, or what makes a "
            f"schedule: schedule=partial({name}, ...)."
        )
    return made


def described(schedule: LearningRate | None) -> str:
    """A schedule in words, with its settings where they are known and plain.

    Example:
        >>> from torch.optim.lr_scheduler import StepLR
        >>> described(partial(StepLR, step_size=3))
        "StepLR {'step_size': 3}"
    """
    if isinstance(schedule, partial):
        plain = {
            k: v for k, v in schedule.keywords.items() if isinstance(v, str | int | float | list | tuple)
        }
        return f"{described(schedule.func)} {plain}"
    made = type(schedule) if isinstance(schedule, LRScheduler) else schedule
    return "none" if made is None else getattr(made, "__name__", type(made).__name__)


def rates(optimizer: Optimizer) -> dict[str, float]:
    """The present learning rate of each group of parameters, by the name of its column."""
    every = [float(group["lr"]) for group in optimizer.param_groups]
    return {
        "learning rate" if i == 0 else f"learning rate of group {i}": rate for i, rate in enumerate(every)
    }


def advance(schedule: LRScheduler, row: Mapping[str, float]) -> None:
    """One step; a plateau is one of the loss."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(row["loss"])
    else:
        schedule.step()

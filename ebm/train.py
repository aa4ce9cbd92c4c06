"""Learning: a plain loop that gives an energy its shape.

    θ ← θ - update(∇_θ L(E_θ, batch)),        batch: B rows of the data, each row once before any row twice

Every step is written down. A loss, a term or a gradient that is no number ends the loop before it can spoil
the parameters. Under `torchrun` each of W processes takes B/W rows of every batch and gradients are averaged,
so the loop is the same: if L is a mean over rows, or gathers them, W processes do what one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ebm.callbacks import Callback
from ebm.checkpoint import Checkpoint
from ebm.energy import Energy
from ebm.history import History
from ebm.interrupt import Interrupt
from ebm.loss import Loss
from ebm.processes import agreed, fail, rank, refuse_lone, world_size
from ebm.progress import tqdm
from ebm.signature import FaultyDataError
from ebm.training.batches import Batches
from ebm.training.health import DivergedError, refuse_diverged
from ebm.training.learning_rate import LearningRate, advance, described, rates, scheduled
from ebm.training.state import Training
from ebm.training.step import backward, floats, together

__all__ = ["Callback", "DivergedError", "fit"]

SHOW_EVERY = 20  # steps between two updates of the numbers on the progress bar
SHOWN = ("loss", "energy gap", "gradient norm", "acceptance", "buffer age")  # there, if a loss has them

Data = Tensor | Mapping[str, Tensor]
Optimizer = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def fit(
    energy: Energy,
    loss: Loss,
    data: Data,
    *,
    optimizer: Optimizer,
    steps: int,
    batch_size: int,
    callbacks: Sequence[Callback] = (),
    generator: torch.Generator | None = None,
    progress: bool | str = True,
    schedule: LearningRate | None = None,
    clip: float | None = None,
    accumulate: int = 1,
    autocast: torch.dtype | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Shape an energy: minimize a loss over its parameters.

    The energy is in training mode meanwhile and in evaluation mode afterwards. Ctrl-C ends the training after
    a whole step and returns what is finished, with `interrupted` set; a second Ctrl-C ends it at once. Under
    `torchrun` all processes make the same call, with the same data, after `init_process_group`; callbacks run
    in all of them, the bar and the checkpoints belong to process 0, and batch normalization sees the rows of
    its own process (its running buffers are averaged).

    Args:
        energy: an energy with parameters.
        loss: e.g. `AverageEnergy()`, or a sum of losses.
        data: the energy's variables by name, each (N, *shape); a bare tensor if it has one variable.
        optimizer: a torch optimizer; or what makes one of parameters, `partial(torch.optim.Adam, lr=1e-3)`,
            which is handed those of the energy and of the loss.
        steps: how many batches.
        batch_size: rows in a batch, B, in all processes together; the whole data if it has fewer rows.
        callbacks: each is called as callback(step, history) after every step; one that returns True ends the
            training. `ParameterEMA` is one.
        generator: source of the batches and of all randomness in the loss.
        progress: show a bar with the loss, the energy gap and what tells of chains; a string is its title.
        schedule: of the learning rate, a torch scheduler or what makes one of the optimizer,
            `partial(CosineAnnealingLR, T_max=steps)`; it takes one step for each of the optimizer's.
        clip: scale gradients down to this total norm where theirs is greater.
        accumulate: K, compute a batch as K micro-batches of B/K rows, in less memory. For a loss that is a
            mean over rows this gives the same step; a criterion that compares rows (VICReg, contrastive
            losses) then compares those of a micro-batch alone, so does batch normalization, and an
            energy with a memory (MoCo, DINO) renews it after each.
        autocast: `torch.bfloat16` runs the energy's float32 layers in half precision; parameters, criteria
            and the mean of the energy stay in float32.
        checkpoint: where to save the training, and to go on from if a file is there.

    Returns:
        The history: "loss", "gradient norm" (Euclidean, over all parameters, before clipping), "learning
        rate" (that the step was taken with) if there is a schedule, the terms of the loss, and "energy gap"
        where the loss has one; means over micro-batches and processes. A term with a taken name is numbered.

    Raises:
        DivergedError: naming step, term and batch, if a number is NaN, infinite or beyond all bounds.
        CheckpointError: if the file can't be gone on from.
        ProcessError: if another process failed.
        RuntimeError: under torchrun without torch.distributed set up, or if processes drift apart.
        TypeError: if a bare tensor comes for an energy of several variables.
        ValueError: if variables differ in rows, a setting is out of range, a batch can't be shared equally,
            or the optimizer has nothing to train.

    Example:
        >>> from functools import partial
        >>> from ebm.loss import AverageEnergy
        >>> class Well(Energy):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.center = nn.Parameter(torch.zeros(1))
        ...     def forward(self, y):
        ...         return ((y - self.center) ** 2).sum(1)
        >>> well, y = Well(), torch.tensor([[1.0], [3.0]])
        >>> sgd = partial(torch.optim.SGD, lr=0.1)
        >>> history = fit(well, AverageEnergy(), y, optimizer=sgd, steps=50, batch_size=2, progress=False)
        >>> round(well.center.item(), 3), len(history)
        (2.0, 50)
    """
    refuse_lone()
    variables, rows = _by_name(energy, data)
    if not isinstance(loss, Loss):
        raise TypeError(f"loss is a Loss, made: AverageEnergy() for instance; got {loss!r}.")
    named = dict(energy.named_parameters())
    named |= {
        f"loss.{n}": p for n, p in loss.named_parameters() if id(p) not in {id(q) for q in named.values()}
    }
    if not named:
        raise ValueError(f"neither {energy.label} nor {loss.label} has a parameter to learn.")
    maker = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(named.values())
    held = {id(p) for group in maker.param_groups for p in group["params"]}
    trained = {n: p for n, p in named.items() if id(p) in held and p.requires_grad}
    if not trained:
        raise ValueError(f"the optimizer holds no parameter of {energy.label} that requires a gradient.")
    _refuse_settings(steps, batch_size, clip, accumulate, autocast, trained)
    rate = None if schedule is None else scheduled(schedule, maker)
    history, began, parameters = History(), time.perf_counter(), list(trained.values())
    batches = Batches(rows, batch_size, accumulate, generator)
    settings: dict[str, object] = {
        "batch_size": batch_size,
        "accumulate": accumulate,
        "clip": clip,
        "autocast": autocast,
    }
    settings |= {"schedule": described(schedule), "processes": world_size()}
    training = Training(
        energy, loss, maker, rate, callbacks, generator, batches, history, variables, settings, steps
    )
    title = progress if isinstance(progress, str) else "fit"
    energy.train()
    loss.train()
    try:
        training.join()
        first = 0 if checkpoint is None else checkpoint.resume(training)
        began -= history.seconds
        todo, shown = range(first + 1, steps + 1), progress and rank() == 0
        with (
            tqdm(todo, desc=title, disable=not shown, initial=first, total=steps) as bar,
            Interrupt() as ctrl_c,
        ):
            for step in bar:
                batch = batches.next()
                maker.zero_grad()
                try:
                    numbers = backward(training, batch, autocast, parameters)
                except FaultyDataError:
                    refuse_diverged(step, {"loss": math.nan}, history, trained, batch)
                    raise
                numbers, stop = together(training, numbers, parameters, ctrl_c.asked)
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                row = floats({"loss": numbers["loss"], "gradient norm": norm, **numbers})
                refuse_diverged(step, row, history, trained, batch)
                if clip is not None:
                    nn.utils.clip_grads_with_norm_(parameters, clip, norm)
                maker.step()
                if rate is not None:
                    row |= rates(maker)  # that the step was taken with
                    advance(rate, row)
                history.append(row)
                if step % SHOW_EVERY == 1 or step == steps:
                    bar.set_postfix({n: f"{row[n]:.4g}" for n in SHOWN if n in row}, refresh=False)
                if callbacks:
                    stop = agreed(True in [callback(step, history) for callback in callbacks]) or stop
                history.seconds = time.perf_counter() - began
                history.interrupted = stop and step < steps
                if checkpoint is not None and (stop or step == steps or checkpoint.due(step)):
                    checkpoint.save(training, step)
                if stop:
                    break
        training.refuse_drift(len(history))
    except BaseException as error:
        fail(error)  # says so to the processes that wait for this one
        if world_size() > 1 or not isinstance(error, KeyboardInterrupt):
            raise
        history.interrupted = True
    finally:
        energy.eval()
        loss.eval()
        history.seconds = time.perf_counter() - began
    return history


def _by_name(energy: Energy, data: Data) -> tuple[dict[str, Tensor], int]:
    """The variables by name, and how many rows they have."""
    if isinstance(data, Tensor):
        if len(energy.variables) != 1:
            names = ", ".join(energy.variables)
            raise TypeError(f"{energy.label} is an energy of {names}; pass data={{name: (N, ...)}} by name.")
        data = {energy.variables[0]: data}
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()):
        came = type(data).__name__ if not isinstance(data, Mapping) else "other values"
        raise TypeError(f"data is a tensor or {{name: tensor}}, (N, ...) each; got {came}: torch.as_tensor.")
    sizes = {name: len(value) for name, value in data.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"the data's variables need the same number of rows, at least one; got {sizes}.")
    return dict(data), next(iter(sizes.values()))


def _refuse_settings(
    steps: int,
    batch_size: int,
    clip: float | None,
    accumulate: int,
    autocast: torch.dtype | None,
    trained: Mapping[str, nn.Parameter],
) -> None:
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size are at least 1; got steps={steps}, batch_size={batch_size}.")
    if accumulate < 1:
        raise ValueError(f"accumulate is how many micro-batches make a batch, at least 1; got {accumulate}.")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is the greatest norm of the gradient, above 0, or None; got {clip}.")
    if autocast not in (None, torch.bfloat16):
        raise ValueError(
            f"autocast is torch.bfloat16 or None (float16 would need scaled losses); got {autocast}."
        )
    if autocast is not None and all(p.dtype != torch.float32 for p in trained.values()):
        kinds = ", ".join(sorted({str(p.dtype) for p in trained.values()}))
        raise ValueError(
            f"autocast changes float32 layers alone, and all parameters are {kinds}; use .float()."
        )

"""Learning: a plain loop that gives an energy its shape.

    θ ← θ - update(∇_θ L(E_θ, batch)),        batch: B rows of the data, each row once before any row twice

Every step is written down. A loss, a term or a gradient that is no number ends the loop before it can spoil
the parameters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.history import History
from ebm.loss import Loss
from ebm.progress import tqdm

DIVERGED = 1e10  # times the first loss (or 1): no training has ever come back from so far away
SHOW_EVERY = 20  # steps between two updates of the numbers on the progress bar

Data = Tensor | Mapping[str, Tensor]
Optimizer = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Callback = Callable[[int, History], object]


class DivergedError(ArithmeticError):
    """Training went wrong; `history` holds the steps before, and the parameters are as these left them."""

    def __init__(self, message: str, history: History):
        self.history = history
        super().__init__(message)


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
) -> History:
    """Shape an energy: minimize a loss over its parameters.

    The energy is in training mode meanwhile and in evaluation mode afterwards. Ctrl-C ends the training after
    the last whole step and returns what is finished, with `interrupted` set.

    Args:
        energy: an energy with parameters.
        loss: e.g. `AverageEnergy()`, or a sum of losses.
        data: the energy's variables by name, each (N, *shape); a bare tensor if it has one variable.
        optimizer: a torch optimizer; or what makes one of parameters, `partial(torch.optim.Adam, lr=1e-3)`,
            which is handed those of the energy and of the loss.
        steps: how many batches.
        batch_size: rows in a batch, B; the whole data if it has fewer rows.
        callbacks: each is called as callback(step, history) after every step; one that returns True ends the
            training.
        generator: source of the batches and of all randomness in the loss.
        progress: show a bar with the loss and the energy gap; a string is its title.

    Returns:
        The history: "loss", "gradient norm" (Euclidean, over all parameters), the terms of the loss, and
        "energy gap" where the loss has one.

    Raises:
        DivergedError: naming the step and the term, if a number is NaN, infinite or beyond all bounds.
        TypeError: if a bare tensor comes for an energy of several variables.
        ValueError: if variables differ in rows, or the optimizer has nothing to train.

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
    variables, rows = _by_name(energy, data)
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size are at least 1; got steps={steps}, batch_size={batch_size}.")
    named = dict(energy.named_parameters()) | {f"loss.{n}": p for n, p in loss.named_parameters()}
    maker = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(named.values())
    held = {id(p) for group in maker.param_groups for p in group["params"]}
    trained = {n: p for n, p in named.items() if id(p) in held and p.requires_grad}
    if not trained:
        raise ValueError(f"the optimizer holds no parameter of {energy.label} that requires a gradient.")
    history, began = History(), time.perf_counter()
    batches = _batches(rows, min(batch_size, rows), generator)
    title = progress if isinstance(progress, str) else "fit"
    energy.train()
    loss.train()
    with tqdm(range(1, steps + 1), desc=title, disable=not progress) as bar:
        try:
            for step in bar:
                index = next(batches)
                maker.zero_grad()
                output = loss(energy, generator, **{name: value[index] for name, value in variables.items()})
                output.loss.backward()
                norm = nn.utils.get_total_norm([p.grad for p in trained.values() if p.grad is not None])
                gap = {} if output.gap is None else {"energy gap": output.gap}
                row = _numbers({"loss": output.loss, "gradient norm": norm, **output.terms, **gap})
                _check(step, row, history, trained)
                maker.step()
                history.append(row)
                if step % SHOW_EVERY == 1 or step == steps:
                    shown = {n: f"{row[n]:.4g}" for n in ("loss", "energy gap") if n in row}
                    bar.set_postfix(shown, refresh=False)
                if True in [callback(step, history) for callback in callbacks]:
                    history.interrupted = step < steps
                    break
        except KeyboardInterrupt:
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
    sizes = {name: len(value) for name, value in data.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"the data's variables need the same number of rows, at least one; got {sizes}.")
    return dict(data), next(iter(sizes.values()))


def _batches(rows: int, size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Indices, (size,), without end: one shuffled order of all rows after another."""
    home = None if generator is None else generator.device
    left = torch.empty(0, dtype=torch.int64, device=home)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(rows, generator=generator, device=home)])
        yield left[:size].cpu()  # a tensor on any device takes indices on the CPU
        left = left[size:]


def _numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Tensors as floats, in one transfer where they lie on an accelerator."""
    home = next(iter(values.values())).device
    floats = torch.stack([value.detach().to(home, torch.float64) for value in values.values()]).tolist()
    return dict(zip(values, floats, strict=True))


def _check(
    step: int, row: Mapping[str, float], history: History, trained: Mapping[str, nn.Parameter]
) -> None:
    """Stop before the parameters take a step that they cannot take back."""
    first = history.rows[0]["loss"] if history.rows else row["loss"]
    cure = "The parameters are as the step before left them; try a smaller learning rate."
    for name, value in row.items():
        if not math.isfinite(value):
            bad = [n for n, p in trained.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
            where = f" (in {', '.join(bad[:3])})" if bad else ""
            raise DivergedError(f"step {step}: {name} is {value}{where}. {cure}", history)
    if abs(row["loss"]) > DIVERGED * max(1.0, abs(first)):
        raise DivergedError(f"step {step}: loss is {row['loss']:.3g}, {first:.3g} at first. {cure}", history)

"""Learning: a plain loop that gives an energy its shape.

    θ_{k+1} = θ_k - optimizer(∇_θ L(E_θ, batch_k)),        batch_k: B rows of the data, each row once before any twice

Every step is written down; a loss, a term or a gradient that is no number ends the loop before it can spoil the
parameters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ebm.energy import Energy
from ebm.loss import Loss

DIVERGED = 1e10  # times the first loss (or 1): so far up or down no training has ever come back from
SHOW_EVERY = 20  # steps between two updates of the numbers on the progress bar

Data = Tensor | Mapping[str, Tensor]
Optimizer = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Callback = Callable[[int, "History"], object]


class History:
    """What happened at every step: a table of floats, one row a step.

    Attributes:
        interrupted: whether Ctrl-C or a callback ended the training before its last step.
        seconds: how long it took.

    Example:
        >>> history = History()
        >>> history.append({"loss": 2.0})
        >>> history.append({"loss": 1.0, "energy gap": 0.5})
        >>> history.column("energy gap")
        tensor([   nan, 0.5000], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.interrupted = False
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in (self.rows[-1] if self.rows else {}).items())
        return f"History: {len(self)} steps in {self.seconds:.1f} s{'; interrupted' * self.interrupted}; last: {last}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they appeared."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def append(self, row: Mapping[str, float]) -> None:
        """Write down one more step."""
        self.rows.append(dict(row))

    def column(self, name: str) -> Tensor:
        """One number a step, (steps,) float64; NaN where a step has none.

        Raises:
            KeyError: if no step has a number of this name, listing the names that there are.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns) or 'no steps yet'}.")
        return torch.tensor([row.get(name, math.nan) for row in self.rows], dtype=torch.float64)


class DivergedError(ArithmeticError):
    """Training went wrong; `history` holds the steps before, and the parameters are those of the last of them."""

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

    The energy is in training mode meanwhile and in evaluation mode afterwards. Ctrl-C ends the training after the last
    whole step and returns what is finished, with `interrupted` set.

    Args:
        energy: an energy with parameters.
        loss: e.g. `AverageEnergy()`, or a sum of losses.
        data: the energy's variables by name, each (N, *shape); a bare tensor if it has one variable.
        optimizer: a torch optimizer, or something that makes one of parameters: `partial(torch.optim.Adam, lr=1e-3)`;
            it is handed those of the energy and of the loss.
        steps: how many batches.
        batch_size: rows in a batch, B; the whole data if it has fewer rows.
        callbacks: each is called as callback(step, history) after every step; one that returns True ends the training.
        generator: source of the batches and of all randomness in the loss.
        progress: show a bar with the loss and the energy gap; a string is its title.

    Returns:
        The history: "loss", "gradient norm" (the Euclidean norm over all parameters), the loss's terms, "energy gap".

    Raises:
        DivergedError: naming the step and the term, if a number is NaN, infinite or beyond all bounds.
        ValueError: if the data's variables differ in rows, or the optimizer has no parameter with a gradient.

    Example:
        >>> from functools import partial
        >>> from ebm import energy, Energy
        >>> from ebm.loss import AverageEnergy
        >>> class Well(Energy):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.center = nn.Parameter(torch.zeros(1))
        ...     def forward(self, y):
        ...         return ((y - self.center) ** 2).sum(1)
        >>> well, y = Well(), torch.tensor([[1.0], [3.0]])
        >>> history = fit(well, AverageEnergy(), y, optimizer=partial(torch.optim.SGD, lr=0.1), steps=50,
        ...               batch_size=2, progress=False)
        >>> round(well.center.item(), 3), len(history)
        (2.0, 50)
    """
    variables = _by_name(energy, data)
    rows = len(next(iter(variables.values())))
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size are at least 1; got steps={steps}, batch_size={batch_size}.")
    named = {**dict(energy.named_parameters()), **{f"loss.{n}": p for n, p in loss.named_parameters()}}
    maker = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(named.values())
    trained = {n: p for n, p in named.items() if any(p is q for group in maker.param_groups for q in group["params"])}
    if not any(p.requires_grad for p in trained.values()):
        raise ValueError(f"the optimizer holds no trainable parameter of {energy.label}: there is nothing to learn.")
    history, began = History(), time.perf_counter()
    batches = _batches(rows, min(batch_size, rows), generator)
    energy.train(), loss.train()
    with tqdm(range(1, steps + 1), desc=progress if isinstance(progress, str) else "fit", disable=not progress) as bar:
        try:
            for step in bar:
                batch = {name: value[next_rows] for next_rows in [next(batches)] for name, value in variables.items()}
                maker.zero_grad()
                output = loss(energy, generator, **batch)
                output.loss.backward()
                norm = nn.utils.get_total_norm([p.grad for p in trained.values() if p.grad is not None])
                row = _read(output.loss, norm, output.terms, output.gap)
                _check(step, row, history, trained)
                maker.step()
                history.append(row)
                if step % SHOW_EVERY == 1 or step == steps:
                    bar.set_postfix({n: f"{row[n]:.4g}" for n in ("loss", "energy gap") if n in row}, refresh=False)
                if any([callback(step, history) is True for callback in callbacks]):  # a list: every one is called
                    history.interrupted = step < steps
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            energy.eval(), loss.eval()
            history.seconds = time.perf_counter() - began
    return history


def _by_name(energy: Energy, data: Data) -> dict[str, Tensor]:
    if isinstance(data, Tensor):
        if len(energy.variables) != 1:
            raise TypeError(
                f"{energy.label} is an energy of {', '.join(energy.variables)}; pass data={{name: (N, ...)}} by name."
            )
        data = {energy.variables[0]: data}
    sizes = {name: len(value) for name, value in data.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"every variable of the data needs the same number of rows, at least one; got {sizes}.")
    return dict(data)


def _batches(rows: int, size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Indices (size,) without end, from one shuffled order of all rows after another."""
    home = generator.device if generator is not None else None
    left = torch.empty(0, dtype=torch.int64, device=home)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(rows, generator=generator, device=home)])
        yield left[:size].cpu()  # indices on the CPU index a tensor wherever it lies
        left = left[size:]


def _read(loss: Tensor, norm: Tensor, terms: Mapping[str, Tensor], gap: Tensor | None) -> dict[str, float]:
    """The numbers of a step; one transfer where they lie on an accelerator."""
    values = {"loss": loss.detach(), "gradient norm": norm, **terms, **({} if gap is None else {"energy gap": gap})}
    numbers = torch.stack([v.detach().to(loss.device, torch.float64) for v in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))


def _check(step: int, row: Mapping[str, float], history: History, trained: Mapping[str, nn.Parameter]) -> None:
    """Stop before the parameters take a step that cannot be undone."""
    first = history.rows[0]["loss"] if history.rows else row["loss"]
    cure = "Try a smaller learning rate, or bound what is pushed up; the parameters are those of the step before."
    for name, value in row.items():
        if not math.isfinite(value):
            where = [n for n, p in trained.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
            of = f" (not finite in {', '.join(where[:3])})" if where and name == "gradient norm" else ""
            raise DivergedError(f"step {step}: {name} is {value}{of}. {cure}", history)
    if abs(row["loss"]) > DIVERGED * max(1.0, abs(first)):
        raise DivergedError(f"step {step}: loss is {row['loss']:.3g}, from {first:.3g} at the start. {cure}", history)

"""The gradient of one step: over micro-batches one after another, and over processes at once.

∇L(batch) = (1 / KW) Σ_k Σ_r ∇L(rows of micro-batch k in process r),        for a mean over rows exactly
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ebm.loss import LossOutput
from ebm.processes import average, world_size
from ebm.training.state import Training

COLUMNS = ("loss", "gradient norm", "learning rate", "energy gap")  # what `fit` itself writes down


def backward(
    training: Training, batch: Tensor, autocast: torch.dtype | None, parameters: list[nn.Parameter]
) -> dict[str, Tensor]:
    """Add this process's share of the gradient of a batch to the parameters.

    Args:
        training: energy, loss, data and random numbers.
        batch: the rows of the data, (B,), alike in all processes.
        autocast: the dtype of float32 layers meanwhile; their own if None.
        parameters: those whose device the computation is on.

    Returns:
        "loss" and its terms, 0-dimensional and detached: means over the micro-batches.
    """
    parts = training.batches.parts(batch)
    total: dict[str, Tensor] = {}
    for index in parts:
        rows = {name: value[index] for name, value in training.data.items()}
        home = parameters[0].device.type
        with nullcontext() if autocast is None else torch.autocast(home, dtype=autocast):
            output = training.loss(training.energy, training.generator, **rows)
        output.loss.backward(None if len(parts) == 1 else torch.full_like(output.loss, 1 / len(parts)))
        for name, value in _numbers(output).items():
            total[name] = value if len(parts) == 1 else total.get(name, 0.0) + value.double() / len(parts)
    return total


def together(
    training: Training, numbers: Mapping[str, Tensor], parameters: list[nn.Parameter], asked: bool
) -> tuple[dict[str, Tensor], bool]:
    """Average numbers, gradients and running buffers over the processes, in two flat exchanges.

    A parameter that had no gradient anywhere has none afterwards either; one that had none here counts as 0.

    Returns:
        The averaged numbers, and whether any process asked to stop.
    """
    if world_size() == 1:
        return dict(numbers), asked
    home = parameters[0].device
    flags = torch.tensor([asked, *(p.grad is not None for p in parameters)], dtype=torch.float64, device=home)
    exchanged = torch.cat([flags, torch.stack([v.to(home, torch.float64) for v in numbers.values()])])
    average([exchanged])
    stop, *somewhere = exchanged[: len(flags)].tolist()
    for p, used in zip(parameters, somewhere, strict=True):
        if used and p.grad is None:
            p.grad = torch.zeros_like(p)
    average([*(p.grad for p in parameters if p.grad is not None), *training.running()])
    return dict(zip(numbers, exchanged[len(flags) :], strict=True)), stop > 0


def floats(numbers: Mapping[str, Tensor]) -> dict[str, float]:
    """Tensors as floats, in one transfer where they lie on an accelerator."""
    home = next(iter(numbers.values())).device
    values = torch.stack([value.detach().to(home, torch.float64) for value in numbers.values()]).tolist()
    return dict(zip(numbers, values, strict=True))


def _numbers(output: LossOutput) -> dict[str, Tensor]:
    """What a loss reports, under names that the columns of `fit` leave free."""
    numbers = {"loss": output.loss.detach()}
    for name, value in output.terms.items():
        free, n = name, 2
        while free in COLUMNS or free in numbers:
            free, n = f"{name}_{n}", n + 1
        numbers[free] = value.detach()
    return numbers if output.gap is None else {**numbers, "energy gap": output.gap.detach()}

"""Values for the variables of an energy, and what the checks do with them: choose rows, move, convert, seed.

An example is {name: value} with B >= 2 rows that differ; values may be tensors of any dtype, or tuples of
them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.energy import Energy, View

Example = Mapping[str, Any]
AnEnergy = TypeVar("AnEnergy", bound=Energy)


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same for everyone."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def leading(example: Example) -> Tensor:
    """The first tensor of an example that has a floating dtype; the energy should come out like it.

    Raises:
        ValueError: if there is none.
    """
    found: list[Tensor] = []
    map_rows(tuple(example.values()), found.append)
    for tensor in found:
        if tensor.is_floating_point():
            return tensor
    raise ValueError("an example needs one tensor of floating dtype at least, for the dtype of the energy.")


def batch_size(example: Example) -> int:
    """B, checked to be at least 2 with rows that differ, without which no check of rows can fail."""
    batch = len(leading(example))
    if batch < 2:
        raise ValueError(
            f"an example needs at least 2 rows, to see whether they are independent; got {batch}."
        )
    first = choose(example, torch.zeros(batch, dtype=torch.int64))
    if all(torch.equal(a, b) for a, b in zip(tensors(example), tensors(first), strict=True)):
        raise ValueError(f"all {batch} rows of the example are equal; rows that differ tell more.")
    return batch


def tensors(example: Example) -> list[Tensor]:
    """All tensors of an example, those inside tuples too."""
    found: list[Tensor] = []
    map_rows(tuple(example.values()), found.append)
    return found


def choose(example: Example, index: Tensor) -> dict[str, Any]:
    """The rows `index` of every value."""
    return {name: map_rows(v, lambda t: t.index_select(0, index.to(t.device))) for name, v in example.items()}


def replace_row(example: Example, row: int, by: int) -> dict[str, Any]:
    """The example with one row replaced by a copy of another, which is sure to lie in the energy's domain."""
    index = torch.arange(len(leading(example)))
    index[row] = by
    return choose(example, index)


def converted(example: Example, dtype: torch.dtype | None = None, device: Any = None) -> dict[str, Any]:
    """The example on another device, or with its floating tensors in another dtype."""
    return {
        n: map_rows(v, lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))
        for n, v in example.items()
    }


def copied(energy: AnEnergy, dtype: torch.dtype | None = None, device: Any = None) -> AnEnergy:
    """A copy of the energy that shares nothing with it."""
    return copy.deepcopy(energy).to(device=device, dtype=dtype)


def seeded(like: Tensor, seed: int = 0) -> torch.Generator:
    """A generator on the device of `like`."""
    return torch.Generator(device=like.device).manual_seed(seed)


def evaluate(energy: Energy, example: Example, seed: int = 0) -> Tensor:
    """E at the example, what is random in it drawn from a seeded generator, (B,)."""
    with torch.no_grad():
        return energy.bind(example, seeded(leading(example), seed))()


def is_random(energy: Energy, example: Example) -> bool:
    """Whether the energy draws something when it is bound."""
    return not torch.equal(evaluate(energy, example, 0), evaluate(energy, example, 1))


def holds_rows(energy: Energy) -> bool:
    """Whether some variable was given early (`E.given(x=x)`), so that its rows are fixed: those of x."""
    return any(isinstance(part, View) and part.values for part in energy.modules())


def float_variables(energy: Energy, example: Example) -> list[str]:
    """The variables that hold one floating tensor, so that one can differentiate with respect to them."""
    return [n for n in energy.variables if isinstance(example[n], Tensor) and example[n].is_floating_point()]

"""The first contract of an energy: one number a row, which depends on that row alone.

    E(x, y, ...)_i = e(x_i, y_i, ...)        for one function e, whatever B and however the rows lie in memory

All of inference leans on it: rows that are done are dropped, candidates are rows, and a batch is only a way
to be fast.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.energy import Energy
from ebm.testing.examples import (
    Example,
    batch_size,
    choose,
    converted,
    copied,
    evaluate,
    holds_rows,
    is_random,
    leading,
    replace_row,
    seeded,
)
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal, require_rows, rounding


def check_rows(energy: Energy, example: Example, *, bitwise: bool = True) -> None:
    """Check that an energy is one number a row that depends on its row alone.

    Held to: shape (B,), the dtype and device of the variables, finite values (or, for an indicator, 0 and
    +inf); a row replaced changes no other, bit for bit; permuted rows, rows taken out, single rows (B = 1),
    no rows (B = 0) and rows that lie apart in memory all give the values they gave together; float32 stays
    float32.

    Args:
        energy: the energy.
        example: a value for each variable, B >= 2 rows that differ; a random energy draws from a fixed
            generator.
        bitwise: ask for the same bits at fixed B; False (rounding) where an inner solve drops rows.

    Raises:
        EnergyContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm import energy
        >>> mean_field = energy(lambda y: (y - y.mean(0)).square().sum(1))  # a row is moved by its neighbors
        >>> check_rows(mean_field, {"y": torch.tensor([[0.0], [3.0]])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.EnergyContractError: replacing row 0 may change no other row: row 1 of 2: expected
        2.25, ...
    """
    batch = batch_size(example)
    value = evaluate(energy, example)
    _check_form(energy, example, value, batch)
    _check_neighbors(energy, example, value, batch, bitwise)
    _check_memory(energy, example, value)
    if not holds_rows(energy):
        _check_empty(energy, example)
    if not holds_rows(energy) and not is_random(energy, example):
        _check_order(energy, example, value, batch)
    _check_dtype(energy, example)


def _check_form(energy: Energy, example: Example, value: Tensor, batch: int) -> None:
    like = leading(example)
    if value.shape != (batch,):
        raise Wrong(f"an energy is one number a row: expected shape ({batch},), came {tuple(value.shape)}.")
    if value.dtype != like.dtype or value.device != like.device:
        raise Wrong(
            f"an energy has the dtype and device of its variables: expected {like.dtype} on {like.device}, "
            f"came {value.dtype} on {value.device}."
        )
    if energy.indicator:
        require_rows(Wrong, (value == 0) | (value == torch.inf), "an indicator is 0 or +inf", value)
    else:
        require_rows(Wrong, torch.isfinite(value), "an energy is finite at the example", value)


def _check_neighbors(energy: Energy, example: Example, value: Tensor, batch: int, bitwise: bool) -> None:
    tolerance = 0.0 if bitwise else rounding(value.dtype)
    for row in range(batch):
        changed = evaluate(energy, replace_row(example, row, (row + 1) % batch))
        changed[row] = value[row]
        require_equal(Wrong, changed, value, f"replacing row {row} may change no other row", tolerance)


def _check_order(energy: Energy, example: Example, value: Tensor, batch: int) -> None:
    close = rounding(value.dtype)
    turned = torch.arange(batch).roll(1)
    came = evaluate(energy, choose(example, turned))
    require_equal(
        Wrong, came, value[turned.to(value.device)], "permuting the rows permutes their energies", close
    )
    for row in range(batch):
        came = evaluate(energy, choose(example, torch.tensor([row])))
        require_equal(
            Wrong,
            came,
            value[row : row + 1],
            f"row {row} alone (B = 1) has the energy it had among others",
            close,
        )


def _check_empty(energy: Energy, example: Example) -> None:
    nothing = choose(example, torch.arange(0))
    try:
        came = evaluate(energy, nothing)
    except Exception as problem:
        raise Wrong(f"no rows (B = 0) have no energies: expected shape (0,), came {problem!r}.") from problem
    if came.shape != (0,):
        raise Wrong(f"no rows (B = 0) have no energies: expected shape (0,), came {tuple(came.shape)}.")


def _check_memory(energy: Energy, example: Example, value: Tensor) -> None:
    strided = {name: map_rows(v, _rows_apart) for name, v in example.items()}
    try:
        came = evaluate(energy, strided)
    except RuntimeError as problem:
        raise Wrong(
            f"how a tensor lies in memory does not matter: expected the same energies of non-contiguous "
            f"tensors, "
            f"came {problem!r}. Use flatten or reshape, not view."
        ) from problem
    require_equal(Wrong, came, value, "non-contiguous tensors have the same energies", rounding(value.dtype))


def _rows_apart(t: Tensor) -> Tensor:
    """The same values with the rows last in memory."""
    return t.movedim(0, -1).contiguous().movedim(-1, 0)


def _check_dtype(energy: Energy, example: Example) -> None:
    other = torch.float32 if leading(example).dtype == torch.float64 else torch.float64
    here = converted(example, dtype=other)
    claim = f"an energy follows the dtype of its variables: expected {other} after .to({other}), came"
    cure = "Register tensors as parameters or buffers, and make new ones with y.new_zeros(...)."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inner solve may not reach its tolerance in float32
            came = copied(energy, dtype=other).bind(here, seeded(leading(here)))()
    except RuntimeError as problem:
        raise Wrong(f"{claim} {problem!r}. {cure}") from problem
    if came.dtype != other:
        raise Wrong(f"{claim} {came.dtype}. {cure}")

"""How a contract fails: an AssertionError that says what was expected, what came and in which row.

|came - expected| <= tolerance · (1 + |expected|)        entry by entry

Tolerance 0 asks for the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.rows import expand


class ContractError(AssertionError):
    """A contract that does not hold."""


class EnergyContractError(ContractError):
    """An energy that is not what `ebm.testing.check_energy` asks of one."""


class MinimizerContractError(ContractError):
    """A minimizer that is not what `ebm.testing.check_minimizer` asks of one."""


class SamplerContractError(ContractError):
    """A sampler that is not what `ebm.testing.check_sampler` asks of one."""


class CriterionContractError(ContractError):
    """A criterion that is not what `ebm.testing.check_criterion` asks of one."""


class LossContractError(ContractError):
    """A loss that is not what `ebm.testing.check_loss` asks of one."""


Kind = type[ContractError]


def rounding(dtype: torch.dtype) -> float:
    """The relative difference that another order of sums may make: 1e-12 in float64, 5e-4 in float32."""
    if not dtype.is_floating_point:
        return 0.0
    return 1e-12 if dtype == torch.float64 else 4096 * torch.finfo(dtype).eps


def require(kind: Kind, holds: bool, claim: str) -> None:
    """Raise `kind` with the claim unless it holds."""
    if not holds:
        raise kind(claim)


def require_rows(kind: Kind, holds: Tensor, claim: str, came: Tensor | None = None) -> None:
    """Raise `kind` unless the claim holds in every row; names the rows, and what came in the first of them.

    Args:
        kind: the error to raise.
        holds: (B,) bool.
        claim: what was expected.
        came: what came instead, (B, ...).
    """
    if bool(holds.all()):
        return
    wrong = (~holds).nonzero().flatten().tolist()
    shown = "" if came is None else f"; row {wrong[0]} came as {_brief(came[wrong[0]])}"
    raise kind(f"{claim}; it does not hold in {len(wrong)} of {len(holds)} rows, {wrong[:5]}{shown}.")


def require_equal(kind: Kind, came: Tensor, expected: Tensor, claim: str, tolerance: float = 0.0) -> None:
    """Raise `kind` unless two tensors, B rows each, agree; NaN equals NaN.

    Args:
        kind: the error to raise.
        came, expected: (B, ...).
        claim: why they should agree.
        tolerance: of |came - expected| / (1 + |expected|); 0 asks for the same bits.
    """
    if came.shape != expected.shape:
        raise kind(f"{claim}: expected shape {tuple(expected.shape)}, came {tuple(came.shape)}.")
    if came.dtype != expected.dtype or came.device != expected.device:
        raise kind(
            f"{claim}: expected {expected.dtype} on {expected.device}, came {came.dtype} on {came.device}."
        )
    same = (came == expected) | (came.isnan() & expected.isnan())
    if tolerance:
        same = same | ((came - expected).abs() <= tolerance * (1 + expected.abs()))
    row = same.flatten(1).all(1) if same.ndim > 1 else same
    if bool(row.all()):
        return
    first = int((~row).nonzero()[0])
    wrong = ~same[first]
    a, b = came[first][wrong].flatten()[0].item(), expected[first][wrong].flatten()[0].item()
    allowed = (
        f"relative difference {abs(a - b) / (1 + abs(b)):.1e}, allowed {tolerance:.0e}"
        if tolerance
        else "bits differ"
    )
    raise kind(f"{claim}: row {first} of {len(row)}: expected {b!r}, came {a!r} ({allowed}).")


def gap(a: Tensor, b: Tensor) -> Tensor:
    """The largest absolute difference in each row, (B,)."""
    return (a - b).abs().flatten(1).amax(1) if a.ndim > 1 else (a - b).abs()


def per_row(values: list[float], like: Tensor) -> Tensor:
    """A number for each row, shaped to combine with `like`, (B, *shape)."""
    return expand(torch.tensor(values, dtype=like.dtype, device=like.device), like)


def _brief(row: Tensor) -> str:
    text = str(row.tolist()) if row.ndim else repr(row.item())
    return text if len(text) < 60 else text[:57] + "..."

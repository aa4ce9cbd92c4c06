"""What the models with closed forms share: how an exact answer is told, and which data they take.

z* = argmin_z E(y, z)        in one step, by a formula or by looking at every z
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.solution import CONVERGED, Solution, Stop


def exactly(value: Tensor, energy: Tensor, reason: Stop) -> Solution:
    """A solution found in one step; rows whose energy is no number are told as "non finite".

    Args:
        value: z*, (B, *shape).
        energy: E(y, z*), (B,).
        reason: why it is one, `Stop.EXHAUSTED` (all were looked at) or `Stop.GRADIENT` (it is 0 there); or
            why it may not be.
    """
    ones = torch.ones(len(energy), dtype=torch.int64, device=energy.device)
    finite = torch.isfinite(energy.detach())
    reasons = torch.where(finite, int(reason), int(Stop.NON_FINITE)).to(torch.uint8)
    return Solution(value, energy, finite if reason in CONVERGED else finite & False, ones, reasons)


def check_data(y: Tensor, width: int | None = None, least: int = 1) -> Tensor:
    """Data (N, D), detached, after a check.

    Args:
        y: the data.
        width: D, if it is known.
        least: how many rows there have to be.

    Raises:
        TypeError: if they are no tensor of floating point numbers.
        ValueError: if the shape is another, there are fewer rows, or one holds NaN or infinity (naming it).
    """
    if not isinstance(y, Tensor) or not y.is_floating_point():
        came = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"data are a tensor of floating point numbers; got {came}.")
    if y.ndim != 2 or y.shape[1] != (y.shape[1] if width is None else width) or not y.shape[1]:
        expected = "(N, D)" if width is None else f"(N, {width})"
        raise ValueError(f"data are {expected}, one example a row; got shape {tuple(y.shape)}.")
    if len(y) < least:
        raise ValueError(f"at least {least} rows of data are needed; there are {len(y)}.")
    if not bool(torch.isfinite(y.detach().sum())):  # then look closer
        bad = (~torch.isfinite(y).all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"data hold NaN or infinity in {len(bad)} of {len(y)} rows, {bad[:5]}; drop or repair them."
            )
    return y.detach()


def home(generator: torch.Generator | None) -> torch.device:
    """The device where a generator draws."""
    return torch.device("cpu") if generator is None else generator.device

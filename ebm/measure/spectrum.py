"""Spectra of codes: their singular values in float64, however many rows, and how many of them count.

    z = 1 z̄ᵀ + c,    c = Q R,        so RᵀR = cᵀc, and the singular values of c are those of R (D, D)
    effective number = exp(-Σ_k p_k ln p_k),    p_k = σ_k / Σ σ

R is found block by block (a QR decomposition of the R so far with the next rows below it), which squares
nothing: singular values come out with an error of 1e-16 of the largest, where those from cᵀc have 1e-8.

Reference: Roy & Vetterli (2007), "The effective rank: a measure of effective dimensionality", for the
effective number; Demmel, Grigori, Hoemmen & Langou (2012), "Communication-optimal parallel and sequential QR
and LU factorizations", for the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

ROWS = 4096  # of a block at least; four times D where that is more


def check_codes(z: Any, what: str = "codes") -> Tensor:
    """Codes (N, D), detached, after a check.

    Raises:
        TypeError: if they are no floating-point tensor.
        ValueError: if they have another shape, fewer than 2 rows, or an entry that is NaN or infinite.
    """
    if not isinstance(z, Tensor) or not z.is_floating_point():
        came = z.dtype if isinstance(z, Tensor) else type(z).__name__
        raise TypeError(f"{what} are a floating-point tensor (N, D); got {came}.")
    if z.ndim != 2 or len(z) < 2 or not z.shape[1]:
        raise ValueError(
            f"{what} have shape (N, D), one example a row, N >= 2; got {tuple(z.shape)}. Flatten or pool "
            f"what has more dimensions: z.flatten(1)."
        )
    bad = (~torch.isfinite(z)).any(1)
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        raise ValueError(f"{what} hold NaN or infinity in {len(rows)} of {len(z)} rows: {rows[:5]}.")
    return z.detach()


def double(z: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none (Apple's)."""
    return z.cpu().double() if z.device.type == "mps" else z.double()


def blocks(z: Tensor) -> Iterator[Tensor]:
    """The rows of codes (N, D) in float64, as many at a time as there is room for."""
    return (double(part) for part in z.split(max(ROWS, 4 * z.shape[1])))


def triangle(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean z̄ (D,) of codes and R (min(N, D), D) with RᵀR = (z - z̄)ᵀ(z - z̄), in float64."""
    first = double(z[0])  # off it, equal rows are exactly 0, whatever their mean rounds to
    mean = first + torch.stack([(part - first).sum(0) for part in blocks(z)]).sum(0) / len(z)
    r = mean.new_empty(0, len(mean))
    for part in blocks(z):
        r = torch.linalg.qr(torch.cat([r, part - mean]), mode="r").R
    return mean, r


def singular_values(z: Tensor, centered: bool) -> Tensor:
    """The min(N, D) singular values of codes, or of codes minus their mean, falling, in float64."""
    mean, r = triangle(z)
    return torch.linalg.svdvals(r) if centered else uncentered_values(mean, r, len(z))


def uncentered_values(mean: Tensor, r: Tensor, rows: int) -> Tensor:
    """Those of z, from what `triangle` returns: zᵀz = RᵀR + N z̄ z̄ᵀ, so the row √N z̄ comes below R."""
    return torch.linalg.svdvals(torch.cat([r, rows**0.5 * mean.unsqueeze(0)]))[: min(rows, len(mean))]


def effective_number(weights: Tensor, epsilon: float = 0.0) -> float:
    """exp(-Σ p ln p) for p = weights / Σ weights + ε: how many of the weights count; 0 if all are 0.

    Args:
        weights: (K,), none negative.
        epsilon: ε >= 0, which published versions add; K equal weights count K with ε = 0, a bit more with it.

    Example:
        >>> round(effective_number(torch.tensor([1.0, 1.0, 0.0])), 6)
        2.0
    """
    total = weights.sum()
    if not bool(total > 0):
        return 0.0
    p = weights / total + epsilon
    return float((-torch.special.xlogy(p, p).sum()).exp())


def check_epsilon(epsilon: float) -> None:
    """Refuse an ε that is no small number.

    Raises:
        ValueError: if it isn't in [0, 1).
    """
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon is added to shares that sum to 1, so it is in [0, 1); got {epsilon}.")

"""What models of y and z refuse: parameters that are no numbers, rows of another width, unknown codes.

An energy of a row that holds NaN is NaN, and says nothing of its neighbors; so the checks of y are left to
`ebm.regularized.exact.check_data`, which the exact inferences and the fits call.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check_parameters(**parameters: Tensor) -> None:
    """Raise unless all are finite floating point numbers.

    Raises:
        TypeError: naming the first that is of another dtype.
        ValueError: naming the first that holds NaN or infinity, and where.

    Example:
        >>> check_parameters(mean=torch.tensor([0.0, torch.nan]))
        Traceback (most recent call last):
        ValueError: mean holds NaN or infinity, at [1]; a model is made of finite numbers.
    """
    for name, value in parameters.items():
        if not value.is_floating_point():
            raise TypeError(f"{name} is a tensor of floating point numbers; got {value.dtype}.")
        bad = ~torch.isfinite(value.detach())
        if bool(bad.any()):
            where = ", ".join(str(place) for place in bad.nonzero().tolist()[:3])
            raise ValueError(f"{name} holds NaN or infinity, at {where}; a model is made of finite numbers.")


def check_width(name: str, rows: Tensor, width: int) -> Tensor:
    """Rows of a certain width, (B, width).

    Raises:
        ValueError: for another shape.
    """
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"{name} must be (B, {width}); got shape {tuple(rows.shape)}.")
    return rows


def check_choice(z: Tensor, choices: int, what: str) -> Tensor:
    """Numbers of one of K things, (B,) int64.

    Raises:
        TypeError: if they are no whole numbers, or not one a row.
        ValueError: if one lies outside [0, K).
    """
    if z.dtype != torch.int64 or z.ndim != 1:
        raise TypeError(f"z numbers {what}, (B,) int64; got {z.dtype} of shape {tuple(z.shape)}.")
    if len(z):
        low, high = (int(end) for end in z.aminmax())
        if low < 0 or high >= choices:
            raise ValueError(f"there are {choices} {what}, numbered from 0; got z from {low} to {high}.")
    return z


def check_decoded(y: Tensor, decoded: Tensor) -> Tensor:
    """What a decoder makes, shaped as y.

    Raises:
        ValueError: for another shape, which could otherwise be stretched to that of y in silence.
    """
    if decoded.shape != y.shape:
        raise ValueError(
            f"the decoder gives what y is, {tuple(y.shape)}; it gave {tuple(decoded.shape)}. Check the "
            f"sizes of encoder and decoder."
        )
    return decoded

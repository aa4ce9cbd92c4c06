"""What a check of an exercise requires of an answer, and how it names a slip.

A check feeds random inputs, first asks whether the answer is one of the well-known slips (`refuse`: the sign
turned, a factor missing), and only then whether it is right (`require_close`). So a message can name the
misconception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Fail an answer, with a message for the student, unless a condition holds.

    Args:
        condition: what must hold.
        message: what is wrong, and which misconception leads to it.

    Raises:
        AssertionError: with the message, if it does not hold.

    Example:
        >>> require(1 + 1 == 2, "One and one are two.")
    """
    if not condition:
        raise AssertionError(message)


def require_shape(found: Any, shape: Sequence[int], who: str) -> None:
    """Fail an answer that is no tensor of this shape.

    Args:
        found: what the student's function returned.
        shape: the shape asked for.
        who: the function's name, for the message.

    Raises:
        AssertionError: if it is no tensor, or has another shape.

    Example:
        >>> require_shape(torch.zeros(2, 3), (2, 3), "energy_table")
    """
    require(isinstance(found, Tensor), f"{who} must return a tensor; it returned {type(found).__name__}.")
    require(
        tuple(found.shape) == tuple(shape),
        f"{who} must return shape {tuple(shape)}; it returned {tuple(found.shape)}.",
    )


def refuse(found: Tensor, slip: Tensor, message: str, right: Tensor | None = None) -> None:
    """Fail an answer that equals what a known slip gives.

    Args:
        found: the answer.
        slip: what the slip gives, of the same shape.
        message: the misconception, by name.
        right: the right answer; where it equals the slip, nothing is refused.

    Raises:
        AssertionError: if the answer is the slip's.

    Example:
        >>> refuse(torch.tensor([2.0]), torch.tensor([-2.0]), "The sign is turned.")
    """
    told_apart = right is None or not _close(slip, right)
    require(not (told_apart and _close(found, slip)), message)


def require_close(found: Tensor, right: Tensor, message: str) -> None:
    """Fail an answer that differs from the right one by more than rounding.

    Args:
        found: the answer.
        right: the right one, of the same shape.
        message: what the answer should be.

    Raises:
        AssertionError: if they differ, or the answer has NaN.

    Example:
        >>> require_close(torch.ones(2), torch.ones(2), "The answer differs from 1.")
    """
    require(_close(found, right), message)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.detach().to(b.dtype), b.detach(), rtol=1e-6, atol=1e-9)

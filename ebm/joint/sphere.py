"""Codes of length 1: many criteria compare directions, so they first put every code on the unit sphere.

unit(z) = z / |z|,        ⟨unit(x), unit(y)⟩ = cos(x, y),        |unit(x) - unit(y)|² = 2 - 2 cos(x, y)
"""

from __future__ import annotations

import torch
from torch import Tensor

OFF = 2.0**-8  # from length 1, what rounding to bfloat16 can do and no more


def unit(z: Tensor) -> Tensor:
    """Every row at length 1; a row of zeros, which has no direction, stays zero and gets no gradient.

    Args:
        z: codes (N, D).

    Returns:
        z / |z|, (N, D).

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)  # (N, 1)
    return z / torch.where(length == 0, torch.inf, length)


def on_sphere(z: Tensor, normalize: bool, label: str) -> Tensor:
    """Codes of length 1: normalized, or refused if they aren't.

    Args:
        z: codes (N, D).
        normalize: whether to divide by the lengths; if not, they have to be 1 to 0.4 % (bfloat16's rounding).
        label: who asks, for the message.

    Raises:
        ValueError: if the codes should have length 1 already and don't.

    Example:
        >>> on_sphere(torch.full((2, 4), 0.5), normalize=False, label="NTXent").shape
        torch.Size([2, 4])
    """
    if normalize:
        return unit(z)
    length = torch.linalg.vector_norm(z.detach(), dim=1)
    if not bool(((length - 1).abs() <= OFF).all()):
        raise ValueError(
            f"{label}(normalize=False) expects codes of length 1; got lengths from {float(length.min()):.4g} "
            f"to {float(length.max()):.4g}. Divide each code by its length, or leave that to normalize=True."
        )
    return z

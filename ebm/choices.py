"""A discrete free variable: each entry is one of n choices.

a ∈ {0, ..., n - 1}^shape        (an actions sequence, a cluster index, a spin)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Choices:
    """The starting value of a discrete variable in `minimize(over=...)`.

    Args:
        start: (B, *shape) int64, entries in [0, n); (B,) for a single choice a row. Or a start object that
            makes it, whose numbers are rounded down: `Choices(Zeros(5), n=3)`.
        n: the number of values of each entry.

    Raises:
        TypeError: if the start is neither an int64 tensor nor a start object.
        ValueError: if n < 1, or an entry lies outside [0, n).

    Example:
        >>> Choices(torch.zeros(4, 3, dtype=torch.long), n=2).start.shape
        torch.Size([4, 3])
    """

    start: Any
    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"Choices needs at least one value to choose from; got n={self.n}.")
        if isinstance(self.start, nn.Module):
            return
        if not isinstance(self.start, Tensor) or self.start.dtype != torch.int64:
            got = self.start.dtype if isinstance(self.start, Tensor) else type(self.start).__name__
            raise TypeError(
                f"Choices holds indices, an int64 tensor (.long()), or a start object; got {got}."
            )
        if self.start.numel() and not 0 <= int(self.start.min()) <= int(self.start.max()) < self.n:
            raise ValueError(
                f"choices lie in [0, {self.n}); the start has {int(self.start.min())} to "
                f"{int(self.start.max())}."
            )

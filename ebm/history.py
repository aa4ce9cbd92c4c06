"""What happened while an energy was learned: a table of floats, one row a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class History:
    """A row of named floats for every step; a name may be missing in some rows.

    Attributes:
        rows: one dict of floats a step.
        interrupted: whether Ctrl-C or a callback ended the training before its last step.
        seconds: how long it took.

    Example:
        >>> history = History()
        >>> history.append({"loss": 2.0})
        >>> history.append({"loss": 1.0, "energy gap": 0.5})
        >>> history.column("energy gap")
        tensor([   nan, 0.5000], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.interrupted = False
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        last = self.rows[-1] if self.rows else {}
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        cut = "; interrupted" if self.interrupted else ""
        return f"History: {len(self)} steps in {self.seconds:.1f} s{cut}; last: {numbers or 'none'}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they appeared."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def append(self, row: Mapping[str, float]) -> None:
        """Write down one more step."""
        self.rows.append(dict(row))

    def column(self, name: str) -> Tensor:
        """One number a step, (steps,) float64; NaN where a step has none.

        Raises:
            KeyError: if no step has a number of this name; it lists the names that there are.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are: {', '.join(self.columns) or 'none yet'}.")
        return torch.tensor([row.get(name, math.nan) for row in self.rows], dtype=torch.float64)

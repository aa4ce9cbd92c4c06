"""What happened while an energy was learned: a table of floats, one row a step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

SHOWN = 8  # rows of the table that a text shows
FORMAT = "ebm history 1"


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
        >>> print(history)
        History: 2 steps in 0.0 s
        step  loss  energy gap
           1     2
           2     1         0.5
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.interrupted = False
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """A few rows at equal distances, the first and the last among them."""
        cut = "; interrupted" if self.interrupted else ""
        title = f"History: {len(self)} steps in {self.seconds:.1f} s{cut}"
        names, count = self.columns, min(len(self), SHOWN)
        steps = [1 + i * (len(self) - 1) // max(count - 1, 1) for i in range(count)]
        table = [["step", *names]] if steps else []
        for step in steps:
            row = self.rows[step - 1]
            table.append([str(step), *(f"{row[name]:.4g}" if name in row else "" for name in names)])
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = ("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in table)
        return "\n".join([title, *(line.rstrip() for line in lines)])

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

    def save(self, path: str | Path) -> None:
        """Write the table as JSON, a list of numbers for each column; null where a step has none.

        Every float comes back the same by `load`; those that JSON lacks are texts, "nan" and "inf".
        """
        columns = {name: [_to_json(row.get(name)) for row in self.rows] for name in self.columns}
        told = {"interrupted": self.interrupted, "seconds": self.seconds, "steps": len(self)}
        Path(path).write_text(json.dumps({"format": FORMAT, **told, "columns": columns}), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> History:
        """The table in a file that `save` wrote.

        Raises:
            ValueError: if the file is none, or not whole.

        Example:
            >>> import tempfile
            >>> history = History()
            >>> history.append({"loss": 0.1})
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     history.save(f"{folder}/history.json")
            ...     History.load(f"{folder}/history.json").rows
            [{'loss': 0.1}]
        """
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON, or was cut off: {error}.") from error
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(
                f"{path} is no history: its format should be {FORMAT!r}, as History.save writes."
            )
        history = cls()
        history.interrupted, history.seconds = told["interrupted"], told["seconds"]
        for step in range(told["steps"]):
            cells = {name: column[step] for name, column in told["columns"].items()}
            history.append({name: float(cell) for name, cell in cells.items() if cell is not None})
        return history


def _to_json(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)

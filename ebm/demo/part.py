"""One part of the demo: pictures, tables and numbers that fill up while it runs, and words around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from ebm.show import style


@dataclass(frozen=True)
class Picture:
    """A picture in the folder, and what to say about it; `alt` says what is seen to who cannot see it."""

    file: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header, and what to say about them."""

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Part:
    """A part while it is being made.

    Args:
        name: as the command line calls it; the prefix of its files.
        out: the folder to write pictures to.
        seed: of all its randomness; the same numbers whichever parts run beside it.
        quick: less data and fewer steps.
    """

    name: str
    out: Path
    seed: int
    quick: bool
    title: str = ""
    formula: str = ""  # HTML
    story: tuple[str, ...] = ()
    shown: list[Picture | Table] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: bool = False

    def introduce(self, title: str, formula: str, *story: str) -> None:
        """Say what the part is about: the energy in one formula (HTML), and a few paragraphs."""
        self.title, self.formula, self.story = title, formula, story

    def generator(self) -> torch.Generator:
        """A source of randomness that starts at the seed."""
        return torch.Generator().manual_seed(self.seed)

    def add(self, draw: Callable[[Figure], None], size: tuple[float, float], picture: Picture) -> None:
        """Draw a figure of `size` inches in the house's style, and write it at once."""
        with style():
            figure = Figure(figsize=size)
            draw(figure)
            figure.savefig(self.out / picture.file, facecolor="white")
        self.shown.append(picture)

    def add_table(
        self, title: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Show a table."""
        self.shown.append(Table(title, caption, tuple(header), tuple(map(tuple, rows))))

"""Progress bars: tqdm's where it is installed, else the loop runs in silence.

It lets the contracts run on a bare machine with torch and numpy (`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

try:
    from tqdm import tqdm
except ImportError:

    class tqdm:  # type: ignore[no-redef]
        """Takes what tqdm takes, yields the items and shows nothing."""

        def __init__(self, iterable: Iterable[Any] = (), **settings: Any):
            self.iterable = iterable

        def __iter__(self) -> Iterator[Any]:
            return iter(self.iterable)

        def __enter__(self) -> tqdm:
            return self

        def __exit__(self, *reason: Any) -> None:
            return None

        def update(self, n: int = 1) -> None:
            """Shows nothing."""

        def close(self) -> None:
            """Shows nothing."""

        def set_postfix(self, numbers: Any = None, **more: Any) -> None:
            """Shows nothing."""


__all__ = ["tqdm"]

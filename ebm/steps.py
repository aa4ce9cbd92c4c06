"""The loop of a classical algorithm: a progress bar if it takes long, and Ctrl-C heard between two steps.

    with Steps("title", total) as steps:   one step; steps.ended(over)?   one step; steps.ended(over)?   ...

A fit that is done at once shows no bar and pays no more than a look at the clock for each step.
"""

from __future__ import annotations

import time
from types import TracebackType

from ebm.interrupt import Interrupt
from ebm.progress import tqdm

AFTER = 0.5  # seconds without a bar
EVERY = 0.1  # seconds between two looks at the bar


class Steps:
    """Counts steps, shows them, and notes Ctrl-C; a second Ctrl-C leaves the block at once.

    Args:
        title: of the bar.
        total: how many steps there can be.
        progress: whether to show a bar.

    Attributes:
        interrupted: whether Ctrl-C ended the loop before it was over.

    Example:
        >>> with Steps("halving", 10, progress=False) as steps:
        ...     value = 1.0
        ...     for step in range(10):
        ...         value /= 2
        ...         if steps.ended(value < 0.1, value=value):
        ...             break
        >>> value, steps.interrupted
        (0.0625, False)
    """

    def __init__(self, title: str, total: int, progress: bool = True):
        self.interrupted = False
        self._title, self._total, self._taken, self._told = title, total, 0, 0
        self._ctrl_c = Interrupt()
        self._bar: tqdm | None = None
        self._look = time.perf_counter() + AFTER if progress else float("inf")

    def __enter__(self) -> Steps:
        self._ctrl_c.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._ctrl_c.__exit__(kind, error, trace)
        if self._bar is not None:
            self._bar.update(self._taken - self._told)
            self._bar.close()
        at_once = kind is KeyboardInterrupt
        self.interrupted = self.interrupted or at_once
        return at_once

    def ended(self, over: bool, **numbers: float) -> bool:
        """Count one more step; whether it is the last one: the loop is over, or Ctrl-C came.

        Args:
            over: whether the algorithm ends here by itself.
            numbers: what the bar says of it.
        """
        self._taken += 1
        if time.perf_counter() >= self._look:
            self._show(numbers)
        self.interrupted = self._ctrl_c.asked and not over
        return over or self._ctrl_c.asked

    def cut(self) -> bool:
        """Whether Ctrl-C came, so that what would follow, another start for instance, is left out."""
        self.interrupted = self.interrupted or self._ctrl_c.asked
        return self.interrupted

    def _show(self, numbers: dict[str, float]) -> None:
        if self._bar is None:
            self._bar = tqdm(total=self._total, desc=self._title, initial=self._taken)
            self._told = self._taken
        self._bar.set_postfix({name: f"{value:.6g}" for name, value in numbers.items()}, refresh=False)
        self._bar.update(self._taken - self._told)
        self._told, self._look = self._taken, time.perf_counter() + EVERY

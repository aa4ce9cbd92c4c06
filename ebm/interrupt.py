"""Ctrl-C, heard between two steps: what a step changes is changed wholly or not at all."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """Notes a Ctrl-C in the block instead of raising it; a second one raises as usual.

    Where something else listens already, or outside of the main thread, everything stays as it is.

    Attributes:
        asked: whether there was one.

    Example:
        >>> with Interrupt() as interrupt:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print("the step is finished;", interrupt.asked)
        the step is finished; True
    """

    def __init__(self) -> None:
        self.asked = self._listens = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._hear)
            self._listens = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

"""The controls of an explorer: what it lets a reader change, with the values that are allowed.

Each has a `name`, by which `State.set` or `State.press` is told, a `label` for readers, and `check(value)`,
which returns the value in its own type or says what would be right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Slider:
    """A number between two ends.

    Args:
        name: what `State.set` is called with.
        label: for readers, with the unit if there is one: "inverse temperature β".
        low, high: the ends, both allowed.
        value: where it is now.
        log: equal ways on the slider are equal ratios; needs low > 0.
        step: the values are low, low + step, ...; None for (nearly) any number. For whole numbers 1.

    Example:
        >>> Slider("beta", "inverse temperature β", 0.1, 100.0, 1.0, log=True).check(200)
        Traceback (most recent call last):
        ValueError: inverse temperature β ("beta") goes from 0.1 to 100.0; got 200.
    """

    name: str
    label: str
    low: float
    high: float
    value: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self._who} needs finite ends low < high; got {self.low} and {self.high}.")
        if self.log and self.low <= 0:
            raise ValueError(f"{self._who} is logarithmic, so low > 0; got {self.low}.")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"{self._who} needs 0 < step <= high - low, or None; got {self.step}.")
        self.check(self.value)

    @property
    def _who(self) -> str:
        return f'{self.label} ("{self.name}")'

    def check(self, value: object) -> float:
        """The value as a float, on the nearest step."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{self._who} is a number; got {value!r}.")
        slack = 1e-9 * (self.high - self.low)  # a browser's arithmetic may end a hair beyond
        if not self.low - slack <= value <= self.high + slack:
            raise ValueError(f"{self._who} goes from {self.low} to {self.high}; got {value}.")
        value = min(max(float(value), self.low), self.high)
        if self.step is None:
            return value
        return min(self.low + self.step * round((value - self.low) / self.step), self.high)


@dataclass(frozen=True)
class Choice:
    """One of a few words.

    Args:
        name, label: as in `Slider`.
        options: the words, two at least, all different.
        value: the one that is chosen.
    """

    name: str
    label: str
    options: tuple[str, ...]
    value: str

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) < len(self.options):
            raise ValueError(f'"{self.name}" needs options that are all different; got {self.options}.')
        self.check(self.value)

    def check(self, value: object) -> str:
        """The value, one of the options."""
        if value not in self.options:
            raise ValueError(
                f'{self.label} ("{self.name}") is one of {", ".join(map(repr, self.options))}; got {value!r}.'
            )
        return str(value)


@dataclass(frozen=True)
class Toggle:
    """On or off.

    Args:
        name, label: as in `Slider`.
        value: True if on.
    """

    name: str
    label: str
    value: bool

    def check(self, value: object) -> bool:
        """The value, True or False."""
        if not isinstance(value, bool):
            raise TypeError(f'{self.label} ("{self.name}") is True or False; got {value!r}.')
        return value


@dataclass(frozen=True)
class Button:
    """Something to press; `State.press(name)` is told.

    Args:
        name, label: as in `Slider`.
    """

    name: str
    label: str


Control = Slider | Choice | Toggle | Button

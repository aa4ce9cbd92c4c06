"""The state of an explorer: the numbers behind it and what a reader may do to them; no widget in it.

Whoever shows it (the widget, the static picture, a test) calls `set`, `press`, `drag`, `click` and `tick`,
and then asks for the `scene` and the `probe`. A subclass writes the hooks with an underscore, which get
values that are already checked.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from ebm.show.explorers.controls import Button, Control
from ebm.show.explorers.scene import Scene

Value = float | str | bool


class State(ABC):
    """What an explorer explores.

    A subclass gives `title`, `scene` and `probe`, and as far as it has them `controls`, `handles` (the names
    of what can be dragged), `_set`, `_press`, `_drag`, `_click` and `tick` (with its `pace`).

    Example:
        >>> from ebm.show.explorers.controls import Slider
        >>> from ebm.show.explorers.scene import Dots, Panel, array
        >>> class Square(State):
        ...     title, x = "A square", 2.0
        ...     def controls(self):
        ...         return (Slider("x", "x", 0.0, 3.0, self.x),)
        ...     def scene(self):
        ...         dot = Dots(array([[self.x, self.x**2]]), "#0072B2")
        ...         return Scene((Panel("x²", "x", "x²", (0, 3, 0, 9), (dot,)),), f"x² is {self.x**2:.2f}.")
        ...     def probe(self):
        ...         return {"square": self.x**2}
        >>> square = Square()
        >>> square.set("x", 3)
        >>> square.probe(), square.scene().text
        ({'square': 9.0}, 'x² is 9.00.')
        >>> square.set("y", 3)
        Traceback (most recent call last):
        ValueError: A square has no control 'y' to set; it has x.
    """

    title: str
    handles: tuple[str, ...] = ()
    verb: str = "Play"  # what the button says that starts the ticks, e.g. "Train"
    pace: float = 0.0  # seconds from one tick to the next at the least, so that the eye can follow

    @abstractmethod
    def scene(self) -> Scene:
        """What is to be seen now."""

    @abstractmethod
    def probe(self) -> dict[str, float]:
        """The numbers that matter now, by name: what tests and screen readers look at."""

    def controls(self) -> tuple[Control, ...]:
        """The controls, with their values as they are now."""
        return ()

    def set(self, name: str, value: Value) -> None:
        """Give a slider, choice or toggle a value.

        Raises:
            ValueError: for a name that is unknown, or a value that is out of range.
            TypeError: for a value of another type.
        """
        settable = {c.name: c for c in self.controls() if not isinstance(c, Button)}
        control = settable[self._known(name, tuple(settable), "control", "to set")]
        self._set(name, control.check(value))

    def press(self, name: str) -> None:
        """Press a button.

        Raises:
            ValueError: for a button that is unknown.
        """
        buttons = tuple(c.name for c in self.controls() if isinstance(c, Button))
        self._press(self._known(name, buttons, "button", "to press"))

    def drag(self, name: str, x: float, y: float) -> None:
        """Move a handle to (x, y), in the coordinates of its panel.

        Raises:
            ValueError: for a handle that is unknown, or a place that isn't finite.
        """
        self._known(name, self.handles, "handle", "to drag")
        self._drag(name, *self._place(x, y))

    def click(self, panel: str, x: float, y: float) -> None:
        """Click at (x, y) on the clickable panel of that title.

        Raises:
            ValueError: for a panel that can't be clicked, or a place that isn't finite.
        """
        panels = tuple(p.title for p in self.scene().panels if p.clickable)
        self._click(self._known(panel, panels, "panel", "to click"), *self._place(x, y))

    def tick(self) -> bool:
        """One frame of an animation, or one step; True while there is more to come."""
        return False

    @property
    def plays(self) -> bool:
        """Whether there is something to play: whether the subclass has a `tick` of its own."""
        return type(self).tick is not State.tick

    def _set(self, name: str, value: Value) -> None:
        """Take a checked value; here, as the attribute of that name."""
        setattr(self, name, value)

    def _press(self, name: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} has buttons, so it needs _press(name).")

    def _drag(self, name: str, x: float, y: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} has handles, so it needs _drag(name, x, y).")

    def _click(self, panel: str, x: float, y: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} takes clicks, so it needs _click(panel, x, y).")

    def _known(self, name: str, names: tuple[str, ...], kind: str, to: str) -> str:
        if name not in names:
            has = ", ".join(names) if names else "none"
            raise ValueError(f"{self.title} has no {kind} {name!r} {to}; it has {has}.")
        return name

    def _place(self, x: float, y: float) -> tuple[float, float]:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"a place is two finite numbers (x, y); got ({x}, {y}).")
        return float(x), float(y)

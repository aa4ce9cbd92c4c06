"""The landscape explorer: inference as a path downhill, which is dragged, stepped through, and heated.

    y_0 (dragged)  →  y_1  →  ...  →  y* = argmin_y F_β(x, y)        by any method that `minimize` takes

F_β is the energy itself where there is no latent; where there is one, β slides it from the minimum over z
(β = ∞) towards the mean (β → 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.show.explorers.controls import Choice, Control, Slider, Toggle
from ebm.show.explorers.descent import METHODS, SIZED, descend
from ebm.show.explorers.fields import heat
from ebm.show.explorers.scene import Dots, Handle, Heat, Line, Panel, Scene
from ebm.show.explorers.state import State, Value
from ebm.show.explorers.subjects import Subject, gallery
from ebm.show.landscape import energy_on_grid
from ebm.show.style import BLUE, GREEN, ORANGE, VERMILION

GRID = 61  # points a side
LOWEST = 1e-10  # the least that is told apart from zero, in energy


class Landscape(State):
    """Choose an energy and a method, drag the start (and the observation), and step along the path.

    Args:
        subjects: what can be chosen: a `Subject`, or several by name; `gallery()` if None.

    Raises:
        TypeError: for something else; a bare energy needs to be told what to show: Subject(energy, extent).
        ValueError: for no subject.

    Example:
        >>> explorer = Landscape()
        >>> explorer.set("method", "Newton")
        >>> explorer.drag("start", 3.5, 2.5)
        >>> found = explorer.probe()
        >>> round(found["end_x"], 4), round(found["end_y"], 4), found["converged"]
        (3.0, 2.0, 1.0)
    """

    title, verb, pace = "Energy landscapes", "Walk", 0.08

    def __init__(self, subjects: Subject | Mapping[str, Subject] | None = None):
        if isinstance(subjects, Subject):
            subjects = {subjects.energy.label: subjects}
        subjects = gallery() if subjects is None else dict(subjects)
        strange = [s for s in subjects.values() if not isinstance(s, Subject)]
        if strange:
            raise TypeError(f"the landscape looks at Subject(energy, extent); got {strange[0]!r}.")
        if not subjects:
            raise ValueError("the landscape needs a subject to look at; got none.")
        self.subjects, self.method = subjects, "gradient descent"
        self._look_at(next(iter(subjects)))

    def _look_at(self, name: str) -> None:
        self.name, self.subject = name, self.subjects[name]
        x0, x1, y0, y1 = self.subject.extent
        self.start = self.subject.start or (0.8 * x0 + 0.2 * x1, 0.25 * y0 + 0.75 * y1)
        self.seen, self.step_size = self.subject.seen, self.subject.step_size
        self.beta, self.minimize = 2.0, True
        self._changed()

    def _changed(self) -> None:
        """Minimize anew, and show the whole path."""
        self._field: Heat | None = None
        self._walk()

    def _walk(self) -> None:
        over, given = self.subject.over, self._given()
        self.path = descend(self.free_energy(), over, self.start, given, self.method, self.step_size)
        self.shown = self.path.last

    def free_energy(self) -> Energy:
        """The energy that is minimized: F_β, or the energy itself where there is no latent."""
        return self.subject.free_energy(self.temperature)

    @property
    def temperature(self) -> float:
        """β, inf where z is minimized."""
        return math.inf if self.minimize else self.beta

    def _given(self) -> dict[str, Tensor]:
        if self.subject.observed is None:
            return {}
        return {self.subject.observed: torch.tensor([self.seen], dtype=self.subject.dtype)}

    @property
    def handles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The start, and the observation where there is one."""
        return ("start",) if self.subject.observed is None else ("start", "seen")

    def controls(self) -> tuple[Control, ...]:
        found: list[Control] = []
        if len(self.subjects) > 1:
            found.append(Choice("energy", "energy", tuple(self.subjects), self.name))
        found.append(Choice("method", "method", METHODS, self.method))
        if self.method in SIZED:
            found.append(Slider("step_size", "step size", 1e-4, 1.0, self.step_size, log=True))
        if self.subject.latent is not None:
            found.append(Toggle("minimize", "β = ∞ (the minimum over z)", self.minimize))
            found.append(Slider("beta", "inverse temperature β", 0.05, 100.0, self.beta, log=True))
        if self.path.last:
            found.append(Slider("shown", "step", 0, self.path.last, self.shown, step=1))
        return tuple(found)

    def _set(self, name: str, value: Value) -> None:
        if name == "energy":
            self._look_at(str(value))
        elif name == "shown":
            self.shown = int(value)
        elif name in ("method", "step_size"):
            setattr(self, name, value)
            self._walk()
        else:
            setattr(self, name, value)
            if name == "beta":
                self.minimize = False  # who slides β wants to see it
            self._changed()

    def _drag(self, name: str, x: float, y: float) -> None:
        x0, x1, y0, y1 = self.subject.extent
        setattr(self, name, (min(max(x, x0), x1), min(max(y, y0), y1)))
        if name == "seen":
            self._changed()
        else:
            self._walk()

    def tick(self) -> bool:
        """One step along the path, from the start again once it is at the end; False at the end."""
        self.shown = 0 if self.shown == self.path.last else self.shown + 1
        return self.shown < self.path.last

    def probe(self) -> dict[str, float]:
        (end_x, end_y), (x, y) = self.path.points[[-1, self.shown]].tolist()
        return {
            "start_x": self.start[0],
            "start_y": self.start[1],
            "end_x": end_x,
            "end_y": end_y,
            "x": x,
            "y": y,
            "energy": float(self.path.energies[self.shown]),
            "energy_start": float(self.path.energies[0]),
            "energy_end": float(self.path.energies[-1]),
            "shown": float(self.shown),
            "steps": float(self.path.last),
            "converged": float(self.path.converged),
            "beta": self.temperature,
            **({} if self.subject.observed is None else {"seen_x": self.seen[0], "seen_y": self.seen[1]}),
        }

    def scene(self) -> Scene:
        found = self.probe()
        text = (
            f"Step {self.shown} of {self.path.last} by {self.method}: energy {found['energy']:.4g} at "
            f"({found['x']:.2f}, {found['y']:.2f}). The path ends at ({found['end_x']:.2f}, "
            f"{found['end_y']:.2f}) with energy {found['energy_end']:.4g}: {self.path.end}."
        )
        return Scene((self._map(), self._descent()), text)

    def _map(self) -> Panel:
        over = self.subject.over
        name = "E" if self.subject.latent is None else "F∞" if self.minimize else "Fβ"
        field = self._field
        if field is None:
            looked = self.subject
            energies = energy_on_grid(
                self.free_energy(), over, looked.extent, self._given(), GRID, looked.dtype
            )[2]
            field = self._field = heat(energies, f"{name}({over})", looked.quantile)
        path = self.path.points[: self.shown + 1]
        handles = [Handle("start", *self.start, "start", ORANGE)]
        if self.subject.observed is not None:
            handles.append(Handle("seen", *self.seen, f"observation {self.subject.observed}", GREEN))
        return Panel(
            self.name[:1].upper() + self.name[1:],
            f"{over}₁",
            f"{over}₂",
            self.subject.extent,
            (
                field,
                Line(path, VERMILION, "path", width=1.5),
                Dots(path, VERMILION, 4),
                Dots(path[-1:], VERMILION, 11, "step shown"),
                *handles,
            ),
        )

    def _descent(self) -> Panel:
        lowest = min(float(self.path.energies.min()), math.inf if self._field is None else self._field.low)
        above = np.log10(np.maximum(self.path.energies - lowest, LOWEST))
        curve = np.stack([np.arange(len(above)), above], 1)
        steps = max(self.path.last, 1)
        here = curve[self.shown : self.shown + 1]
        return Panel(
            "Energy along the path",
            "step",
            "log₁₀ (energy - lowest seen)",
            (-0.02 * steps, 1.02 * steps, float(above.min()) - 0.3, float(above.max()) + 0.3),
            (Line(curve, BLUE), Dots(curve, BLUE, 4), Dots(here, VERMILION, 11)),
            equal=False,
        )

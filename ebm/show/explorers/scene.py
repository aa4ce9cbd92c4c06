"""A scene: what an explorer shows, as plain numbers; two renderers draw it, a canvas and matplotlib.

A scene is a row of panels and one sentence; a panel is a pair of axes with layers, drawn in their order.
Coordinates are those of the panel's axes, x to the right and y upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Extent = tuple[float, float, float, float]  # (x0, x1, y0, y1)


def array(values: Tensor | np.ndarray | Sequence) -> np.ndarray:
    """Numbers of any kind as a float64 array on the CPU, cut off from any graph.

    Example:
        >>> array([[0, 1], [2, 3]]).shape
        (2, 2)
    """
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Heat:
    """A field over the panel as colors, dark where it is low.

    Args:
        values: (R, C), the first row at the bottom, its corner values on the panel's edges. NaN stays blank.
        low, high: the values that get the darkest and the lightest color; those beyond get them too.
        label: what the colors mean, e.g. "energy".
    """

    values: np.ndarray
    low: float
    high: float
    label: str

    def __post_init__(self) -> None:
        _shaped(self, "values", (None, None))
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ValueError(f"Heat needs finite low < high; got low={self.low}, high={self.high}.")


@dataclass(frozen=True, eq=False)
class Gray:
    """An image in grays.

    Args:
        values: (R, C), 0 is black and 1 white; the first row on top, as images are.
        extent: the part of the panel that it fills; all of it if None.
    """

    values: np.ndarray
    extent: Extent | None = None

    def __post_init__(self) -> None:
        _shaped(self, "values", (None, None))


@dataclass(frozen=True, eq=False)
class Line:
    """A line through points, or through K of them in turn; NaN breaks it.

    Args:
        points: (K, 2).
        color: as "#0072B2".
        label: its name in the legend; "" for none.
        dashed: dashes, for what is not the main thing.
        width: in points of 1/96 inch.
    """

    points: np.ndarray
    color: str
    label: str = ""
    dashed: bool = False
    width: float = 2.0

    def __post_init__(self) -> None:
        _shaped(self, "points", (None, 2))


@dataclass(frozen=True, eq=False)
class Dots:
    """Round dots.

    Args:
        points: (N, 2).
        color: as "#0072B2".
        size: diameter in points of 1/96 inch.
        label: their name in the legend; "" for none.
    """

    points: np.ndarray
    color: str
    size: float = 4.0
    label: str = ""

    def __post_init__(self) -> None:
        _shaped(self, "points", (None, 2))


@dataclass(frozen=True, eq=False)
class Bars:
    """Upright bars from y = 0, the i-th between x = i - 0.4 and i + 0.4.

    Args:
        heights: (N,).
        color: as "#0072B2".
        labels: N words under the bars, in place of the numbers of the x axis; or none.
    """

    heights: np.ndarray
    color: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _shaped(self, "heights", (None,))
        if self.labels and len(self.labels) != len(self.heights):
            raise ValueError(f"{len(self.heights)} bars have as many labels, or none; got {self.labels}.")


@dataclass(frozen=True)
class Handle:
    """A point that can be dragged, by the mouse or by arrow keys; `State.drag(name, x, y)` is told where to.

    Args:
        name: what `drag` is called with; no two handles of a scene share it.
        x, y: where it is.
        label: its name for readers, e.g. "start".
        color: as "#0072B2".
    """

    name: str
    x: float
    y: float
    label: str
    color: str


Layer = Heat | Gray | Line | Dots | Bars | Handle


@dataclass(frozen=True, eq=False)
class Panel:
    """A pair of axes and what is drawn on them.

    Args:
        title: one short line.
        xlabel, ylabel: what the axes mean, with units; an empty one leaves the axis' numbers away too.
        extent: (x0, x1, y0, y1), what the axes show.
        layers: drawn in this order.
        equal: one unit of x is as long as one of y.
        clickable: clicks on it are told to `State.click(title, x, y)`.
    """

    title: str
    xlabel: str
    ylabel: str
    extent: Extent
    layers: tuple[Layer, ...]
    equal: bool = True
    clickable: bool = False

    def __post_init__(self) -> None:
        x0, x1, y0, y1 = self.extent
        if not (np.isfinite(self.extent).all() and x0 < x1 and y0 < y1):
            raise ValueError(f"a panel's extent is finite, x0 < x1 and y0 < y1; got {self.extent}.")

    def of(self, kind: type) -> tuple:
        """The layers of one kind.

        Example:
            >>> Panel("empty", "x", "y", (0, 1, 0, 1), ()).of(Heat)
            ()
        """
        return tuple(layer for layer in self.layers if isinstance(layer, kind))


@dataclass(frozen=True, eq=False)
class Scene:
    """Panels from left to right, and one plain sentence that says what is seen.

    Args:
        panels: one at least, titles all different.
        text: the status line, which screen readers speak: "L-BFGS reached the energy 0.00 in 9 steps."

    Example:
        >>> dots = Dots(np.zeros((1, 2)), "#0072B2")
        >>> scene = Scene((Panel("Data", "y₁", "y₂", (-1, 1, -1, 1), (dots,)),), "One point at the center.")
        >>> [len(layer.points) for layer in scene.panels[0].of(Dots)]
        [1]
    """

    panels: tuple[Panel, ...]
    text: str

    def __post_init__(self) -> None:
        titles = [panel.title for panel in self.panels]
        names = [handle.name for panel in self.panels for handle in panel.of(Handle)]
        for what, found in (("panels need titles", titles), ("handles need names", names)):
            if len(set(found)) < len(found):
                raise ValueError(f"{what} that are all different; got {found}.")
        if not self.panels:
            raise ValueError("a scene has one panel at least; got none.")


def _shaped(layer: object, field: str, shape: tuple[int | None, ...]) -> None:
    """Check the shape of a layer's array; None stands for any length (of an image: one at least)."""
    values = getattr(layer, field)
    found = getattr(values, "shape", None)
    fits = (
        isinstance(values, np.ndarray)
        and values.ndim == len(shape)
        and all(want in (None, have) for want, have in zip(shape, values.shape, strict=True))
        and (values.size or shape != (None, None))
    )
    if not fits:
        wanted = ", ".join("N" if n is None else str(n) for n in shape)
        raise ValueError(
            f"{type(layer).__name__} needs {field} as a numpy array ({wanted}); got {type(values).__name__} "
            f"of shape {found}. `array(tensor)` makes one of a tensor."
        )

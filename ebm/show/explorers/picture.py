"""The static view of an explorer: its scene by matplotlib, where no widget runs, in tests and on paper."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ebm.show.explorers.controls import Button, Choice, Control, Toggle
from ebm.show.explorers.scene import Bars, Dots, Gray, Handle, Heat, Layer, Line, Panel
from ebm.show.explorers.state import State
from ebm.show.style import ENERGY_MAP, style

HEIGHT = 2.7  # inches of axes
LEFT, RIGHT, BAR, TOP, TICKS = 0.75, 0.15, 0.85, 0.4, 0.65  # inches beside, above and below them
LINE = 0.21  # inches of a line of words, in a legend or under the picture
Rectangle = tuple[float, float, float, float]
SHAPE = 1.2  # width to height of axes that are free in it
POINT = 72 / 96  # a scene measures in pixels of CSS, matplotlib in points


def picture(state: State, figure: Figure | None = None) -> Figure:
    """Draw what an explorer shows now: its panels, the values of its controls, and its sentence.

    Args:
        state: the explorer's state.
        figure: an empty figure to draw on; a new one of fitting size if None.

    Returns:
        The figure.

    Example:
        >>> from ebm.show.explorers import EllipseExplorer
        >>> figure = picture(EllipseExplorer())
        >>> figure.axes[0].get_title("left")
        'Free energy F(y)'
    """
    scene = state.scene()
    widths = [LEFT + HEIGHT * _shape(panel) + RIGHT + BAR * bool(panel.of(Heat)) for panel in scene.panels]
    says = [_said(control) for control in state.controls() if not isinstance(control, Button)]
    room = int(12.5 * sum(widths))  # letters in a line
    lines = textwrap.wrap("   ".join(says), room) + textwrap.wrap(scene.text, room)
    below = LINE * (len(lines) + 0.5)
    axes_at = below + 0.1 + LINE * max((len(_named(panel)) + 1) // 2 for panel in scene.panels) + TICKS
    size = sum(widths), axes_at + HEIGHT + TOP
    with style():
        figure = Figure(figsize=size) if figure is None else figure
        figure.set_layout_engine("none")  # every place is known
        figure.text(0.1 / size[0], below / size[1], "\n".join(lines), fontsize=10, va="top")
        left = LEFT
        for panel, width in zip(scene.panels, widths, strict=True):
            place = (left, axes_at, HEIGHT * _shape(panel), HEIGHT)
            draw(panel, figure.add_axes(_part(place, size)))
            for heat in panel.of(Heat):
                bar = (left + HEIGHT * _shape(panel) + 0.1, axes_at, 0.1, HEIGHT)
                colors = ScalarMappable(Normalize(heat.low, heat.high), ENERGY_MAP)
                figure.colorbar(
                    colors, cax=figure.add_axes(_part(bar, size)), label=heat.label, ticks=_ticks()
                )
            left += width
    return figure


def draw(panel: Panel, ax: Axes) -> Axes:
    """Draw one panel of a scene on axes, and return them."""
    x0, x1, y0, y1 = panel.extent
    ax.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel, xlim=(x0, x1), ylim=(y0, y1))
    for axis, label in ((ax.xaxis, panel.xlabel), (ax.yaxis, panel.ylabel)):
        if label:
            axis.set_major_locator(_ticks())
        else:
            axis.set_ticks([])
    if not panel.xlabel and not panel.ylabel:
        ax.spines[:].set_visible(False)
    for order, layer in enumerate(panel.layers, 2):
        DRAWERS[type(layer)](layer, panel, ax, order)
    if _named(panel):
        below = -(TICKS if panel.xlabel else 0.1) / HEIGHT
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=2, borderaxespad=0)
    return ax


def _shape(panel: Panel) -> float:
    """Width to height of the axes."""
    x0, x1, y0, y1 = panel.extent
    return (x1 - x0) / (y1 - y0) if panel.equal else SHAPE


def _named(panel: Panel) -> list[str]:
    """What its legend names."""
    return [layer.label for layer in panel.layers if isinstance(layer, Line | Dots) and layer.label]


def _part(place: Rectangle, size: tuple[float, float]) -> Rectangle:
    """A place in inches (left, bottom, width, height) as parts of the figure."""
    return (place[0] / size[0], place[1] / size[1], place[2] / size[0], place[3] / size[1])


def _ticks() -> MaxNLocator:
    return MaxNLocator(5, steps=[1, 2, 5, 10])


def _said(control: Control) -> str:
    if isinstance(control, Toggle):
        return f"[{'x' if control.value else '  '}] {control.label}"
    if isinstance(control, Choice):
        return f"{control.label}: {control.value}"
    return f"{control.label} = {control.value:.4g}" if not isinstance(control, Button) else ""


def _heat(heat: Heat, panel: Panel, ax: Axes, order: int) -> None:
    rows, columns = heat.values.shape
    x0, x1, y0, y1 = panel.extent
    right, up = (x1 - x0) / max(columns - 1, 1) / 2, (y1 - y0) / max(rows - 1, 1) / 2  # corners on the edges
    ax.imshow(
        heat.values,
        extent=(x0 - right, x1 + right, y0 - up, y1 + up),
        vmin=heat.low,
        vmax=heat.high,
        cmap=ENERGY_MAP,
        origin="lower",
        interpolation="bilinear",
        aspect="auto",
        zorder=order,
    )
    ax.set(xlim=(x0, x1), ylim=(y0, y1))


def _gray(gray: Gray, panel: Panel, ax: Axes, order: int) -> None:
    ax.imshow(
        gray.values,
        extent=gray.extent or panel.extent,
        vmin=0,
        vmax=1,
        cmap="gray",
        aspect="auto",
        zorder=order,
    )
    ax.set(xlim=panel.extent[:2], ylim=panel.extent[2:])


def _line(line: Line, panel: Panel, ax: Axes, order: int) -> None:
    ax.plot(
        *line.points.T,
        color=line.color,
        linestyle="--" if line.dashed else "-",
        linewidth=line.width * POINT,
        label=line.label or None,
        zorder=order,
    )


def _dots(dots: Dots, panel: Panel, ax: Axes, order: int) -> None:
    ax.plot(
        *dots.points.T,
        "o",
        color=dots.color,
        markersize=dots.size * POINT,
        markeredgewidth=0.75 if dots.size >= 6 else 0,
        markeredgecolor="white",
        label=dots.label or None,
        zorder=order,
    )


def _bars(bars: Bars, panel: Panel, ax: Axes, order: int) -> None:
    places = range(len(bars.heights))
    ax.bar(places, bars.heights, 0.8, color=bars.color, zorder=order)
    if bars.labels:
        ax.set_xticks(places, bars.labels)
        ax.tick_params(axis="x", length=0)


def _handle(handle: Handle, panel: Panel, ax: Axes, order: int) -> None:
    options: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 1.5, "clip_on": False}
    ax.plot(handle.x, handle.y, "o", color=handle.color, markersize=10, zorder=order + 20, **options)
    left = handle.x > (panel.extent[0] + 3 * panel.extent[1]) / 4  # the name turns to where there is room
    ax.annotate(
        handle.label,
        (handle.x, handle.y),
        (-8 if left else 8, 6),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=9,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
        zorder=order + 21,
    )


DRAWERS: dict[type[Layer], Callable[[Any, Panel, Axes, int], None]] = {
    Heat: _heat,
    Gray: _gray,
    Line: _line,
    Dots: _dots,
    Bars: _bars,
    Handle: _handle,
}

"""Energy landscapes: the energy over two coordinates, as contours and as a surface.

(a, b) ↦ E(v(a, b), given),        v a point of a plane, or two variables of one number each

A landscape over two coordinates of something larger is one of `energy.compose(y=(Slice(...), "moved"))`
(`ebm.show.slices`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.energy import Energy
from ebm.show.style import ENERGY_MAP

Extent = tuple[float, float, float, float]


def anchor(energy: Energy, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor of this dtype, else that of the energy's first parameter or buffer, on its device."""
    tensors = (t for t in (*energy.parameters(), *energy.buffers()) if t.is_floating_point())
    like = next(tensors, torch.empty(0, dtype=dtype))
    return torch.empty(0, dtype=dtype or like.dtype, device=like.device)


@torch.no_grad()
def energy_on_grid(
    energy: Energy,
    over: str | Sequence[str],
    extent: Extent,
    given: Mapping[str, Tensor] | None = None,
    resolution: int = 121,
    dtype: torch.dtype | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The energy on a square grid of points.

    Args:
        energy: an energy of `over` and of what is given.
        over: one variable of shape (B, 2), or two of shape (B, 1) (first to the right, second upwards).
        extent: (xmin, xmax, ymin, ymax).
        given: one row of each other variable, (1, *shape).
        resolution: points a side.
        dtype: of the points; of the energy's first parameter or buffer, else the default, if None.

    Returns:
        The two axes, (R,) each, and the energies, (R, R), first index upwards.

    Raises:
        ValueError: if `over` is not one name or two, the extent is no rectangle, the resolution is below 2,
            or what is given is more than one row.

    Example:
        >>> from ebm import energy
        >>> bowl = energy(lambda y: y.square().sum(1))
        >>> energy_on_grid(bowl, "y", (0, 1, 0, 2), resolution=3)[2]
        array([[0.  , 0.25, 1.  ],
               [1.  , 1.25, 2.  ],
               [4.  , 4.25, 5.  ]], dtype=float32)
    """
    names = [over] if isinstance(over, str) else list(over)
    if len(names) not in (1, 2):
        raise ValueError(
            f"a landscape is over one variable of two numbers or two of one number; got {over!r}."
        )
    if len(extent) != 4 or not (extent[0] < extent[1] and extent[2] < extent[3]):
        raise ValueError(f"extent is (xmin, xmax, ymin, ymax), each min below its max; got {tuple(extent)}.")
    if resolution < 2:
        raise ValueError(f"resolution is the points a side, 2 or more; got {resolution}.")
    for name, value in (given or {}).items():
        if len(value) != 1:
            raise ValueError(f"{name} is given as one row, (1, *shape); got {tuple(value.shape)}.")
    like = anchor(energy, dtype)
    a = torch.linspace(extent[0], extent[1], resolution, dtype=like.dtype, device=like.device)
    b = torch.linspace(extent[2], extent[3], resolution, dtype=like.dtype, device=like.device)
    right, up = torch.meshgrid(a, b, indexing="xy")
    points = torch.stack([right.flatten(), up.flatten()], 1)
    values = {names[0]: points} if len(names) == 1 else {n: points[:, i : i + 1] for i, n in enumerate(names)}
    fixed = {name: value.expand(len(points), *value.shape[1:]) for name, value in (given or {}).items()}
    return (
        a.cpu().numpy(),
        b.cpu().numpy(),
        energy(**values, **fixed).view(resolution, resolution).cpu().numpy(),
    )


def landscape(
    energy: Energy,
    over: str | Sequence[str],
    ax: Axes,
    extent: Extent,
    *,
    given: Mapping[str, Tensor] | None = None,
    ceiling: float | None = None,
    relative: bool = False,
    levels: int = 18,
    resolution: int = 121,
    colorbar: bool = True,
    label: str = "energy",
    **options: Any,
) -> Axes:
    """Filled contours of an energy over a plane; dark is low.

    Args:
        energy, over, extent, given, resolution: as in `energy_on_grid`.
        ax: the axes to draw on.
        ceiling: energies above it are drawn as it (default: the 95th percentile), so that high walls don't
            hide the valleys.
        relative: draw the energy above its lowest value on the grid.
        levels: number of contours.
        colorbar: whether to add one, named `label`.
        options: passed to matplotlib's `contourf`.

    Returns:
        The axes.

    Raises:
        ValueError: as `energy_on_grid`, and if the energy is finite nowhere on the grid.

    Example:
        >>> from ebm.targets import Banana
        >>> from matplotlib.figure import Figure
        >>> landscape(Banana(), "y", Figure().subplots(), Banana().extent, resolution=31).get_xlabel()
        '$y_1$'
    """
    right, up, values = energy_on_grid(energy, over, extent, given, resolution)
    values, low, top, cut = _within(values, ceiling, relative)
    drawn = ax.contourf(
        right,
        up,
        values,
        levels=np.linspace(low, top, levels),
        cmap=ENERGY_MAP,
        extend="max" if cut else "neither",
        **options,
    )
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label=label, ticks=MaxNLocator(5), shrink=0.9)
    names = _names(over)
    ax.set(xlabel=names[0], ylabel=names[1], xlim=extent[:2], ylim=extent[2:])
    return ax


def surface(
    energy: Energy,
    over: str | Sequence[str],
    ax: Axes,
    extent: Extent,
    *,
    given: Mapping[str, Tensor] | None = None,
    ceiling: float | None = None,
    relative: bool = False,
    resolution: int = 81,
    label: str = "energy",
) -> Axes:
    """An energy over a plane as a surface, the energy upwards; dark is low, as in `landscape`.

    Args:
        energy, over, extent, given, ceiling, relative: as in `landscape`.
        ax: axes in three dimensions, `figure.add_subplot(projection="3d")`.
        resolution: points a side; all are drawn.
        label: of the vertical axis.

    Returns:
        The axes.

    Raises:
        TypeError: if the axes are flat.
        ValueError: as `landscape`.

    Example:
        >>> from ebm.targets import Banana
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().add_subplot(projection="3d")
        >>> surface(Banana(), "y", ax, Banana().extent, resolution=31).get_zlabel()
        'energy'
    """
    if ax.name != "3d":
        raise TypeError(
            f"a surface needs axes in three dimensions, figure.add_subplot(projection='3d'); got "
            f"{ax.name} ones. On flat axes draw a landscape."
        )
    right, up, values = energy_on_grid(energy, over, extent, given, resolution)
    values, low, top, _ = _within(values, ceiling, relative)
    across, upwards = np.meshgrid(right, up)
    solid, names = cast(Any, ax), _names(over)
    look = {"cmap": ENERGY_MAP, "vmin": low, "vmax": top, "linewidth": 0, "antialiased": False}
    solid.plot_surface(across, upwards, values, rcount=resolution, ccount=resolution, **look)
    solid.set(xlabel=names[0], ylabel=names[1], xlim=extent[:2], ylim=extent[2:], zlim=(low, top))
    solid.set_zlabel(label)
    solid.set_box_aspect((4, 4, 3), zoom=0.85)  # room for the labels, which layouts don't see
    for axis in (solid.xaxis, solid.yaxis, solid.zaxis):
        axis.set_major_locator(MaxNLocator(5))
    return ax


def _names(over: str | Sequence[str]) -> list[str]:
    return (
        [f"${over}_1$", f"${over}_2$"]
        if isinstance(over, str) and len(over) == 1
        else ([f"{over}, 1", f"{over}, 2"] if isinstance(over, str) else list(over))
    )


def _within(
    values: np.ndarray, ceiling: float | None, relative: bool
) -> tuple[np.ndarray, float, float, bool]:
    """Energies up to the ceiling, the lowest of them, the ceiling, and whether there were any above it."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ValueError("the energy is NaN or infinite everywhere on this grid: look elsewhere (extent).")
    low = float(finite.min())
    if relative:
        values, finite, low = values - low, finite - low, 0.0
    top = float(np.percentile(finite, 95)) if ceiling is None else ceiling
    top = top if top > low and math.isfinite(top) else low + 1.0
    return np.minimum(values, top), low, top, bool((values > top).any())

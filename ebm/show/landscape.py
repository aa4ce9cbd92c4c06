"""Energy landscapes: the energy over two coordinates, and paths of inference across them.

(a, b) ↦ E(v(a, b), given),        v a point of a plane, or two variables of one number each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.energy import Energy
from ebm.show.style import ENERGY_MAP, VERMILION

Extent = tuple[float, float, float, float]


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
    """
    names = [over] if isinstance(over, str) else list(over)
    if len(names) not in (1, 2):
        raise ValueError(
            f"a landscape is over one variable of two numbers or two of one number; got {over!r}."
        )
    tensors = (t for t in (*energy.parameters(), *energy.buffers()) if t.is_floating_point())
    like = next(tensors, torch.empty(0, dtype=dtype))
    a = torch.linspace(extent[0], extent[1], resolution, dtype=dtype or like.dtype, device=like.device)
    b = torch.linspace(extent[2], extent[3], resolution, dtype=dtype or like.dtype, device=like.device)
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
    """
    right, up, values = energy_on_grid(energy, over, extent, given, resolution)
    values = values - np.nanmin(values) if relative else values
    top = float(np.nanpercentile(values, 95)) if ceiling is None else ceiling
    low = float(np.nanmin(values))
    top = top if top > low else low + 1.0
    drawn = ax.contourf(
        right,
        up,
        np.minimum(values, top),
        levels=np.linspace(low, top, levels),
        cmap=ENERGY_MAP,
        extend="max",
        **options,
    )
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label=label, ticks=MaxNLocator(5), shrink=0.9)
    names = [f"${over}_1$", f"${over}_2$"] if isinstance(over, str) else list(over)
    ax.set(xlabel=names[0], ylabel=names[1], xlim=extent[:2], ylim=extent[2:])
    return ax


def trajectory(points: Tensor, ax: Axes, *, color: str = VERMILION, label: str | None = None) -> Axes:
    """The path of one row's inference: points (K, 2), from a ring at the start to a dot at the end."""
    path = points.detach().cpu().numpy()
    ax.plot(path[:, 0], path[:, 1], "-", color=color, linewidth=1.5, label=label, zorder=3)
    ax.plot(*path[0], "o", markerfacecolor="white", markeredgecolor=color, markersize=6, zorder=4)
    ax.plot(*path[-1], "o", color=color, markeredgecolor="white", markersize=7, zorder=5)
    return ax

"""Cross-sections: the energy along one variable, a curve for each value of the others.

    t ↦ E(v = t, given_k),  k = 1..K        the minima of each curve are marked: what minimize finds

Along a coordinate of a larger variable, take a slice of it first (`ebm.show.slices`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from torch import Tensor

from ebm.energy import Energy
from ebm.show.landscape import anchor
from ebm.show.style import COLORS, ENERGY_MAP


def cross_section(
    energy: Energy,
    over: str,
    ax: Axes,
    extent: tuple[float, float],
    *,
    given: Mapping[str, Tensor] | None = None,
    labels: Sequence[str] | None = None,
    minima: bool = True,
    ceiling: float | None = None,
    resolution: int = 241,
    label: str = "energy",
) -> Axes:
    """The energy along one variable of one number, as a family of curves.

    Args:
        energy: an energy of `over` and of what is given.
        over: the variable, (B, 1).
        ax: the axes to draw on.
        extent: (min, max) of the variable.
        given: the other variables, each with K rows, one a curve, or with one row for all.
        labels: names of the K curves; "x = 0.5" if None and a single variable of one number has K rows.
        minima: mark the lowest point of each curve with a dot, its other minima with rings.
        ceiling: the highest energy that is shown; everything if None.
        resolution: points on a curve.
        label: of the vertical axis.

    Returns:
        The axes; their first K lines are the curves.

    Raises:
        ValueError: if the extent is no interval, rows of what is given don't agree, there is another number
            of labels, or a curve is finite nowhere.

    Example:
        >>> from ebm import energy
        >>> from matplotlib.figure import Figure
        >>> fit = energy(lambda x, y: (y - x).square().sum(1))
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> ax = cross_section(fit, "y", Figure().subplots(), (-1, 2), given={"x": x})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['x = 0', 'x = 1']
    """
    if len(extent) != 2 or not extent[0] < extent[1] or resolution < 2:
        raise ValueError(
            f"a cross-section goes from a min to a greater max in 2 points or more; got {tuple(extent)}, "
            f"{resolution}."
        )
    counts = {name: len(value) for name, value in (given or {}).items()}
    curves = max(counts.values(), default=1)
    if any(count not in (1, curves) for count in counts.values()):
        raise ValueError(f"what is given has one row for all curves, or one a curve; got rows: {counts}.")
    like = anchor(energy)
    t = torch.linspace(extent[0], extent[1], resolution, dtype=like.dtype, device=like.device)
    values = _energies(energy, over, t, given or {}, curves)
    names = _names(given or {}, curves) if labels is None else list(labels)
    if len(names) != curves:
        raise ValueError(f"{curves} curves have {curves} labels; got {len(names)}: {names}.")
    if not bool(np.isfinite(values).any(1).all()):
        raise ValueError("a curve is NaN or infinite everywhere: look elsewhere (extent).")
    across, colors = t.cpu().numpy(), _colors(curves)
    for curve, name, color in zip(values, names, colors, strict=True):
        ax.plot(across, np.where(np.isfinite(curve), curve, np.nan), color=color, label=name)
    for curve, color in zip(values, colors, strict=True):
        if minima:
            height = np.where(np.isfinite(curve), curve, np.inf)
            local = 1 + np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] <= height[2:]))
            rings: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": color, "markersize": 6}
            ax.plot(across[local], height[local], "o", zorder=4, **rings)
            best = int(height.argmin())
            ax.plot(
                across[best], height[best], "o", color=color, markeredgecolor="white", markersize=8, zorder=5
            )
    ax.set(xlabel=over if len(over) > 1 else f"${over}$", ylabel=label, xlim=extent)
    if ceiling is not None:
        low = float(np.nanmin(np.where(np.isfinite(values), values, np.nan)))
        ax.set_ylim(low - 0.05 * (ceiling - low), ceiling)
    if any(names):
        ax.legend()
    return ax


@torch.no_grad()
def _energies(energy: Energy, over: str, t: Tensor, given: Mapping[str, Tensor], curves: int) -> np.ndarray:
    """(K, R), in one call."""
    rows = {
        name: value.expand(curves, *value.shape[1:]).repeat_interleave(len(t), 0)
        for name, value in given.items()
    }
    return energy(**{over: t.repeat(curves).unsqueeze(1)}, **rows).view(curves, len(t)).cpu().numpy()


def _names(given: Mapping[str, Tensor], curves: int) -> list[str]:
    varied = [name for name, value in given.items() if len(value) == curves > 1]
    if len(varied) == 1 and given[varied[0]][0].numel() == 1:
        return [f"{varied[0]} = {value:.3g}" for value in given[varied[0]].flatten().tolist()]
    return [""] * curves if curves == 1 else [f"row {k}" for k in range(curves)]


def _colors(count: int) -> list[str] | list[tuple[float, ...]]:
    """The style's colors; where they don't suffice, shades from dark to light."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [tuple(color) for color in colormaps[ENERGY_MAP](np.linspace(0, 0.95, count))]

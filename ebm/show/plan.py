"""Planning energies: what a plan costs as two of its numbers are moved, what was imagined, what is forbidden.

    (a, b) ↦ E(actions(a, b), given)        two numbers of a plan, such as its first action
    allowed: guardrail <= 0                 hatched where it isn't

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.energy import Energy
from ebm.show.landscape import Extent, energy_on_grid, landscape
from ebm.show.slices import Entries, Slice
from ebm.show.style import ENERGY_MAP, GRAY, VERMILION
from ebm.show.trajectory import trajectory


def plan_landscape(
    energy: Energy,
    plan: Tensor,
    ax: Axes,
    extent: Extent,
    *,
    given: Mapping[str, Tensor],
    entries: Sequence[Entries] = ((0, 0), (0, 1)),
    guardrail: Energy | None = None,
    ceiling: float | None = None,
    resolution: int = 81,
    levels: int = 24,
    colorbar: bool = True,
    labels: tuple[str, str] = ("first action, 1", "first action, 2"),
) -> Axes:
    """The energy over two numbers of a plan, with the least of all marked, and the least that is allowed.

    Args:
        energy: of `actions` (B, T, A) and of what is given.
        plan: where the other actions stay, (T, A).
        ax: the axes to draw on.
        extent: (min, max, min, max) of the two numbers.
        given: one row of each other variable of the energy and of the guardrail, (1, *shape).
        entries: which numbers of the plan, as `Slice` takes them: the first action if not told; an action
            that is held for eight steps is ((slice(0, 8), 0), (slice(0, 8), 1)).
        guardrail: an energy of `actions` too, such as `planning_energy.imagine(KeepOut(...))`, allowed where
            it is <= 0; where it isn't, the picture is hatched.
        ceiling, resolution, levels, colorbar: as in `landscape`; the ceiling is the highest energy if None.
        labels: of the two axes.

    Returns:
        The axes.

    Raises:
        TypeError, ValueError: as `Slice` and `landscape`, and if there aren't two entries.

    Example:
        >>> from ebm import energy
        >>> from matplotlib.figure import Figure
        >>> far = energy(lambda state, actions: (state + actions.sum(1) - 1).square().sum(1))
        >>> given, ax = {"state": torch.zeros(1, 2)}, Figure().subplots()
        >>> ax = plan_landscape(far, torch.zeros(5, 2), ax, (-2, 2, -2, 2), given=given)
        >>> [float(x[0]) for x in ax.lines[0].get_data()]  # all of the way in the first step
        [1.0, 1.0]
    """
    if len(entries) != 2:
        raise ValueError(f"a landscape is over two numbers of the plan; got {len(entries)}: {entries!r}.")
    moved = Slice(plan, *entries)
    across, up, values = _over(energy, moved, extent, given, resolution)
    top = float(values[np.isfinite(values)].max(initial=-np.inf)) if ceiling is None else ceiling
    sliced, rest = energy.compose(actions=(moved, "moved")), _of(energy, given)
    look: dict[str, Any] = {"ceiling": top, "resolution": resolution, "levels": levels, "colorbar": colorbar}
    landscape(sliced, "moved", ax, extent, given=rest, **look)
    allowed = np.where(np.isfinite(values), values, np.inf)
    marks = [("o", "least of all", allowed)]
    if guardrail is not None:
        _, _, broken = _over(guardrail, moved, extent, given, resolution)
        _hatch(ax, across, up, broken, "white", fill=False)
        marks.append(("D", "least of what is allowed", np.where(broken <= 0, allowed, np.inf)))
    for marker, name, those in marks:
        if np.isfinite(those).any():
            row, column = np.unravel_index(int(those.argmin()), those.shape)
            look = {"color": VERMILION, "markeredgecolor": "white", "linestyle": "", "markersize": 8}
            ax.plot(across[column], up[row], marker=marker, label=name, zorder=5, clip_on=False, **look)
    ax.legend(loc="lower left", frameon=True, framealpha=0.85, fontsize=9, handletextpad=0.2)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return ax


def imagined(
    states: Tensor,
    ax: Axes,
    *,
    costs: Tensor | None = None,
    best: bool = True,
    colorbar: bool = True,
    label: str = "cost",
    labels: tuple[str, str] = ("state, 1", "state, 2"),
) -> Axes:
    """Imagined trajectories, dark where they cost little, and the cheapest of them on top.

    Args:
        states: (K, T + 1, S), of which the first two numbers are drawn.
        ax: the axes to draw on.
        costs: of each trajectory, (K,); without costs all are gray.
        best: draw the cheapest once more, with a ring at its start and a dot at its end.
        colorbar: whether to add one, named `label`.
        label: what the costs are; costs above their 95th percentile have the color of that.
        labels: of the two axes.

    Returns:
        The axes.

    Raises:
        ValueError: if the states have another shape, there are none, or there isn't a cost a trajectory.

    Example:
        >>> from matplotlib.figure import Figure
        >>> states = torch.randn(20, 6, 2).cumsum(1)
        >>> ax = imagined(states, Figure().subplots(), costs=states[:, -1].square().sum(1))
        >>> len(ax.collections[0].get_segments())
        20
    """
    if states.ndim != 3 or states.shape[2] < 2 or not states.numel():
        raise ValueError(
            f"states are (K, T + 1, S) with S >= 2, one path at least; got {tuple(states.shape)}."
        )
    paths = states.detach().cpu()[..., :2]
    ax.set(xlabel=labels[0], ylabel=labels[1])
    if costs is None:
        ax.add_collection(LineCollection(list(paths.numpy()), colors=GRAY, linewidths=0.6, alpha=0.7))
        ax.autoscale_view()
        return ax
    if costs.shape != (len(paths),) or bool(costs.isnan().any()):
        raise ValueError(f"costs are a number a path, ({len(paths)},), none of them NaN; got {costs}.")
    order = costs.detach().cpu().argsort(descending=True)  # the cheap ones last, on top
    lines = LineCollection(list(paths[order].numpy()), cmap=ENERGY_MAP, linewidths=1.0)
    lines.set_array(costs.detach().cpu()[order].numpy())
    lines.set_clim(float(costs.min()), float(costs.double().quantile(0.95)))
    ax.add_collection(lines)
    ax.autoscale_view()
    if colorbar:
        ax.figure.colorbar(lines, ax=ax, label=label, shrink=0.9)
    return trajectory(paths[order[-1]], ax) if best else ax


def forbidden(
    guardrail: Energy, ax: Axes, extent: Extent, *, state: Tensor | None = None, resolution: int = 121
) -> Axes:
    """Hatch where the first two numbers of a state break a guardrail.

    Args:
        guardrail: an energy of `states` (B, T + 1, S), allowed where it is <= 0, such as `KeepOut`.
        ax: the axes to draw on.
        extent: (xmin, xmax, ymin, ymax).
        state: the others of its numbers, (S,); two zeros if None.
        resolution: points a side.

    Returns:
        The axes.

    Raises:
        TypeError, ValueError: as `Slice` and `energy_on_grid`.

    Example:
        >>> from ebm.plan import KeepOut
        >>> from matplotlib.figure import Figure
        >>> ax = forbidden(KeepOut(torch.zeros(2), 0.5), Figure().subplots(), (-1, 1, -1, 1))
        >>> len(ax.collections) > 0
        True
    """
    base = torch.zeros(2) if state is None else state
    stay = base.expand(2, *base.shape)  # two steps: a guardrail looks at those after the first
    place = Slice(stay, (slice(None), 0), (slice(None), 1))
    across, up, broken = energy_on_grid(
        guardrail.compose(states=(place, "place")), "place", extent, None, resolution, base.dtype
    )
    _hatch(ax, across, up, broken, GRAY, fill=True)
    return ax


def _of(energy: Energy, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in given.items() if name in energy.variables}


def _over(
    energy: Energy, moved: Slice, extent: Extent, given: Mapping[str, Tensor], resolution: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sliced = energy.compose(actions=(moved, "moved"))
    return energy_on_grid(sliced, "moved", extent, _of(energy, given), resolution, moved.base.dtype)


def _hatch(ax: Axes, across: np.ndarray, up: np.ndarray, broken: np.ndarray, color: str, fill: bool) -> None:
    """Lines where it is above 0, and its border."""
    if not (broken > 0).any():
        return
    if fill:
        ax.contourf(across, up, broken, [0.0, np.inf], colors=[color], alpha=0.35)
    top = float(np.nanmax(np.where(np.isfinite(broken), broken, 1.0))) + 1.0
    shade = ax.contourf(across, up, np.minimum(broken, top), [0.0, top], colors="none", hatches=["///"])
    shade.set_edgecolor(color)
    shade.set_linewidth(0.0)
    if (broken <= 0).any():
        ax.contour(across, up, broken, [0.0], colors=color, linewidths=1.5)

"""Paths of inference and of chains: where the rows of a solve went, and what energy they had on the way.

y_0, y_1, ..., y_K  across a landscape,  and  k ↦ E(y_k) - E_min  over the steps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.show.style import COLORS, VERMILION
from ebm.solution import Solution, Trace


def trajectory(
    points: Tensor, ax: Axes, *, color: str | Sequence[str] = VERMILION, label: str | None = None
) -> Axes:
    """The paths of rows, each from a ring at its start to a dot at its end.

    Args:
        points: (K, 2) of one row, or (K, B, 2) of B: `solution.trace.value`, `samples.value`, or what
            `traced` joins of several variables.
        ax: the axes to draw on, best those of a landscape over the same plane.
        color: of all paths, or one a row.
        label: for a legend, of all of them.

    Returns:
        The axes.

    Raises:
        ValueError: if the points have another shape, there are none, or as many colors as rows aren't given.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = trajectory(torch.randn(10, 3, 2), Figure().subplots())
        >>> len(ax.lines)  # a path, a ring and a dot for each of three rows
        9
    """
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or not points.numel():
        raise ValueError(
            f"a path is (K, 2), several are (K, B, 2), of one point at least; got {tuple(points.shape)}. "
            f"Choose two coordinates of what has more."
        )
    paths = points.detach().cpu().numpy()
    paths = paths[:, None] if paths.ndim == 2 else paths
    colors = [color] * paths.shape[1] if isinstance(color, str) else list(color)
    if len(colors) != paths.shape[1]:
        raise ValueError(f"{paths.shape[1]} rows have one color or {paths.shape[1]}; got {len(colors)}.")
    for row, shade in enumerate(colors):
        path, name = paths[:, row], label if row == 0 else None
        ax.plot(path[:, 0], path[:, 1], "-", color=shade, linewidth=1.5, label=name, zorder=3)
        ax.plot(*path[0], "o", markerfacecolor="white", markeredgecolor=shade, markersize=6, zorder=4)
        ax.plot(*path[-1], "o", color=shade, markeredgecolor="white", markersize=7, zorder=5)
    return ax


def traced(
    solution: Solution, over: str | Sequence[str], given: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The steps of a solve in the plane of a landscape, (K + 1, B, 2), for `trajectory`.

    Args:
        solution: what `minimize(..., trace=True)` returned.
        over: as in the landscape: one variable of two numbers, or two of one number each.
        given: those of `over` that were given to the solve, (B, 1): they stay where they are.

    Raises:
        ValueError: if the solve kept no trace, a name is neither free nor given, or the shapes don't make
            two numbers.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.infer import GradientDescent
        >>> fit, x = energy(lambda x, y: (y - x).square().sum(1)), torch.ones(3, 1)
        >>> solution = minimize(fit, torch.zeros(3, 1), GradientDescent(0.1), given={"x": x}, trace=True)
        >>> traced(solution, ("x", "y"), {"x": x})[0, 0]
        tensor([1., 0.])
    """
    names = [over] if isinstance(over, str) else list(over)
    trace = _trace(solution)
    steps = len(trace.energy)
    fixed = {name: value.expand(steps, *value.shape) for name, value in (given or {}).items()}
    free = (
        trace.value if isinstance(trace.value, dict) else dict.fromkeys(set(names) - set(fixed), trace.value)
    )
    if missing := [name for name in names if name not in fixed and name not in free]:
        raise ValueError(f"{missing} are neither free in this solve nor given; free are {list(free)}.")
    points = torch.cat([fixed[name] if name in fixed else free[name] for name in names], -1)
    if points.ndim != 3 or points.shape[-1] != 2:
        raise ValueError(f"{names} make {tuple(points.shape[2:])} numbers a row, a landscape has two.")
    return points


def energy_over_steps(
    solution: Solution,
    ax: Axes,
    *,
    minimum: float | Tensor | None = None,
    labels: Sequence[str] | None = None,
    color: str | None = None,
) -> Axes:
    """The energy of each row over the steps of its solve; a dot where it converged, a cross where it did not.

    Args:
        solution: what `minimize(..., trace=True)` returned.
        ax: the axes to draw on.
        minimum: E_min, of all rows or (B,): then E - E_min is drawn, on a logarithmic axis.
        labels: names of the rows, or of all of them if there is one.
        color: of all rows; colors of their own if None, where there are few.

    Returns:
        The axes; their lines are the curves, each up to the row's last step.

    Raises:
        ValueError: if the solve kept no trace, or there are neither as many labels as rows nor one.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.infer import GradientDescent
        >>> from matplotlib.figure import Figure
        >>> bowl = energy(lambda y: y.square().sum(1))
        >>> solution = minimize(bowl, torch.ones(3, 2), GradientDescent(0.1), trace=True)
        >>> energy_over_steps(solution, Figure().subplots(), minimum=0.0).get_ylabel()
        'energy above the minimum'
    """
    energies = _trace(solution).energy.detach().cpu()
    rows = energies.shape[1]
    names = [None] * rows if labels is None else list(labels)
    if len(names) not in (1, rows) or isinstance(labels, str):
        raise ValueError(f"{rows} rows have one label or {rows}; got {labels!r}.")
    if minimum is not None:
        energies = energies - torch.as_tensor(minimum).detach().cpu()
    few = rows <= len(COLORS)
    for row in range(rows):
        last = min(int(solution.steps[row]), len(energies) - 1)
        curve, done = energies[: last + 1, row].numpy(), bool(solution.converged[row])
        shade = color or (COLORS[row] if few else COLORS[0])
        name = names[row] if len(names) == rows else names[0] if row == 0 else None
        look: dict[str, Any] = {"marker": "o" if done else "X", "markevery": [last], "markersize": 6}
        ax.plot(np.arange(last + 1), curve, color=shade, label=name, alpha=1.0 if few else 0.5, **look)
    if minimum is not None and bool((energies > 0).any()):
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel="energy" if minimum is None else "energy above the minimum")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if labels is not None:
        ax.legend()
    return ax


def _trace(solution: Solution) -> Trace:
    if solution.trace is None:
        raise ValueError("this solve kept no trace of its steps: ask for it, minimize(..., trace=True).")
    return solution.trace

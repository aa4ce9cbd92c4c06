"""Histories as curves: what was written down at every step of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter

from ebm.history import History
from ebm.show.style import COLORS

FAINT = 0.25  # opacity of the numbers behind a smoothed curve
POINTS = 1000  # on a curve, more than a picture shows


def plot_history(
    history: History,
    ax: Axes,
    columns: Sequence[str] = ("loss",),
    *,
    smooth: int | None = None,
    log: bool = False,
    legend: bool = True,
) -> Axes:
    """Columns of a history over its steps; the number of every step, faint, behind their running median.

    Args:
        history: what `fit` returned.
        ax: the axes to draw on.
        columns: names of the columns to draw; `history.columns` lists them.
        smooth: W, steps in the window of the median; a fiftieth of the training if None, 1 for none.
        log: a logarithmic vertical axis, for numbers that fall by orders of magnitude.
        legend: name the curves where there are several; a single one names the vertical axis.

    Returns:
        The axes.

    Raises:
        KeyError: if there is no such column.
        ValueError: if there are no columns to draw, or `smooth` is below 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> history = History()
        >>> for loss in (3.0, 2.0, 1.5):
        ...     history.append({"loss": loss})
        >>> plot_history(history, Figure().subplots()).get_ylabel()
        'loss'
    """
    if not columns or isinstance(columns, str):
        raise ValueError(f"columns are names such as ['loss']; got {columns!r}. There are {history.columns}.")
    window = max(1, len(history) // 50) if smooth is None else smooth
    if window < 1:
        raise ValueError(f"smooth is a number of steps, 1 or more; got {smooth}.")
    for i, name in enumerate(columns):
        color, numbers = COLORS[i % len(COLORS)], history.column(name).numpy()
        steps = np.arange(1, len(numbers) + 1)[~np.isnan(numbers)]
        numbers = numbers[~np.isnan(numbers)]
        if window > 1:
            ax.plot(steps, numbers, color=color, alpha=FAINT, linewidth=0.8)
        at = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), POINTS)).round().astype(int))
        ax.plot(steps[at], running_median(numbers, window, at), color=color, label=name)
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(columns) == 1:
        ax.set_ylabel(columns[0])
    elif legend:
        ax.legend()
    return ax


def running_median(numbers: np.ndarray, window: int, at: np.ndarray) -> np.ndarray:
    """The median of the numbers around some of them, as many as `window`, or as there are near the ends.

    Args:
        numbers: (N,).
        window: how many numbers around each.
        at: where, (M,), indices.

    Returns:
        (M,).

    Example:
        >>> running_median(np.array([1.0, 9.0, 2.0, 3.0]), 3, np.arange(4))
        array([5. , 2. , 3. , 2.5])
    """
    before, after = window // 2, (window + 1) // 2
    around = (numbers[max(0, i - before) : i + after] for i in at)
    return np.array([np.median(each) for each in around])

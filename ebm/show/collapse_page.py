"""The collapse report as a page: the verdict, the numbers it rests on, and pictures of what it measured.

    left: the verdict and the table        right: energies on and off the data, the landscape, the spectrum

It takes a figure, not axes, because it needs several, of which kinds depends on what is known.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ebm.energy import Energy
from ebm.measure.codes import CodeReport
from ebm.measure.collapse import BOX, SHUFFLED, CollapseReport
from ebm.measure.model_report import ModelReport
from ebm.measure.off_data import in_box, shuffled
from ebm.show.code_spectrum import code_spectrum
from ebm.show.energy_histogram import energy_histogram
from ebm.show.landscape import landscape
from ebm.show.style import BLUE, GREEN, ORANGE, VERMILION, style

Report = CollapseReport | ModelReport | CodeReport
MARGIN = 0.15  # of the data's box around it, in the landscape


def collapse_page(
    report: Report,
    figure: Figure,
    *,
    energy: Energy | None = None,
    y: Tensor | None = None,
    codes: Tensor | None = None,
    variable: str = "y",
    generator: torch.Generator | None = None,
) -> Figure:
    """A report as one page; the more is given besides, the more pictures there are.

    Args:
        report: what `collapse_report`, `model_report` or `code_report` returned.
        figure: an empty one, such as Figure(figsize=(11, 6)); the page is drawn in the package's style.
        energy: the energy that was reported on, of `variable` alone (of a model, its `free_energy`): adds its
            histograms, and its landscape if the data are points in a plane.
        y: the data of the report, (N, *shape); goes with the energy.
        codes: the codes of the report, (N, D): adds their spectrum.
        variable: the energy's variable that is data.
        generator: source of the points off the data.

    Returns:
        The figure.

    Raises:
        TypeError: if this is no such report.
        ValueError: if the figure has something on it, or of energy and y there is only one.

    Example:
        >>> from ebm.measure import code_report
        >>> z = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
        >>> page = collapse_page(code_report(z), Figure(figsize=(9, 4)), codes=z)
        >>> page.axes[0].get_title("left")
        'verdict: alive'
    """
    if not isinstance(report, CollapseReport | ModelReport | CodeReport):
        raise TypeError(
            f"a page is of what collapse_report, model_report or code_report returned; got "
            f"{type(report).__name__}."
        )
    if figure.axes:
        raise ValueError("the page needs an empty figure: Figure(figsize=(11, 6)).")
    if (energy is None) != (y is None):
        raise ValueError("the energy and the data y that it was reported on go together: give both or none.")
    free = report.free_energy if isinstance(report, ModelReport) else report
    plane = y is not None and y.ndim == 2 and y.shape[1] == 2
    pictures = (energy is not None) + plane + (codes is not None)
    with style():
        figure.set_layout_engine("constrained")
        halves = figure.subfigures(1, 2 if pictures else 1, width_ratios=(1.15, 1.0)[: 1 + (pictures > 0)])
        left, right = np.atleast_1d(halves)[[0, -1]]  # type: ignore[arg-type]
        text, *below = _stack(left, *((2, [0.7, 1.0]) if isinstance(free, CollapseReport) else (1,)))
        _verdict(text, report)
        if isinstance(free, CollapseReport):
            _means(below[0], free)
        panels = iter(_stack(right, pictures))
        if energy is not None and y is not None:
            _histogram(next(panels), energy, y, variable, generator)
            if plane:
                _map(next(panels), energy, y, variable, report)
        if codes is not None:
            code_spectrum(codes, next(panels)).set_title("Spectrum of the codes")
    return figure


def _stack(figure: SubFigure, count: int, ratios: list[float] | None = None) -> list[Axes]:
    return list(figure.subplots(count, 1, squeeze=False, height_ratios=ratios)[:, 0]) if count else []


def _verdict(ax: Axes, report: Report) -> None:
    alive = report.verdict == "alive"
    table, _ = str(report).rsplit("\n", 1)
    ax.set_axis_off()
    ax.set_title(f"verdict: {report.verdict}", color=GREEN if alive else VERMILION, fontsize=14)
    wrapped = "\n".join(part for line in table.split("\n") for part in line.replace("; ", ";\n").split("\n"))
    ax.text(0, 1, wrapped, family="monospace", fontsize=8.2, va="top", transform=ax.transAxes)


def _means(ax: Axes, report: CollapseReport) -> None:
    """Mean energies with their standard deviations, as bars around points."""
    points = {"data": (report.mean, report.std)}
    points |= {name: (each.mean, each.std) for name, each in report.off_data.items()}
    for row, (mean, std) in enumerate(points.values()):
        ax.errorbar(mean, row, xerr=std, fmt="o", color=ORANGE if row else BLUE, capsize=4)
    ax.axvline(report.quantile, color=BLUE, linewidth=1, linestyle="--", zorder=0)
    ax.set_yticks(range(len(points)), list(points))
    ax.set(xlabel="energy, mean ± std; dashed: 95 % of the data lie below", ylim=(len(points) - 0.5, -0.5))
    ax.set_title("Energies of points")


@torch.no_grad()
def _histogram(ax: Axes, energy: Energy, y: Tensor, variable: str, generator: torch.Generator | None) -> None:
    count = min(len(y), 2000)
    off = {BOX: in_box(y, count, generator), SHUFFLED: shuffled(y, count, generator)}
    on, values = energy(**{variable: y}), {name: energy(**{variable: v}) for name, v in off.items()}
    ceiling = float(torch.cat([on, *values.values()]).quantile(0.9))
    energy_histogram(on, values, ax, ceiling=float(f"{ceiling:.3g}")).legend(loc="upper right", fontsize=8.5)
    ax.set_ylim(0, 1.6 * ax.get_ylim()[1])  # the legend's room
    ax.set_title("Energy on and off the data")


def _map(ax: Axes, energy: Energy, y: Tensor, variable: str, report: Report) -> None:
    free = report.free_energy if isinstance(report, ModelReport) else report
    ceiling = free.off_data[BOX].mean if isinstance(free, CollapseReport) else None
    low, high = y.amin(0), y.amax(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    landscape(energy, variable, ax, extent, ceiling=ceiling)
    ax.plot(*y[:500].detach().cpu().numpy().T, ".", color=ORANGE, markersize=2.5)
    ax.set_title("Landscape, with the data")

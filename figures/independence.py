"""What a wide random expander does to the codes in front of it, from benchmarks/recipes/results.

Left: three codes of two angles learned by variance and covariance of an expander's outputs; how far from
independent they are on new data, in pairs (HSIC) and all together (dHSIC). Right: three sources, mixed and
white, unmixed by the rotation that the same loss finds. Bars are standard errors over seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ebm.show import style
from ebm.show.style import BLUE, GRAY, ORANGE, PURPLE

ALT = (
    "HSIC of codes falls with the width of a nonlinear expander and not with a linear one; sources are "
    "separated as well as by FastICA where covariances within the features of one code are left out."
)
RESULTS = Path(__file__).parents[1] / "benchmarks" / "recipes" / "results" / "independence.json"
LOOKS = {
    "linear": ("linear, each sees one code", GRAY, "s"),
    "all codes": ("tanh, each sees all codes", PURPLE, "^"),
    "each code": ("tanh, each sees one code", ORANGE, "D"),
    "each code, between codes": ("the same, between codes only", BLUE, "o"),
}
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
SHIFTS = dict(zip(LOOKS, (0.94, 0.98, 1.02, 1.06), strict=True))
BARS: dict[str, Any] = {"capsize": 2.5, "elinewidth": 1.2, "markersize": 5}


def curves(ax: Axes, cells: list[dict[str, Any]], key: str, scale: float = 1.0, **more: Any) -> None:
    """A curve for each expander, against its width."""
    for name, (label, color, marker) in LOOKS.items():
        found = [cell for cell in cells if cell["expander"] == name]
        means, errors = ([scale * cell[key][part] for cell in found] for part in ("mean", "standard error"))
        look = {"label": label, "color": color, "marker": marker, **BARS, **more}
        shift = SHIFTS[name]  # so that bars don't lie on bars
        ax.errorbar([shift * cell["width"] for cell in found], means, errors, **look)


def level(ax: Axes, value: float, text: str) -> None:
    """A dotted line across the panel, with its name beside it."""
    ax.axhline(value, color="black", lw=1, ls=":", zorder=0)
    ax.annotate(text, (1.01, value), xycoords=("axes fraction", "data"), va="center", fontsize=9)


def draw() -> Figure:
    """The figure."""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    widths = result["arguments"]["widths"]
    (none,) = (cell for cell in result["dependence"] if cell["expander"] == "none")
    with style():
        figure = Figure(figsize=(13.0, 4.4))
        panels = figure.subplots(1, 3)
        for ax, key, title in zip(
            panels, ("pairwise", "mutual"), ("Codes in pairs", "All three codes together"), strict=False
        ):
            curves(ax, result["dependence"], key, scale=1e3)
            level(ax, 1e3 * none[key]["mean"], "no\nexpander")
            floor = [cell[f"{key}, shuffled"]["mean"] for cell in result["dependence"]]
            level(ax, 1e3 * sum(floor) / len(floor), "independent\ncolumns")
            ax.set(title=title, ylabel=f"{'HSIC' if key == 'pairwise' else 'dHSIC'} · 1000", yscale="log")
        curves(panels[2], result["separation"], "Amari")
        level(panels[2], result["references"]["whitening"]["mean"], "white,\nnot\nunmixed")
        level(panels[2], result["references"]["FastICA"]["mean"], "FastICA")
        panels[2].set(title="Sources separated", ylabel="Amari distance", yscale="log")
        for ax in panels:
            ax.set(xscale="log", xlabel="width of the random expander")
            ax.set_xticks(widths, [str(w) for w in widths])
            low, high = ax.get_ylim()
            ticks = [t for t in TICKS if low <= t <= high]
            ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)

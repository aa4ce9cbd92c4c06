"""Collapse on demand: joint embeddings as they are, and without one of the safeguards that keep them alive.

Singular values of the centered codes of 360 digits, as shares of the codes' length. A complete collapse is a
line below the dashed one: the codes of all images are alike. A dimensional collapse starts high and falls at
once: they differ, but in one or two directions. Each panel is `ebm.testing.collapse_list` for one method.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm.measure import code_report
from ebm.measure.codes import ALIKE
from ebm.show import style
from ebm.show.style import BLUE, GRAY, ORANGE, VERMILION
from ebm.testing.collapse_list import Case, cases, learned_codes

ALT = (
    "Singular values of codes with and without the safeguard of ten methods; without it they collapse, "
    "and the meter says how."
)
METHODS = (
    *("VICReg", "Barlow Twins", "SIGReg", "W-MSE", "NT-Xent"),
    *("SwAV", "BYOL", "SimSiam", "MoCo", "DINO"),
)
LEAST = 1e-4  # the axis ends there


def spectrum(codes: Tensor) -> Tensor:
    """Singular values of the centered codes, over √N and the root mean square length of a code."""
    values = torch.linalg.svdvals((codes - codes.mean(0)).double())
    return values / codes.double().square().sum().sqrt()


def panel(ax: Axes, method: str, its: list[Case]) -> None:
    """One method: a line for each of its cases, named by what is missing and by the meter's verdict."""
    for case, color, marker in zip(its, (BLUE, VERMILION, ORANGE), "osv", strict=False):
        codes = learned_codes(case)
        verdict = code_report(codes).verdict
        label = f"no {case.without}: {verdict.removesuffix(' collapse')}" if case.without else verdict
        values = spectrum(codes).clamp(min=LEAST)
        ax.plot(range(1, len(values) + 1), values, marker=marker, markersize=3, color=color, label=label)
    ax.axhline(ALIKE, color=GRAY, linestyle="--", linewidth=1)
    ax.set(title=method, yscale="log", ylim=(LEAST, 1.5))
    ax.legend(loc="upper left", bbox_to_anchor=(-0.06, -0.1), fontsize=9, handlelength=1.2, borderaxespad=0.3)


def draw() -> Figure:
    """The figure."""
    with style():
        figure = Figure(figsize=(13.0, 7.4))
        panels = figure.subplots(2, 5, sharey=True)
        for ax, method in zip(panels.flat, METHODS, strict=True):
            panel(ax, method, [case for case in cases() if case.method == method])
        for ax in panels[:, 0]:
            ax.set_ylabel("share of the codes' length")
        figure.supxlabel("direction of the code, from the strongest to the weakest", fontsize=11)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)

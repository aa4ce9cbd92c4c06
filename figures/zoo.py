"""The zoo: what methods make of the same 2-D data, each as an energy, on one color scale.

Every panel shows βF(y) above its least value, from 0 to 10 nats: F = min_z E(y, z) or -log p(y), β = 1 for
energies that are logarithms of densities, 1/T for squared distances, T = 0.02, 10 for energy matching, whose
loss has the temperature 0.1, and 5 for slopes to descend and a Wasserstein critic, which have no unit. White
lines lie where F is at the 95th percentile of held-out data; under each panel stands the share of the box
with lower energy, and the verdict of the collapse report. One model pushes down on the data, nothing else.
Losses of answers, of pairs and of bits shape other energies than one of y: `contrastive_zoo` has them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ebm.data import pinwheel
from ebm.measure.collapse import CollapseReport, collapse_report
from ebm.show import energy_on_grid, style
from ebm.show.style import ENERGY_MAP
from figures._zoo_contrastive import CONTRASTIVE
from figures._zoo_regularized import EXTENT, REGULARIZED, Member, seeded

ALT = (
    "Thirty methods on the same points in a plane, each as an energy on one color scale: a line, "
    "circles, ellipses, bent blades, rays; pushed down only, the energy is flat."
)
SIDE, NATS = 101, 10.0


def zoo() -> dict[str, tuple[Member, np.ndarray, CollapseReport]]:
    """By name: the member, its energy on the grid, and the report on held-out data."""
    y = pinwheel(4000, generator=seeded(0)).float()
    y = (y - y.mean(0)) / y.std()
    seen, unseen = y[:3000], y[3000:]
    found = {}
    for member in REGULARIZED + CONTRASTIVE:
        energy = member.make(seen).requires_grad_(False)
        _, _, grid = energy_on_grid(energy, "y", (-EXTENT, EXTENT) * 2, resolution=SIDE)
        report = collapse_report(energy, unseen, beta=member.beta, points=3000, generator=seeded(3))
        found[member.name] = member, grid, report
    return found


def draw(found: dict[str, tuple[Member, np.ndarray, CollapseReport]] | None = None) -> Figure:
    """The figure."""
    found = zoo() if found is None else found
    axis = np.linspace(-EXTENT, EXTENT, SIDE)
    with style():
        figure = Figure(figsize=(14.0, 13.6))
        panels = figure.subplots(5, 6, sharex=True, sharey=True)
        for ax, (name, (member, grid, report)) in zip(panels.flat, found.items(), strict=True):
            nats = member.beta * (grid - grid.min())
            shown = ax.imshow(
                nats, origin="lower", extent=(-EXTENT, EXTENT) * 2, cmap=ENERGY_MAP, vmin=0, vmax=NATS
            )
            ax.contour(
                axis, axis, grid, [report.quantile], colors="white", linewidths=0.8, linestyles="solid"
            )
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=9.5)
            verdict = report.verdict.split(",")[0]
            ax.set_xlabel(f"{member.limit}\nlow: {report.low_volume:.0%}; {verdict}", fontsize=8.5)
        bar = figure.colorbar(shown, ax=panels, shrink=0.5, pad=0.01)
        bar.set_label("βF above its least, nats")
    return figure


if __name__ == "__main__":
    members = zoo()
    draw(members).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {name: report.numbers() for name, (_, _, report) in members.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

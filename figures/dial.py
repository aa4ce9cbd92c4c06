"""The dial: one model, its regularizer turned from too weak to too strong, and what the report says of it.

    βF(y) = ⟨|y - g(z)|²⟩_q / 2σ² + β KL(q(z|y) ‖ N(0, I)),        z of 2 numbers, σ = 0.1

A variational auto-encoder of two moons. β is what a nat of code costs: this is a VAE whose decoder has the
noise σ√β, and its energies are counted in a unit that does not depend on β, errors of size σ. The dial is
turned from left to right while training goes on. Weak, and codes explain any point: F is flat. Strong, and
codes aren't worth their price: first one of the two numbers dies, then the other. Above, βF over its least
value; white lines hold what is as low as 95 % of unseen data, and the share of the box in them is plotted
below, beside the share that p ∝ exp(-βF) finds likely.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from ebm.data import two_moons
from ebm.measure.model_report import ModelReport, model_report
from ebm.nets import mlp
from ebm.regularized import ELBO, VAE, GaussianLikelihood
from ebm.show import energy_on_grid, style
from ebm.show.style import ENERGY_MAP, GRAY, GREEN, ORANGE, PURPLE, VERMILION
from ebm.train import fit

ALT = (
    "One VAE, its regularizer's strength turned from 0.01 to 316: with too little of it z explains "
    "everything and the energy is flat; with too much z says nothing; the report's verdict says which."
)
STRENGTHS = [10 ** (-2 + 0.5 * k) for k in range(10)]
SHOWN = range(0, 10, 2)  # their landscapes are drawn
NOISE, FIRST, STEPS, NATS, SIDE = 0.1, 400, 150, 10.0, 81
EXTENT = (-2.3, 2.3, -1.9, 1.9)
COLORS = {
    "latent carries everything": ORANGE,
    "alive": GREEN,
    "dimensional collapse": PURPLE,
    "latent ignored": VERMILION,
    "constant code": GRAY,
}


class Turned(NamedTuple):
    """The model at one strength: β F on the grid, and the report on unseen data."""

    grid: np.ndarray
    report: ModelReport


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def moons() -> tuple[Tensor, Tensor]:
    """Data to learn from, and others."""
    y = two_moons(2500, noise=0.03, generator=seeded(0))
    y = (y - y.mean(0)) / y.std()
    return y[:2000], y[2000:2300]


def dial() -> list[Turned]:
    """The model at every strength, weak to strong."""
    y, unseen = moons()
    encoder, decoder = mlp(2, 64, 64, 4, generator=seeded(1)), mlp(2, 64, 64, 2, generator=seeded(2))
    model, found = VAE(encoder, decoder, 2, GaussianLikelihood(NOISE)), []
    for beta in STRENGTHS:
        model.likelihood.log_noise.fill_(math.log(NOISE * beta**0.5))
        fit(
            model.train(),
            ELBO(),
            {"y": y},
            optimizer=partial(torch.optim.Adam, lr=2e-3),
            steps=STEPS if found else FIRST,
            batch_size=256,
            generator=seeded(3),
            progress=False,
        )
        now = copy.deepcopy(model).eval().requires_grad_(False)
        now.draws = None  # the average energy by cubature, not by chance
        _, _, grid = energy_on_grid(now.free_energy, "y", EXTENT, resolution=SIDE)
        report = model_report(now, unseen, beta=beta, points=1000, generator=seeded(4))
        found.append(Turned(beta * grid, report))
    return found


def landscapes(wide: Axes, found: list[Turned]) -> None:
    """βF above its least value, each over its strength."""
    across, up = (np.linspace(low, high, SIDE) for low, high in (EXTENT[:2], EXTENT[2:]))
    wide.axis("off")
    for k in SHOWN:
        ax = wide.inset_axes(((k + 0.5) / len(found) - 0.094, 0, 0.188, 0.98))
        grid, report = found[k]
        shown = ax.imshow(
            grid - grid.min(), origin="lower", extent=EXTENT, cmap=ENERGY_MAP, vmin=0, vmax=NATS
        )
        low = STRENGTHS[k] * report.free_energy.quantile
        ax.contour(across, up, grid, [low], colors="white", linewidths=0.9)
        ax.plot(*moons()[1][:150].T, ".", color="#E69F00", markersize=1.5)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"β = {STRENGTHS[k]:g}", fontsize=11, fontweight="normal", loc="center")
    bar = wide.inset_axes((0.955, 0.1, 0.012, 0.7))
    wide.figure.colorbar(shown, cax=bar, label="βF, nats")


def bands(ax: Axes, found: list[Turned], named: bool) -> None:
    """The verdicts, as colors behind the curves; with their names where there is nothing else."""
    verdicts = [turned.report.verdict for turned in found]
    begin = 0
    for k in range(1, len(verdicts) + 1):
        if k == len(verdicts) or verdicts[k] != verdicts[begin]:
            left, right = STRENGTHS[begin] / 10**0.25, STRENGTHS[k - 1] * 10**0.25
            ax.axvspan(left, right, color=COLORS[verdicts[begin]], alpha=0.85 if named else 0.13, linewidth=0)
            if named:
                words = verdicts[begin].replace(" ", "\n", 1) if k - begin < 4 else verdicts[begin]
                ax.text((left * right) ** 0.5, 0.5, words, ha="center", va="center", fontweight="bold")
            begin = k


def curves(panels: Sequence[Axes], found: list[Turned]) -> None:
    """What the verdicts rest on."""
    reports = [turned.report for turned in found]
    bits, directions, share = panels
    bits.plot(STRENGTHS, [r.bits for r in reports], marker="o")
    directions.plot(STRENGTHS, [r.codes.directions if r.codes else math.nan for r in reports], marker="o")
    share.plot(STRENGTHS, [r.free_energy.low_volume for r in reports], marker="o", label="as low as data")
    likely = [r.free_energy.likely_volume for r in reports]
    share.plot(STRENGTHS, likely, "s--", color=VERMILION, label="likely")
    share.legend(loc="lower left")
    bits.set(ylabel="bits in z", ylim=(-0.2, 7))
    directions.set(ylabel="directions\nthat z uses", ylim=(0.9, 2.1))
    share.set(ylabel="share of the\ndata's box", ylim=(0, 1.04), xlabel="β, the strength of the regularizer")
    for ax in panels:
        bands(ax, found, named=False)


def draw(found: list[Turned] | None = None) -> Figure:
    """The figure."""
    found = dial() if found is None else found
    with style():
        figure = Figure(figsize=(12.0, 8.2))
        above, strip, *panels = figure.subplots(
            5, 1, sharex=True, height_ratios=(1.72, 0.42, 1.05, 1.05, 1.05)
        )
        strip.set(yticks=[], ylim=(0, 1), xscale="log")
        strip.set_xlim(STRENGTHS[0] / 10**0.25, STRENGTHS[-1] * 10**0.25)
        strip.tick_params(which="both", bottom=False)
        landscapes(above, found)
        bands(strip, found, named=True)
        curves(panels, found)
        above.set_title(
            "Too weak, and z explains everything; too strong, and z says nothing", loc="left", pad=12
        )
    return figure


if __name__ == "__main__":
    turned = dial()
    draw(turned).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {f"{beta:g}": each.report.numbers() for beta, each in zip(STRENGTHS, turned, strict=True)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

"""The contrastive zoo: the same data, and each way to push an energy up where they are not.

The data are five elongated Gaussians, so the truth -log p(y) is known and stands first. Every panel shows
-log q(y) above its least, from 0 to 10 nats, after the same number of steps. Under each stands where the loss
pushes up; KL(p | q) in nats, 0.00 is perfect; the energy gap in nats, β times the mean energy of the box less
that of the data; and the time of a step. Where β is given, energies have a unit of their own: q ∝ exp(-βE)
with the β that makes KL least or, for energy matching, that of the loss. Slopes to descend (equilibrium
matching), distances from a reconstruction and critics are no densities, and are judged so all the same.

Answer losses and InfoNCE shape E(y1, y2), answers y2 to y1: there q is p(y1) q(y2 | y1). Where two blades
stand above one another each is the other's wrong answer, and the energies of both stay alike. Binary data are
cells of the plane, ten bits in Gray code; their truth is p summed over cells. Absent are PairLoss,
TripletLoss and MinedTripletLoss, whose energies compare pairs, and MaskedTokens, of text.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm.show import style
from ebm.show.style import ENERGY_MAP
from ebm.train import fit
from figures._blades import EXTENT, SIDE, best_beta, centers, divergence, exact, seeded, truth
from figures._contrastive_members import MEMBERS, Posed

ALT = (
    "Thirty losses trained on the same five elongated Gaussians; under each its divergence from the "
    "truth, the energy gap and the time of a step."
)
STEPS, ROWS, RATE, NATS = 400, 4000, 1e-2, 10.0


class Found(NamedTuple):
    """What a loss made of an energy.

    Attributes:
        surprise: -log q on cells, (side²,).
        beta: the energy's unit, 1 where it is a nat.
        divergence: KL(p | q), nats.
        gap: β times the mean energy of the box less that of data.
        milliseconds: of a step; 0 for the truth.
    """

    surprise: Tensor
    beta: float
    divergence: float
    gap: float
    milliseconds: float


def study(posed: Posed, y: Tensor) -> Found:
    """Train, and look."""
    steps, begun = STEPS // len(posed.losses), time.process_time()
    for loss in posed.losses:
        fit(
            posed.energy,
            loss,
            posed.data,
            optimizer=partial(torch.optim.Adam, lr=RATE),
            schedule=partial(CosineAnnealingLR, T_max=steps),
            steps=steps,
            batch_size=posed.batch,
            generator=seeded(3),
            progress=False,
        )
    seconds = time.process_time() - begun
    right = exact(posed.side)
    with torch.no_grad():
        energy, on_data = posed.see(centers(posed.side)).double(), posed.see(y).double()
    beta = best_beta(energy, right, posed.joint) if posed.beta is None else posed.beta
    surprise = posed.joint(beta * energy, right)
    gap = beta * float(energy.mean() - on_data.mean())
    return Found(surprise, beta, divergence(surprise, right), gap, 1e3 * seconds / STEPS)


def zoo() -> dict[str, tuple[str, Found]]:
    """By name: where the loss pushes up, and what it made."""
    target = truth()
    y = target.exact_samples(ROWS, generator=seeded())
    gap = float(target(y=centers(SIDE)).mean() - target(y=y).mean())
    found = {"the truth": ("five Gaussians", Found(exact(SIDE), 1.0, 0.0, gap, 0.0))}
    study(MEMBERS["push down only"][1](y), y)  # the first training of a process is slow
    found |= {name: (where, study(pose(y), y)) for name, (where, pose) in MEMBERS.items()}
    return found


def caption(where: str, one: Found) -> str:
    unit = "" if one.beta == 1 else f", β {one.beta:.3g}"
    pace = f"  ·  {one.milliseconds:.1f} ms" if one.milliseconds else ""
    return f"{where}\nKL {one.divergence:,.2f}{unit}\ngap {one.gap:,.1f}{pace}"


def draw(found: dict[str, tuple[str, Found]] | None = None) -> Figure:
    """The figure."""
    found = zoo() if found is None else found
    with style():
        figure = Figure(figsize=(13.0, 17.4))
        panels = figure.subplots(6, 6, sharex=True, sharey=True)
        for ax, (name, (where, one)) in zip(panels.flat, found.items(), strict=False):
            side = round(len(one.surprise) ** 0.5)
            shown = ax.imshow(
                (one.surprise - one.surprise.min()).view(side, side),
                origin="lower", extent=(-EXTENT, EXTENT) * 2, cmap=ENERGY_MAP, vmin=0, vmax=NATS,
            )  # fmt: skip
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=9.5)
            ax.set_xlabel(caption(where, one), fontsize=8.5)
        for ax in panels.flat[len(found) :]:
            ax.axis("off")
        below = panels[-1, -3].inset_axes((-1.0, 0.6, 3.0, 0.1))
        below.set_in_layout(False)  # it is wider than its panel
        bar = figure.colorbar(shown, cax=below, orientation="horizontal")
        bar.set_label("-log q above its least, nats")
    return figure


def table(found: dict[str, tuple[str, Found]]) -> str:
    """The numbers, as JSON."""
    numbers = {
        name: {
            "pushes up": where,
            "KL, nats": one.divergence,
            "beta": one.beta,
            "energy gap, nats": one.gap,
            "ms a step": one.milliseconds,
        }
        for name, (where, one) in found.items()
        if one.milliseconds
    }
    return json.dumps(numbers, indent=1) + "\n"


if __name__ == "__main__":
    members = zoo()
    draw(members).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    Path(__file__).with_suffix(".json").write_text(table(members), encoding="utf-8")

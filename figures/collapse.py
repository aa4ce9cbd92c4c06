"""Collapse beside contrastive beside regularized: one network, the same data, three ways of training.

E(y) = |y - G(y)|² with one small G, trained on two moons: by pushing the energy of the data down and nothing
else; by denoising, which pushes it up around the data; and with a noisy code, which limits how many points
can be low.
Under each: the share of the data's bounding box that
p ∝ exp(-E / T) finds likely (exp of its entropy), T = 0.02, and the verdict of the collapse report.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ebm import Energy
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.data import two_moons
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import collapse_report
from ebm.nets import mlp
from ebm.regularized import NoisyAutoEncoder
from ebm.show import landscape, style
from ebm.train import fit

ALT = (
    "One network trained three ways on the same data: pushing the energy down only makes it flat; "
    "contrastive and regularized training keep it low on the data alone."
)
WIDTH, CODE, STEPS = 96, 8, 1500
NOISE = 0.3  # of the contrastive loss, in units of the data
TEMPERATURE = 0.02  # T, for the report: energies that differ by less count as one


def network(seed: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Encoder and decoder, the same for all three."""
    g = torch.Generator().manual_seed(seed)
    return mlp(2, WIDTH, WIDTH, CODE, generator=g), mlp(CODE, WIDTH, WIDTH, 2, generator=g)


def trained(energy: Energy, loss: Loss, y: torch.Tensor) -> Energy:
    """The energy after training on y."""
    fit(
        energy,
        loss,
        y,
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        steps=STEPS,
        batch_size=256,
        generator=torch.Generator().manual_seed(1),
        progress=False,
    )
    return energy


def models(y: torch.Tensor) -> dict[str, Energy]:
    """The three energies."""
    return {
        "Push down only": trained(AutoEncoder(torch.nn.Sequential(*network(0))), AverageEnergy(), y),
        "Contrastive: denoising": trained(
            AutoEncoder(torch.nn.Sequential(*network(0))), Denoising(Gaussian(NOISE)), y
        ),
        "Regularized: a noisy code": trained(
            NoisyAutoEncoder(*network(0), size=CODE, noise=1.0).free_energy, AverageEnergy(), y
        ),
    }


def draw() -> Figure:
    """The figure."""
    y = two_moons(2000, noise=0.05, generator=torch.Generator().manual_seed(0))
    y = (y - y.mean(0)) / y.std()
    extent = (-2.4, 2.4, -2.4, 2.4)
    with style():
        figure = Figure(figsize=(11.0, 4.3))
        panels = figure.subplots(1, 3, sharey=True)
        for ax, (name, energy) in zip(panels, models(y).items(), strict=True):
            report = collapse_report(
                energy, y, beta=1 / TEMPERATURE, points=4000, generator=torch.Generator().manual_seed(2)
            )
            landscape(energy, "y", ax, extent, ceiling=0.2, colorbar=False, levels=21)
            ax.plot(*y[:400].T, ".", color="#E69F00", markersize=2.5)
            ax.set(title=name, aspect="equal")
            ax.set_xlabel(f"likely: {report.likely_volume:.0%} of the data's box\nverdict: {report.verdict}")
            ax.set_ylabel("")
        ticks = [0, 0.05, 0.1, 0.15, 0.2]
        figure.colorbar(panels[0].collections[0], ax=panels, label="energy", ticks=ticks, shrink=0.8)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)

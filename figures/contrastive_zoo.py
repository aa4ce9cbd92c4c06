"""The contrastive zoo: one network, the same data, and each way to push its energy up where data are not.

E(y) is a network 2-64-64-1 in a wide bowl; the data are five elongated Gaussians, so the truth -log p(y) is
known and stands first. Every panel shows E(y) above its least, from 0 to 10 nats, after the same number of
steps. Under each stands KL(p | model) in nats, the model normalized by a sum over the grid; 0.00 is perfect.
The energy gap to points of the box and the time of a step are in the file of numbers. Energy matching and
equilibrium matching shape slopes to descend, not a density, and have no place here.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.contrastive import (
    NCE,
    ConditionalNCE,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    ImprovedContrastiveDivergence,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
)
from ebm.infer import MALA
from ebm.infer.starts import Uniform
from ebm.loss import AverageEnergy, Loss
from ebm.nets import mlp
from ebm.nodes import Grid
from ebm.show import style
from ebm.show.style import ENERGY_MAP
from ebm.targets import Gaussian, Mixture
from ebm.train import fit

EXTENT, SIDE, NATS, STEPS, BATCH, ROWS, WIDTH = 4.0, 101, 10.0, 400, 256, 4000, 64
STEP, CHAIN = 0.05, 10  # of the chains


class Network(Energy):
    """E(y) = f(y) + ½|y|²/9: the bowl keeps exp(-E) integrable and chains at home."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2, WIDTH, WIDTH, 1, activation=nn.SiLU, generator=seeded(1))

    def forward(self, y: Tensor) -> Tensor:
        f: Tensor = self.network(y)
        return f.squeeze(1) + y.square().sum(1) / 18


class Member(NamedTuple):
    """A loss: where it pushes up, and how it is made from the data."""

    name: str
    where: str
    make: Callable[[Tensor], Loss]


class Found(NamedTuple):
    """What a loss made of the network.

    Attributes:
        grid: E on the grid.
        divergence: KL(p | model), nats.
        gap: mean energy of points of the box less that of data.
        seconds: of all steps.
    """

    grid: Tensor
    divergence: float
    gap: float
    seconds: float


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def truth() -> Mixture:
    """Five blades around the origin."""
    angle = torch.arange(5) * (2 * math.pi / 5)
    along = torch.stack([angle.cos(), angle.sin()], 1)
    turned = angle + 0.7
    axis = torch.stack([turned.cos(), turned.sin()], 1)
    spread = 0.35**2 * axis[:, :, None] * axis[:, None, :]
    return Mixture(torch.full((5,), 0.2), 2.0 * along, 0.15**2 * torch.eye(2) + 3 * spread)


def noise(y: Tensor) -> Gaussian:
    """The Gaussian of the data's mean and covariance."""
    return Gaussian(y.mean(0), torch.cov(y.T))


def buffer(size: int) -> ReplayBuffer:
    start = Uniform(2, low=-EXTENT, high=EXTENT)
    return ReplayBuffer(start, size, fresh=0.02, generator=seeded(2))


EVERYWHERE = Grid([-EXTENT, -EXTENT], [EXTENT, EXTENT], 40, normalized=False)


def persistent(y: Tensor) -> Loss:
    return PersistentContrastiveDivergence(MALA(STEP), buffer(1000), CHAIN)


def improved(y: Tensor) -> Loss:
    return ImprovedContrastiveDivergence(STEP, buffer(1000), CHAIN)


MEMBERS = [
    Member("push down only", "nowhere", lambda y: AverageEnergy()),
    Member("maximum likelihood", "everywhere, on a grid", lambda y: MaximumLikelihood(EVERYWHERE)),
    Member("contrastive divergence", "from the data on", lambda y: ContrastiveDivergence(MALA(STEP), CHAIN)),
    Member("persistent CD", "where chains have come", persistent),
    Member("improved CD", "and through the sampler", improved),
    Member("noise contrastive", "noise of known density", lambda y: NCE(noise(y), 4)),
    Member("conditional NCE", "neighbors of data", lambda y: ConditionalNCE(0.5, 4)),
    Member("energy discrepancy", "data spoilt twice", lambda y: EnergyDiscrepancy(0.5, 16)),
    Member("score matching", "around data, by curvature", lambda y: ScoreMatching()),
    Member("sliced score matching", "along a direction", lambda y: SlicedScoreMatching()),
    Member("denoising score matching", "spoilt data", lambda y: DenoisingScoreMatching(0.2)),
]


def points() -> Tensor:
    """The grid, (SIDE², 2), row by row."""
    axis = torch.linspace(-EXTENT, EXTENT, SIDE)
    y1, y2 = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack([y1.flatten(), y2.flatten()], 1)


def divergence(energy: Tensor, exact: Tensor) -> float:
    """KL(p | exp(-E)/Z) on the grid, from energies on it."""
    log_p, log_q = (-exact).log_softmax(0), (-energy).log_softmax(0)
    return float((log_p.exp() * (log_p - log_q)).sum())


def study(member: Member, y: Tensor, exact: Tensor) -> Found:
    """Train the network with one loss, and look."""
    energy, loss, begun = Network(), member.make(y), time.process_time()
    fit(
        energy,
        loss,
        y,
        optimizer=partial(torch.optim.Adam, lr=3e-3),
        steps=STEPS,
        batch_size=BATCH,
        generator=seeded(3),
        progress=False,
    )
    seconds = time.process_time() - begun
    with torch.no_grad():
        grid = energy(y=points()).double()
        gap = float(grid.mean() - energy(y=y).double().mean())
    return Found(grid, divergence(grid, exact), gap, seconds)


def zoo() -> dict[str, tuple[str, Found]]:
    """By name: where the loss pushes up, and what it made."""
    target = truth()
    y = target.exact_samples(ROWS, generator=seeded())
    exact = target(y=points()).double()
    gap = float(exact.mean() - target(y=y).double().mean())
    found = {"the truth": ("five Gaussians", Found(exact, 0.0, gap, 0.0))}
    return found | {member.name: (member.where, study(member, y, exact)) for member in MEMBERS}


def draw(found: dict[str, tuple[str, Found]] | None = None) -> Figure:
    """The figure."""
    found = zoo() if found is None else found
    with style():
        figure = Figure(figsize=(11.0, 9.2))
        panels = figure.subplots(3, 4, sharex=True, sharey=True)
        for ax, (name, (where, one)) in zip(panels.flat, found.items(), strict=True):
            grid = (one.grid - one.grid.min()).view(SIDE, SIDE)
            shown = ax.imshow(
                grid, origin="lower", extent=(-EXTENT, EXTENT) * 2, cmap=ENERGY_MAP, vmin=0, vmax=NATS
            )
            ax.set(xticks=[], yticks=[], title=name)
            ax.set_xlabel(f"{where}\nKL {one.divergence:,.2f} nats", fontsize=9)
        bar = figure.colorbar(shown, ax=panels, shrink=0.5, pad=0.01)
        bar.set_label("E above its least, nats")
    return figure


if __name__ == "__main__":
    members = zoo()
    draw(members).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {
        name: {
            "pushes up": where,
            "KL, nats": one.divergence,
            "energy gap": one.gap,
            "ms a step": 1e3 * one.seconds / STEPS,
        }
        for name, (where, one) in members.items()
        if one.seconds
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

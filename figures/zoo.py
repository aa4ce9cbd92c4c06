"""The zoo: what methods make of the same 2-D data, each as an energy, on one color scale.

Every panel shows βF(y) above its least value, from 0 to 10 nats: F = min_z E(y, z) or -log p(y), β = 1 for
energies that are logarithms of densities and 1/T for squared distances, T = 0.02. White lines lie where F is
at the 95th percentile of held-out data; under each panel stands the share of the box with lower energy, and
the verdict of the collapse report. One model pushes down on the data and does nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.contrastive import (
    NCE,
    AutoEncoder,
    ConditionalNCE,
    ContrastiveDivergence,
    Denoising,
    EnergyDiscrepancy,
    Gaussian,
    SlicedScoreMatching,
)
from ebm.data import pinwheel
from ebm.infer import MALA, SpaRSA
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import CollapseReport, collapse_report
from ebm.nets import mlp
from ebm.regularized import (
    ELBO,
    PCA,
    VAE,
    VQVAE,
    ContractiveAutoEncoder,
    Flow,
    GaussianLikelihood,
    GaussianMixture,
    KMeans,
    NoisyAutoEncoder,
    ProbabilisticPCA,
    QuantizedLoss,
    SaturatingAutoEncoder,
    SparseAutoEncoder,
    SparseCoding,
    SquareICA,
)
from ebm.regularized.saturating import Rectifier
from ebm.regularized.sparse_activations import TopK
from ebm.show import energy_on_grid, style
from ebm.show.style import ENERGY_MAP
from ebm.targets import Gaussian as Normal
from ebm.train import fit

EXTENT, SIDE, NATS, TEMPERATURE, STEPS = 2.6, 101, 10.0, 0.02, 1000
Made = Callable[[Tensor], Energy]


class Member(NamedTuple):
    """A method: what limits its space of low energy, how it is made, and the unit of its energy."""

    name: str
    limit: str
    make: Made
    beta: float = 1 / TEMPERATURE


def seeded(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def net(*sizes: int, seed: int) -> nn.Module:
    return mlp(*sizes, generator=seeded(seed))


def trained(model: Energy, loss: Loss, y: Tensor, rate: float = 2e-3, steps: int = STEPS) -> Energy:
    """The model after training on y."""
    adam = partial(torch.optim.Adam, lr=rate)
    fit(
        model, loss, {"y": y}, optimizer=adam, steps=steps, batch_size=256, generator=seeded(), progress=False
    )
    return model.eval()


def fitted(make: Callable[[Tensor], Energy], y: Tensor, **settings: int) -> Energy:
    """The free energy after a classical fit."""
    model = make(y)
    model.fit(y, **settings)
    return getattr(model, "free_energy", model)


def push_down(y: Tensor) -> Energy:
    return trained(
        AutoEncoder(nn.Sequential(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2))), AverageEnergy(), y
    )


def denoising(y: Tensor) -> Energy:
    model = AutoEncoder(nn.Sequential(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2)))
    return trained(model, Denoising(Gaussian(0.25)), y)


def flow(y: Tensor) -> Energy:
    return trained(Flow.from_data(y, hidden=(32, 32), generator=seeded()), AverageEnergy(), y)


def noisy(y: Tensor) -> Energy:
    model = NoisyAutoEncoder(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2), size=8, noise=1.0)
    return trained(model.free_energy, AverageEnergy(), y)


def sparse(y: Tensor) -> Energy:
    model = SparseCoding.from_data(y, 5, 0.15, method=SpaRSA(memory=1), generator=seeded(4))
    model.fit(y, steps=100, generator=seeded(), progress=False)
    return model.free_energy


def top_k(y: Tensor) -> Energy:
    model = SparseAutoEncoder.from_data(y, 8, TopK(1), generator=seeded(2))
    return trained(model.free_energy, AverageEnergy(), y)


def vq_vae(y: Tensor) -> Energy:
    model = VQVAE.from_data(
        y, net(2, 64, 2, seed=1), net(2, 64, 2, seed=2), 20, expire=1.0, generator=seeded()
    )
    trained(model, QuantizedLoss(), y)
    return model.free_energy


def vae(y: Tensor) -> Energy:
    model = VAE(net(2, 96, 4, seed=1), net(2, 96, 2, seed=2), 2, GaussianLikelihood(0.15))
    trained(model, ELBO(), y, steps=2 * STEPS)
    model.draws = None  # the average energy by cubature, not by chance
    return model.free_energy


def contractive(y: Tensor) -> Energy:
    inner = mlp(2, 64, 2, activation=nn.Tanh, generator=seeded(1))
    encoder = nn.Sequential(inner, nn.Tanh())
    return trained(ContractiveAutoEncoder(encoder, net(2, 96, 2, seed=2), 0.1), AverageEnergy(), y)


def saturating(y: Tensor) -> Energy:
    model = SaturatingAutoEncoder(net(2, 64, 16, seed=1), net(16, 2, seed=2), Rectifier(), 0.05)
    return trained(model, AverageEnergy(), y)


class Network(Energy):
    """E(y) = f(y) + ½|y|²/9, a network in a wide bowl."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2, 96, 96, 1, activation=nn.SiLU, generator=seeded())

    def forward(self, y: Tensor) -> Tensor:
        f: Tensor = self.network(y)
        return f.squeeze(1) + y.square().sum(1) / 18


def contrasted(y: Tensor, loss: Loss) -> Energy:
    return trained(Network(), loss, y)


def against_noise(y: Tensor) -> Energy:
    return contrasted(y, NCE(Normal(y.mean(0), torch.cov(y.T)), 4))


MEMBERS = [
    Member("push down only", "nothing", push_down),
    Member("PCA", "one direction", partial(fitted, partial(PCA.from_data, k=1))),
    Member("probabilistic PCA", "a Gaussian", partial(fitted, partial(ProbabilisticPCA.from_data, k=1)), 1.0),
    Member("k-means", "20 points", partial(fitted, partial(KMeans.from_data, k=20, generator=seeded()))),
    Member(
        "Gaussian mixture",
        "it is normalized",
        partial(fitted, partial(GaussianMixture.from_data, k=10, generator=seeded())),
        1.0,
    ),
    Member("square ICA", "it is normalized", partial(fitted, SquareICA.from_data), 1.0),
    Member("spline flow", "it is normalized", flow, 1.0),
    Member("sparse coding", "λ|z|₁", sparse),
    Member("sparse auto-encoder", "one of 8 latents", top_k),
    Member("VQ-VAE", "20 codes", vq_vae),
    Member("VAE", "entropy of z", vae, 1.0),
    Member("noisy code", "a noisy channel", noisy),
    Member("contractive", "λ|∂f/∂y|²", contractive),
    Member("saturating", "flat parts of f", saturating),
    Member("denoising", "pushed up beside the data", denoising),
    Member(
        "contrastive divergence",
        "pushed up where chains lead",
        partial(contrasted, loss=ContrastiveDivergence(MALA(0.02), 10)),
        1.0,
    ),
    Member("noise contrastive", "pushed up at noise", against_noise, 1.0),
    Member(
        "conditional NCE", "pushed up at neighbors", partial(contrasted, loss=ConditionalNCE(0.3, 4)), 1.0
    ),
    Member(
        "energy discrepancy",
        "pushed up at spoilt data",
        partial(contrasted, loss=EnergyDiscrepancy(0.3)),
        1.0,
    ),
    Member(
        "score matching", "pushed up around the data", partial(contrasted, loss=SlicedScoreMatching()), 1.0
    ),
]


def zoo() -> dict[str, tuple[Member, np.ndarray, CollapseReport]]:
    """By name: the member, its energy on the grid, and the report on held-out data."""
    y = pinwheel(4000, generator=seeded(0)).float()
    y = (y - y.mean(0)) / y.std()
    seen, unseen = y[:3000], y[3000:]
    found = {}
    for member in MEMBERS:
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
        figure = Figure(figsize=(13.0, 12.2))
        panels = figure.subplots(4, 5, sharex=True, sharey=True)
        for ax, (name, (member, grid, report)) in zip(panels.flat, found.items(), strict=True):
            nats = member.beta * (grid - grid.min())
            shown = ax.imshow(
                nats, origin="lower", extent=(-EXTENT, EXTENT) * 2, cmap=ENERGY_MAP, vmin=0, vmax=NATS
            )
            ax.contour(
                axis, axis, grid, [report.quantile], colors="white", linewidths=0.8, linestyles="solid"
            )
            ax.set(xticks=[], yticks=[], title=name)
            verdict = report.verdict.split(",")[0]
            ax.set_xlabel(f"{member.limit}\nlow: {report.low_volume:.0%}; {verdict}", fontsize=9)
        bar = figure.colorbar(shown, ax=panels, shrink=0.5, pad=0.01)
        bar.set_label("βF above its least, nats")
    return figure


if __name__ == "__main__":
    members = zoo()
    draw(members).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {name: report.numbers() for name, (_, _, report) in members.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

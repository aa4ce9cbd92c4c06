"""Members of `zoo` that push up: how each is made from data.

They shape one network in a bowl, E(y) = f(y) + ½|y|²/9, or an auto-encoder's |y - G(y)|². Those whose noise
is N(0, I) suit data of standard deviation 1, which these are; networks that make points (EBGAN, WGAN) begin
with noise all over the box, and move it: G(ε) = ε + f(ε).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.contrastive import (
    EBGAN,
    NCE,
    WGAN,
    AnnealedScoreMatching,
    AutoEncoder,
    ConditionalNCE,
    ContrastiveDivergence,
    Denoising,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    EnergyMatching,
    EquilibriumMatching,
    Gaussian,
    HeatedFlow,
    ImprovedContrastiveDivergence,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
    geometric_levels,
)
from ebm.infer import MALA
from ebm.infer.starts import Uniform
from ebm.loss import Loss
from ebm.nets import mlp
from ebm.nodes import Grid
from ebm.targets import Gaussian as Normal
from figures._zoo_regularized import EXTENT, STEPS, Member, net, seeded, trained

FREE = 5.0  # β of energies without a unit
MATCHED = 0.1  # the temperature of energy matching


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


def denoising(y: Tensor) -> Energy:
    model = AutoEncoder(nn.Sequential(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2)))
    return trained(model, Denoising(Gaussian(0.25)), y)


class Blurred(Energy):
    """E(y, σ) = f(y, log σ)/σ + ½|y|²/9: slopes are the steeper the smaller the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(3, 96, 96, 1, activation=nn.SiLU, generator=seeded())

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        f: Tensor = self.network(torch.cat([y, sigma.log().unsqueeze(1)], 1))
        return f.squeeze(1) / sigma + y.square().sum(1) / 18


class Sharpest(Energy):
    """E(y, σ) at its least σ."""

    def __init__(self, whole: Energy, sigma: float) -> None:
        super().__init__()
        self.whole, self.sigma = whole, sigma

    def forward(self, y: Tensor) -> Tensor:
        return self.whole(y=y, sigma=y.new_full((len(y),), self.sigma))


class Mover(nn.Module):
    """G(ε) = ε + f(ε): begins with noise all over the box, and moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2, 64, 64, 2, activation=nn.SiLU, generator=seeded(4))

    def forward(self, noise: Tensor) -> Tensor:
        moved: Tensor = noise + self.network(noise)
        return moved


OVER_BOX = Uniform(2, low=-EXTENT, high=EXTENT)


def everywhere(y: Tensor) -> Energy:
    return contrasted(y, MaximumLikelihood(Grid([-4.0, -4.0], [4.0, 4.0], 50, normalized=False)))


def persistent(y: Tensor) -> Energy:
    buffer = ReplayBuffer(OVER_BOX, 1000, fresh=0.02, generator=seeded(2))
    return contrasted(y, PersistentContrastiveDivergence(MALA(0.03), buffer, 40))


def improved(y: Tensor) -> Energy:
    buffer = ReplayBuffer(OVER_BOX, 1000, fresh=0.02, generator=seeded(2))
    return contrasted(y, ImprovedContrastiveDivergence(0.01, buffer, 40))


def annealed(y: Tensor) -> Energy:
    levels = geometric_levels(0.6, 0.08, 5)
    return Sharpest(trained(Blurred(), AnnealedScoreMatching(levels), y), 0.08)


def energy_matching(y: Tensor) -> Energy:
    model, flow = Network(), HeatedFlow(0.05, 30, onset=0.8, temperature=MATCHED)
    trained(model, EnergyMatching(), y, steps=STEPS // 2, batch=64)
    return trained(model, EnergyMatching(1.0, flow, floor=None), y, steps=STEPS // 2, batch=64)


def ebgan(y: Tensor) -> Energy:
    encoder, decoder = net(2, 96, 8, seed=1), net(8, 96, 2, seed=2)
    loss = EBGAN(Mover(), OVER_BOX, 0.5, encoder=encoder)
    return trained(AutoEncoder(nn.Sequential(encoder, decoder)), loss, y)


def wgan(y: Tensor) -> Energy:
    return contrasted(y, WGAN(Mover(), OVER_BOX, 1.0))


CONTRASTIVE = [
    Member("maximum likelihood", "pushed up everywhere", everywhere, 1.0),
    Member(
        "contrastive divergence",
        "pushed up where chains lead",
        partial(contrasted, loss=ContrastiveDivergence(MALA(0.02), 10)),
        1.0,
    ),
    Member("persistent CD", "pushed up where chains came", persistent, 1.0),
    Member("improved CD", "and through the sampler", improved, 1.0),
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
    Member("score matching", "pushed up around the data", partial(contrasted, loss=ScoreMatching()), 1.0),
    Member(
        "sliced score matching", "… along a direction", partial(contrasted, loss=SlicedScoreMatching()), 1.0
    ),
    Member(
        "denoising score matching",
        "pushed up at spoilt data",
        partial(contrasted, loss=DenoisingScoreMatching(0.1)),
        1.0,
    ),
    Member("annealed score matching", "… spoilt at 5 scales", annealed, 1.0),
    Member("denoising", "pushed up beside the data", denoising),
    Member(
        "equilibrium matching",
        "pushed up toward noise",
        partial(contrasted, loss=EquilibriumMatching()),
        FREE,
    ),
    Member("energy matching", "pushed up toward noise", energy_matching, 1 / MATCHED),
    Member("EBGAN", "pushed up at made points", ebgan),
    Member("WGAN", "pushed up at made points", wgan, FREE),
]

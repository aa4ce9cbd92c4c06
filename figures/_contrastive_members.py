"""The members of `contrastive_zoo`: each loss, where it pushes up, and the energy that it shapes.

All take the same number of steps. Chains that begin at the data take 10 steps of MALA; persistent ones, which
begin elsewhere and have to keep up with an energy that changes, take 40. A network that makes points begins
with noise all over the box.
Minimum probability flow leaves out neighbors that are data, and so gets small batches, in which few are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ebm.contrastive import (
    EBGAN,
    NCE,
    WGAN,
    AnnealedScoreMatching,
    AnswerSet,
    AutoEncoder,
    ClassifierEnergy,
    ConditionalNCE,
    ContrastiveDivergence,
    Denoising,
    DenoisingScoreMatching,
    EmpiricalErrorLoss,
    EnergyDiscrepancy,
    EnergyMatching,
    EquilibriumMatching,
    Gaussian,
    HeatedFlow,
    HingeLoss,
    ImprovedContrastiveDivergence,
    InfoNCE,
    JEMLoss,
    LogLoss,
    LVQ2Loss,
    MaximumLikelihood,
    MCELoss,
    MinimumProbabilityFlow,
    PerceptronLoss,
    PersistentContrastiveDivergence,
    PseudoLikelihood,
    RatioMatching,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
    SquareExponentialLoss,
    SquareSquareLoss,
    geometric_levels,
)
from ebm.infer import MALA
from ebm.infer.starts import Uniform
from ebm.loss import AverageEnergy
from ebm.nets import mlp
from ebm.nodes import Grid
from ebm.targets import Gaussian as NormalDensity
from figures._blades import (
    EXTENT,
    blade,
    of_ratios,
    seeded,
)
from figures._contrastive_energies import (
    WIDTH,
    Blurred,
    Mover,
    Posed,
    answers,
    bits,
    density,
    encoder_and_decoder,
    standardized,
)

STEP, CHAIN, LONG = 0.05, 10, 40  # of the chains


def noise(y: Tensor) -> NormalDensity:
    """The Gaussian of the data's mean and covariance."""
    return NormalDensity(y.mean(0), torch.cov(y.T))


def buffer() -> ReplayBuffer:
    return ReplayBuffer(Uniform(2, low=-EXTENT, high=EXTENT), 1000, fresh=0.02, generator=seeded(2))


def annealed(y: Tensor) -> Posed:
    levels = geometric_levels(1.0, 0.1, 5)
    model = Blurred()
    see = lambda points: model(y=points, sigma=points.new_full((len(points),), 0.1))  # noqa: E731
    return Posed(model, {"y": y}, (AnnealedScoreMatching(levels),), see, 1.0)


def info_nce(y: Tensor) -> Posed:
    return answers(InfoNCE(), y)._replace(beta=1.0, joint=of_ratios, batch=64)


def classifier(y: Tensor) -> Posed:
    model = ClassifierEnergy(mlp(2, WIDTH, WIDTH, 5, activation=nn.SiLU, generator=seeded(1)))
    loss = JEMLoss(ContrastiveDivergence(MALA(STEP), CHAIN, variable="x"))
    return Posed(model, {"x": y, "y": blade(y)}, (loss,), lambda points: model.free_energy(x=points), 1.0)


def energy_matching(y: Tensor) -> Posed:
    """Without chains first, and then with them, at the temperature that is its unit."""
    flow = HeatedFlow(step_size=0.05, steps=30, onset=0.8, temperature=0.2)
    return standardized((EnergyMatching(), EnergyMatching(1.0, flow, floor=None)), y, 1 / flow.temperature)


def denoising(y: Tensor) -> Posed:
    return density(Denoising(Gaussian(0.3)), y, AutoEncoder(nn.Sequential(*encoder_and_decoder())), None)


def ebgan(y: Tensor) -> Posed:
    encoder, decoder = encoder_and_decoder()
    loss = EBGAN(Mover(), OVER_BOX, 1.0, encoder=encoder)
    return density(loss, y, AutoEncoder(nn.Sequential(encoder, decoder)), None)


OVER_BOX = Uniform(2, low=-EXTENT, high=EXTENT)
EVERYWHERE = Grid([-5.0, -5.0], [5.0, 5.0], 60, normalized=False)
CHOICES = torch.linspace(-EXTENT, EXTENT, 33).unsqueeze(1)


def wrong(radius: float = 0.4) -> AnswerSet:
    return AnswerSet(CHOICES, radius)


MEMBERS: dict[str, tuple[str, Callable[[Tensor], Posed]]] = {
    "push down only": ("nowhere", lambda y: density(AverageEnergy(), y)),
    "maximum likelihood": ("everywhere, on a grid", lambda y: density(MaximumLikelihood(EVERYWHERE), y)),
    "contrastive divergence": (
        "where chains lead from data",
        lambda y: density(ContrastiveDivergence(MALA(STEP), CHAIN), y),
    ),
    "persistent CD": (
        "where chains have come",
        lambda y: density(PersistentContrastiveDivergence(MALA(2 * STEP), buffer(), LONG), y),
    ),
    "improved CD": (
        "… and through the sampler",
        lambda y: density(ImprovedContrastiveDivergence(STEP, buffer(), LONG), y),
    ),
    "joint energy model": ("where a classifier's chains lead", classifier),
    "noise contrastive": ("at noise of known density", lambda y: density(NCE(noise(y), 4), y)),
    "conditional NCE": ("at neighbors of data", lambda y: density(ConditionalNCE(0.5, 4), y)),
    "InfoNCE": ("at 63 other rows' answers", info_nce),
    "energy discrepancy": ("at data spoilt twice", lambda y: density(EnergyDiscrepancy(0.5, 16), y)),
    "score matching": ("around data, by curvature", lambda y: density(ScoreMatching(), y)),
    "sliced score matching": ("around data, along a line", lambda y: density(SlicedScoreMatching(), y)),
    "denoising score matching": ("at spoilt data", lambda y: density(DenoisingScoreMatching(0.2), y)),
    "annealed score matching": ("at data spoilt at 5 scales", annealed),
    "denoising auto-encoder": ("at spoilt data, mapped back", denoising),
    "equilibrium matching": (
        "toward noise",
        lambda y: standardized((EquilibriumMatching(),), y, None),
    ),
    "energy matching": ("toward noise, then by chains", energy_matching),
    "EBGAN": ("where a network puts points", ebgan),
    "WGAN": (
        "where a network puts points",
        lambda y: density(WGAN(Mover(), OVER_BOX, 1.0, every=1), y, beta=None),
    ),
    "perceptron": ("at wrong answers that win", lambda y: answers(PerceptronLoss(wrong(0.0)), y)),
    "LVQ2": ("… unless far too low", lambda y: answers(LVQ2Loss(wrong(0.0)), y)),
    "hinge": ("at wrong answers, to a margin", lambda y: answers(HingeLoss(wrong(), 4.0), y)),
    "log": ("at wrong answers, softly", lambda y: answers(LogLoss(wrong()), y)),
    "MCE": ("at wrong answers, counted", lambda y: answers(MCELoss(wrong()), y)),
    "empirical error": ("at all answers, counted", lambda y: answers(EmpiricalErrorLoss(wrong()), y)),
    "square-square": (
        "at wrong answers, to a margin",
        lambda y: answers(SquareSquareLoss(wrong(), 4.0), y, True),
    ),
    "square-exponential": (
        "at wrong answers, fading",
        lambda y: answers(SquareExponentialLoss(wrong()), y, True),
    ),
    "pseudo-likelihood": ("at flipped bits", lambda y: bits(PseudoLikelihood(), y)),
    "ratio matching": ("at flipped bits, squared", lambda y: bits(RatioMatching(), y)),
    "minimum probability flow": (
        "at flipped bits not seen",
        lambda y: bits(MinimumProbabilityFlow(log=True), y)._replace(batch=32),
    ),
}

"""The list of losses: those of this package that estimate, each with what it is to find.

A new loss is put on it, one line, and inherits the whole contract (`ebm.testing.losses`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm.contrastive.annealed_score_matching import AnnealedScoreMatching
from ebm.contrastive.answers import AnswerSet
from ebm.contrastive.conditional_nce import ConditionalNCE
from ebm.contrastive.denoising_score_matching import DenoisingScoreMatching
from ebm.contrastive.empirical_error import EmpiricalErrorLoss
from ebm.contrastive.energy_discrepancy import EnergyDiscrepancy
from ebm.contrastive.energy_matching import EnergyMatching
from ebm.contrastive.equilibrium_matching import EquilibriumMatching
from ebm.contrastive.heated_flow import HeatedFlow
from ebm.contrastive.info_nce import InfoNCE
from ebm.contrastive.likelihood import MaximumLikelihood
from ebm.contrastive.margin_losses import HingeLoss, LogLoss
from ebm.contrastive.minimum_probability_flow import MinimumProbabilityFlow
from ebm.contrastive.nce import NCE
from ebm.contrastive.pseudo_likelihood import PseudoLikelihood
from ebm.contrastive.ratio_matching import RatioMatching
from ebm.contrastive.score_matching import ScoreMatching
from ebm.contrastive.sliced_score_matching import SlicedScoreMatching
from ebm.contrastive.wgan import WGAN
from ebm.infer.starts import Normal
from ebm.nodes import Grid
from ebm.targets.gaussian import Gaussian
from ebm.testing.examples import randn
from ebm.testing.loss_problem import Blurred, Correlations, prior
from ebm.testing.loss_recovery import LossMember
from ebm.testing.spins import Spins

SCALE = 0.6  # of the noise in losses that add some, about half the data's


def losses() -> dict[str, LossMember]:
    """Every loss that estimates; those that find something else than the precisions say what."""
    few = HeatedFlow(step_size=0.2, steps=6, temperature=0.1)
    return {
        "AnnealedScoreMatching": LossMember(
            lambda d, y: AnnealedScoreMatching([1.0, 0.5], variable=y), Blurred(), gap=False
        ),
        "ConditionalNCE": LossMember(lambda d, y: ConditionalNCE(SCALE, 4, variable=y)),
        "DenoisingScoreMatching": LossMember(
            lambda d, y: DenoisingScoreMatching(SCALE, variable=y), expected=lambda t: t / (1 + t * SCALE**2)
        ),
        "EmpiricalErrorLoss": LossMember(lambda d, y: EmpiricalErrorLoss(others(d), variable=y), dims=()),
        "EnergyDiscrepancy": LossMember(
            lambda d, y: EnergyDiscrepancy(SCALE, 128, 0.0, variable=y), rows=1200
        ),
        "EnergyMatching, in the flow": LossMember(
            lambda d, y: EnergyMatching(pairing="independent", variable=y), expected=straight, around=prior
        ),
        "EnergyMatching, at the data": LossMember(
            lambda d, y: EnergyMatching(0.5, few, floor=None, variable=y),
            dims=(),
            gradient=False,
            around=prior,
        ),
        "EquilibriumMatching": LossMember(
            lambda d, y: EquilibriumMatching(variable=y), expected=equilibrium, around=prior
        ),
        "HingeLoss": LossMember(lambda d, y: HingeLoss(others(d), variable=y), dims=(), gap=False),
        "InfoNCE": LossMember(
            lambda d, y: InfoNCE(variable=y), Correlations(), rows=480, discrete=True, gap=False
        ),
        "LogLoss": LossMember(lambda d, y: LogLoss(others(d), variable=y), dims=(), gap=False),
        "MaximumLikelihood": LossMember(
            lambda d, y: MaximumLikelihood(variable=y), discrete=True, gap=False, free=False
        ),
        "MaximumLikelihood, on a grid": LossMember(
            lambda d, y: MaximumLikelihood(grid(d), variable=y), dims=(1, 2), discrete=True, rows=2000
        ),
        "MinimumProbabilityFlow": LossMember(  # its states are hardly ever data where bits are many
            lambda d, y: MinimumProbabilityFlow(variable=y),
            Spins(more=14),
            rows=600,
            dims=(1, 2),
            gap=False,
            free=False,
        ),
        "NCE": LossMember(lambda d, y: NCE(wide(d), 4, variable=y), discrete=True),
        "PseudoLikelihood": LossMember(
            lambda d, y: PseudoLikelihood(variable=y), Spins(), gap=False, free=False
        ),
        "PseudoLikelihood of two sites": LossMember(
            lambda d, y: PseudoLikelihood(2, variable=y), Spins(), gap=False, free=False
        ),
        "RatioMatching": LossMember(lambda d, y: RatioMatching(variable=y), Spins(), gap=False, free=False),
        "ScoreMatching": LossMember(lambda d, y: ScoreMatching(variable=y)),
        "ScoreMatching, Rademacher": LossMember(lambda d, y: ScoreMatching("rademacher", variable=y)),
        "ScoreMatching, Gaussian": LossMember(lambda d, y: ScoreMatching("gaussian", 2, variable=y)),
        "SlicedScoreMatching": LossMember(lambda d, y: SlicedScoreMatching(False, "gaussian", variable=y)),
        "SlicedScoreMatching, VR": LossMember(lambda d, y: SlicedScoreMatching(True, "sphere", variable=y)),
        "WGAN": LossMember(
            lambda d, y: WGAN(maker(d), Normal(2), 1.0, variable=y, every=1), dims=(), gradient=False
        ),
    }


def others(dim: int) -> AnswerSet:
    """Points all around the data, for wrong answers."""
    return AnswerSet(3 * randn(64, dim), radius=0.3)


def maker(dim: int) -> nn.Module:
    """A network from two random numbers to points as wide as wrong answers."""
    layer = nn.Linear(2, dim)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(2 * randn(*parameter.shape, seed=seed))
    return layer


def wide(dim: int) -> Gaussian:
    """Noise somewhat wider than the data."""
    return Gaussian(torch.zeros(dim, dtype=torch.float64), 1.5 * torch.eye(dim, dtype=torch.float64))


def grid(dim: int) -> Grid:
    """A box beyond which the data's density is below 1e-10."""
    return Grid([-8.0] * dim, [8.0] * dim, 64 if dim == 1 else 48, normalized=False)


def straight(theta: Tensor) -> Tensor:
    """The linear potential's slope along straight ways from N(0, 1) to N(0, 1/θ): ⟨y_t(ξ - y)⟩ / ⟨y_t²⟩."""
    t, variance = _ways(), 1 / theta.unsqueeze(1)
    return (1 - t - t * variance).mean(1) / ((1 - t) ** 2 + t**2 * variance).mean(1)


def equilibrium(theta: Tensor) -> Tensor:
    """The same with slopes that fade: ⟨c(γ) y_γ(ε - y)⟩ / ⟨y_γ²⟩."""
    t, variance = _ways(), 1 / theta.unsqueeze(1)
    steepness = EquilibriumMatching().steepness(t)
    return (steepness * (1 - t - t * variance)).mean(1) / ((1 - t) ** 2 + t**2 * variance).mean(1)


def _ways() -> Tensor:
    """Midpoints of [0, 1]."""
    return (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000

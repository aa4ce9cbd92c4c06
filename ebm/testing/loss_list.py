"""The list of losses: those of this package that estimate, each with what it is to find.

A new loss is put on it, one line, and inherits the whole contract (`ebm.testing.losses`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ebm.contrastive.annealed_score_matching import AnnealedScoreMatching
from ebm.contrastive.answers import AnswerSet
from ebm.contrastive.conditional_nce import ConditionalNCE
from ebm.contrastive.contrastive_divergence import ContrastiveDivergence
from ebm.contrastive.denoising_score_matching import DenoisingScoreMatching
from ebm.contrastive.empirical_error import EmpiricalErrorLoss
from ebm.contrastive.energy_discrepancy import EnergyDiscrepancy
from ebm.contrastive.energy_matching import EnergyMatching
from ebm.contrastive.equilibrium_matching import EquilibriumMatching
from ebm.contrastive.heated_flow import HeatedFlow
from ebm.contrastive.improved_contrastive_divergence import ImprovedContrastiveDivergence
from ebm.contrastive.info_nce import InfoNCE
from ebm.contrastive.likelihood import MaximumLikelihood
from ebm.contrastive.margin_losses import HingeLoss, LogLoss
from ebm.contrastive.minimum_probability_flow import MinimumProbabilityFlow
from ebm.contrastive.nce import NCE
from ebm.contrastive.persistent_contrastive_divergence import PersistentContrastiveDivergence
from ebm.contrastive.pseudo_likelihood import PseudoLikelihood
from ebm.contrastive.ratio_matching import RatioMatching
from ebm.contrastive.replay_buffer import ReplayBuffer
from ebm.contrastive.score_matching import ScoreMatching
from ebm.contrastive.sliced_score_matching import SlicedScoreMatching
from ebm.contrastive.wgan import WGAN
from ebm.infer.mala import MALA
from ebm.infer.starts import Normal
from ebm.loss import Loss
from ebm.nodes import Grid
from ebm.targets.gaussian import Gaussian
from ebm.testing.examples import randn
from ebm.testing.loss_problem import Blurred, Correlations, Modes, prior
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
        "ContrastiveDivergence": chained(lambda d, y: ContrastiveDivergence(MALA(0.2), 2, variable=y)),
        "DenoisingScoreMatching": LossMember(
            lambda d, y: DenoisingScoreMatching(SCALE, variable=y), expected=lambda t: t / (1 + t * SCALE**2)
        ),
        "EmpiricalErrorLoss": LossMember(lambda d, y: EmpiricalErrorLoss(others(d), variable=y), dims=()),
        "EnergyDiscrepancy": LossMember(
            lambda d, y: EnergyDiscrepancy(SCALE, 128, 0.0, variable=y), rows=800
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
        "ImprovedContrastiveDivergence": chained(
            lambda d, y: ImprovedContrastiveDivergence(0.1, chains(d), 2, neighbors=8, variable=y), free=False
        ),
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
        "MaximumLikelihood of two modes": modes(
            lambda d, y: MaximumLikelihood(grid(d), variable=y), discrete=True
        ),
        "MinimumProbabilityFlow": LossMember(  # its states are hardly ever data where bits are many
            lambda d, y: MinimumProbabilityFlow(variable=y),
            Spins(more=14),
            rows=600,
            dims=(1, 2),
            gap=False,
            free=False,
        ),
        "NCE": LossMember(lambda d, y: NCE(wide(d), 4, variable=y), expected=with_log_z, rows=2000),
        "NCE of two modes": modes(
            lambda d, y: NCE(wide(d, 2.5), 4, variable=y),
            expected=lambda t: torch.cat([t, t.new_tensor([0.5 * math.log(2 * math.pi)])]),
        ),
        "PersistentContrastiveDivergence": chained(
            lambda d, y: PersistentContrastiveDivergence(MALA(0.2), chains(d), 2, variable=y), free=False
        ),
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
        "ScoreMatching of two modes": modes(lambda d, y: ScoreMatching(variable=y)),
        "SlicedScoreMatching": LossMember(lambda d, y: SlicedScoreMatching(False, "gaussian", variable=y)),
        "SlicedScoreMatching, VR": LossMember(lambda d, y: SlicedScoreMatching(True, "sphere", variable=y)),
        "WGAN": LossMember(
            lambda d, y: WGAN(maker(d), Normal(2), 1.0, variable=y, every=1), dims=(), gradient=False
        ),
    }


def chained(make: Callable[[int, str], Loss], free: bool = True) -> LossMember:
    """A loss of chains, whose gradient is that of no value; Gaussians are found in tests of their own."""
    return LossMember(make, dims=(), gradient=False, free=free)


def modes(
    make: Callable[[int, str], Loss],
    expected: Callable[[Tensor], Tensor] = lambda theta: theta,
    discrete: bool = False,
) -> LossMember:
    """A loss that finds where two modes are, and how much of the data is in each."""
    return LossMember(
        make, Modes(), expected=expected, dims=(1,), rows=8000, gap=False, free=False, discrete=discrete
    )


def with_log_z(theta: Tensor) -> Tensor:
    """θ, and log Z = ½ Σ_k log(2π/θ_k), which a loss may learn beside it."""
    return torch.cat([theta, 0.5 * (math.log(2 * math.pi) - theta.log()).sum(0, keepdim=True)])


def chains(dim: int) -> ReplayBuffer:
    """Persistent chains, no fewer than any check has rows; left as they are, for the same answer twice."""
    return ReplayBuffer(Normal(dim), 80, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


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


def wide(dim: int, variance: float = 1.5) -> Gaussian:
    """Noise somewhat wider than the data."""
    return Gaussian(torch.zeros(dim, dtype=torch.float64), variance * torch.eye(dim, dtype=torch.float64))


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

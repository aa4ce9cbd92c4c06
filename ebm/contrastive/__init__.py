"""Contrastive methods: push the energy of the data down and that of other points up; one loss a file."""

from __future__ import annotations

from ebm.contrastive.adversarial import Adversarial
from ebm.contrastive.annealed_score_matching import AnnealedScoreMatching, geometric_levels
from ebm.contrastive.answer_loss import AnswerLoss, Contrast
from ebm.contrastive.answers import AllAnswers, Answers, AnswerSet
from ebm.contrastive.composed import MixtureOfEnergies
from ebm.contrastive.conditional_nce import ConditionalNCE, ConditionalNoise, GaussianSteps
from ebm.contrastive.contrastive_divergence import ContrastiveDivergence
from ebm.contrastive.corruption import (
    BlockMasking,
    BlockSwap,
    Corruption,
    Gaussian,
    Masking,
    SaltAndPepper,
    Shift,
)
from ebm.contrastive.denoising import AutoEncoder, Denoising
from ebm.contrastive.denoising_score_matching import DenoisingScoreMatching
from ebm.contrastive.ebgan import EBGAN, pulling_away
from ebm.contrastive.empirical_error import EmpiricalErrorLoss
from ebm.contrastive.energy_discrepancy import EnergyDiscrepancy
from ebm.contrastive.energy_matching import EnergyMatching
from ebm.contrastive.equilibrium_matching import EquilibriumMatching
from ebm.contrastive.heated_flow import HeatedFlow
from ebm.contrastive.improved_contrastive_divergence import ImprovedContrastiveDivergence
from ebm.contrastive.inferred_latent import InferredLatent, MinimizedLatent, SampledLatent
from ebm.contrastive.info_nce import InfoNCE
from ebm.contrastive.joint_energy_model import ClassifierEnergy, ClassifierFreeEnergy, JEMLoss
from ebm.contrastive.likelihood import MaximumLikelihood
from ebm.contrastive.margin_losses import HingeLoss, LogLoss, LVQ2Loss, MCELoss, PerceptronLoss
from ebm.contrastive.mask_tokens import MaskTokens
from ebm.contrastive.masked_tokens import MaskedTokens
from ebm.contrastive.metric import PairLoss, TripletLoss
from ebm.contrastive.mined_triplets import MinedTripletLoss
from ebm.contrastive.minimum_probability_flow import MinimumProbabilityFlow
from ebm.contrastive.most_offending import MostOffending
from ebm.contrastive.nce import NCE
from ebm.contrastive.persistent_contrastive_divergence import PersistentContrastiveDivergence
from ebm.contrastive.pseudo_likelihood import PseudoLikelihood
from ebm.contrastive.ratio_matching import RatioMatching
from ebm.contrastive.rbm import BernoulliRBM
from ebm.contrastive.replay_buffer import ReplayBuffer
from ebm.contrastive.score_matching import ScoreMatching
from ebm.contrastive.sliced_score_matching import SlicedScoreMatching
from ebm.contrastive.square_losses import SquareExponentialLoss, SquareSquareLoss
from ebm.contrastive.wgan import WGAN

__all__ = [
    "EBGAN",
    "NCE",
    "WGAN",
    "Adversarial",
    "AllAnswers",
    "AnnealedScoreMatching",
    "AnswerLoss",
    "AnswerSet",
    "Answers",
    "AutoEncoder",
    "BernoulliRBM",
    "BlockMasking",
    "BlockSwap",
    "ClassifierEnergy",
    "ClassifierFreeEnergy",
    "ConditionalNCE",
    "ConditionalNoise",
    "Contrast",
    "ContrastiveDivergence",
    "Corruption",
    "Denoising",
    "DenoisingScoreMatching",
    "EmpiricalErrorLoss",
    "EnergyDiscrepancy",
    "EnergyMatching",
    "EquilibriumMatching",
    "Gaussian",
    "GaussianSteps",
    "HeatedFlow",
    "HingeLoss",
    "ImprovedContrastiveDivergence",
    "InferredLatent",
    "InfoNCE",
    "JEMLoss",
    "LVQ2Loss",
    "LogLoss",
    "MCELoss",
    "MaskTokens",
    "MaskedTokens",
    "Masking",
    "MaximumLikelihood",
    "MinedTripletLoss",
    "MinimizedLatent",
    "MinimumProbabilityFlow",
    "MixtureOfEnergies",
    "MostOffending",
    "PairLoss",
    "PerceptronLoss",
    "PersistentContrastiveDivergence",
    "PseudoLikelihood",
    "RatioMatching",
    "ReplayBuffer",
    "SaltAndPepper",
    "SampledLatent",
    "ScoreMatching",
    "Shift",
    "SlicedScoreMatching",
    "SquareExponentialLoss",
    "SquareSquareLoss",
    "TripletLoss",
    "geometric_levels",
    "pulling_away",
]

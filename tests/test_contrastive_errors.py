"""Mistakes with contrastive losses and samplers, each as a newcomer would make it: the error says what to do.

Of every error it is asked that it names what came and what to do instead, and that no number comes out of a
mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy, sample
from ebm.contrastive import (
    EBGAN,
    NCE,
    WGAN,
    AllAnswers,
    AnnealedScoreMatching,
    AnswerSet,
    AutoEncoder,
    BernoulliRBM,
    ClassifierEnergy,
    ConditionalNCE,
    ContrastiveDivergence,
    Denoising,
    DenoisingScoreMatching,
    EmpiricalErrorLoss,
    EnergyDiscrepancy,
    EnergyMatching,
    EquilibriumMatching,
    HingeLoss,
    ImprovedContrastiveDivergence,
    InfoNCE,
    JEMLoss,
    MaskedTokens,
    Masking,
    MaskTokens,
    MaximumLikelihood,
    MinedTripletLoss,
    MinimumProbabilityFlow,
    MixtureOfEnergies,
    MostOffending,
    PairLoss,
    PersistentContrastiveDivergence,
    PseudoLikelihood,
    RatioMatching,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
    SquareSquareLoss,
    TripletLoss,
)
from ebm.contrastive import Gaussian as Blur
from ebm.infer import (
    CEM,
    HMC,
    MALA,
    NUTS,
    BlockGibbs,
    Gibbs,
    GibbsWithGradients,
    GradientDescent,
    Langevin,
    ParallelTempering,
    annealed_langevin,
    log_partition,
    svgd,
    warm_up,
)
from ebm.infer.starts import Normal
from ebm.nodes import AllChoices, Grid
from ebm.signature import FaultyDataError
from ebm.targets import Gaussian, Ising
from ebm.train import DivergedError, fit


class Bowl(Energy):
    """E(y) = ½ Σ w y²."""

    def __init__(self, curvature: float = 1.0):
        super().__init__()
        self.w = nn.Parameter(torch.full((2,), curvature))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (self.w * y**2).sum(1)


class Conditional(Energy):
    """E(x, y) = ½ |y - x|²."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (y - x).square().sum(1)


class Scores(nn.Module):
    """The same score for each of four symbols."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, 4)


@energy
def slope(y: Tensor) -> Tensor:
    """Below 0 on the left."""
    return y[:, 0]


BOWL, PAIRS, NOISE = Bowl(), Conditional(), Gaussian(torch.zeros(2))
Y = torch.linspace(-1, 1, 12).view(6, 2)
BITS, WHOLE, LABELS = (Y > 0).float(), (Y > 0).long(), torch.tensor([0, 1, 2, 0, 1, 2])
SPOILT = Y.index_fill(0, torch.tensor([3]), torch.nan)
CLASSIFIER = ClassifierEnergy(nn.Linear(2, 3))
AUTO = AutoEncoder(nn.Linear(2, 2))
TOKENS = MaskedTokens(Scores(), mask=3)
MAKER = nn.Linear(3, 2)
learn = partial(fit, optimizer=partial(torch.optim.SGD, lr=0.1), steps=2, batch_size=6, progress=False)
CD = ContrastiveDivergence


def chains(*shape: int, capacity: int = 50) -> ReplayBuffer:
    return ReplayBuffer(Normal(*shape), capacity)


def lower() -> nn.Module:
    """Whatever the noise, the point (-1, -1)."""
    network = nn.Linear(3, 2)
    nn.init.zeros_(network.weight)
    nn.init.constant_(network.bias, -1.0)
    return network


def draw(method: Any, start: Any = Y, of: Energy = BOWL, **settings: Any) -> object:
    return sample(of, start, method, **{"num_samples": 2, **settings})


def ais(of: Any = BOWL, base: Any = NOISE, method: Any = None, **settings: Any) -> object:
    return log_partition(of, base, method or MALA(0.1), **{"betas": 3, "chains": 4, **settings})


# what is done; the kind of error; words that it must hold: what came, what to do
MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], tuple[str, ...]]] = {
    # settings
    "no steps": (lambda: CD(Langevin(0.1), 0), ValueError, ("steps", "at least 1", "got 0")),
    "a sampler's class": (lambda: CD(Langevin), TypeError, ("Langevin(0.01)", "class")),
    "a function for a sampler": (lambda: CD(svgd), TypeError, ("sampler", "svgd")),
    "an empty buffer": (lambda: chains(2, capacity=0), ValueError, ("capacity", "at least 1")),
    "a list for a buffer": (
        lambda: PersistentContrastiveDivergence(Langevin(0.1), [Y]),
        TypeError,
        ("ReplayBuffer",),
    ),
    "several scales": (
        lambda: DenoisingScoreMatching(torch.tensor([0.1, 0.2])),
        TypeError,
        ("scale is one number", "(2,)"),
    ),
    "no scale": (lambda: DenoisingScoreMatching(0.0), ValueError, ("scale", "positive", "0.0")),
    "an unknown trace": (
        lambda: ScoreMatching("hutchinson"),
        ValueError,
        ("exact, rademacher", "hutchinson"),
    ),
    "unknown directions": (
        lambda: SlicedScoreMatching(directions="unit"),
        ValueError,
        ("rademacher, gaussian, sphere", "unit"),
    ),
    "an unknown pairing": (lambda: EnergyMatching(pairing="ot"), ValueError, ("optimal, independent", "ot")),
    "no flow": (lambda: EnergyMatching(flow=3), TypeError, ("HeatedFlow", "3")),
    "an unknown mining": (lambda: MinedTripletLoss(mining="soft"), ValueError, ("semi-hard", "soft")),
    "levels that are none": (lambda: AnnealedScoreMatching([]), ValueError, ("one at least",)),
    "a number of answers that is none": (lambda: AllAnswers(2.5), ValueError, ("whole number", "2.5")),
    "answers in a list": (lambda: AnswerSet([[1.0]]), TypeError, ("tensor", "list")),
    "answers that are not all": (
        lambda: EmpiricalErrorLoss(MostOffending(CEM(20, 4), Normal(2), 0.1)),
        TypeError,
        ("all answers", "AllAnswers(n)"),
    ),
    "a number for a corruption": (lambda: Denoising(0.1), TypeError, ("Gaussian(0.3)", "0.1")),
    "a function for a network": (lambda: WGAN(lambda e: e, Normal(3)), TypeError, ("Normal(8)", "network")),
    "a name for names": (
        lambda: EBGAN(MAKER, Normal(3), 1.0, reads="label"),
        TypeError,
        ("reads=['label']",),
    ),
    "two energies for a list": (lambda: MixtureOfEnergies(BOWL, BOWL), TypeError, ("[E_1, E_2]",)),
    # noise without a density
    "noise without log Z": (lambda: NCE(BOWL), TypeError, ("log Z of Bowl is not known", "noise_log_z")),
    "noise without draws": (lambda: NCE(BOWL, noise_log_z=0.0), TypeError, ("exact_samples", "Gaussian")),
    "noise of torch": (
        lambda: NCE(torch.distributions.Normal(0, 1)),
        TypeError,
        ("ebm.targets.Gaussian", "Normal(loc"),
    ),
    "noise of another size": (
        lambda: NCE(Gaussian(torch.zeros(3)))(BOWL, y=Y),
        ValueError,
        ("(3,)", "(2,)", "as many entries"),
    ),
    "noise of fewer digits": (
        lambda: NCE(NOISE)(Bowl().double(), y=Y.double()),
        TypeError,
        ("float32", "loss.to(torch.float64)"),
    ),
    "a scale of another size": (
        lambda: ConditionalNCE(torch.ones(3))(BOWL, y=Y),
        ValueError,
        ("(2,)", "(3,)"),
    ),
    "a scale for each row": (
        lambda: ConditionalNCE(torch.ones(6, 1))(BOWL, y=Y),
        ValueError,
        ("one for each entry of a row", "(6, 1)"),
    ),
    # discrete and continuous
    "whole numbers for small steps": (
        lambda: CD(MALA(0.1))(BOWL, y=WHOLE),
        TypeError,
        ("int64", "pseudo-likelihood", "y.float()"),
    ),
    "whole numbers for slopes": (lambda: learn(Bowl(), ScoreMatching(), WHOLE), TypeError, ("y.float()",)),
    "whole numbers beside real noise": (lambda: NCE(NOISE)(BOWL, y=WHOLE), TypeError, ("int64", "Ising")),
    "whole numbers on a grid": (
        lambda: MaximumLikelihood(Grid([-3, -3], [3, 3], 9))(BOWL, y=WHOLE),
        TypeError,
        ("discrete", "AllChoices"),
    ),
    "whole numbers, spoilt": (lambda: Denoising(Blur(0.1))(AUTO, y=WHOLE), TypeError, ("MaskTokens",)),
    "whole numbers, hidden": (lambda: Masking(0.5)(WHOLE), TypeError, ("int64", "y.float()")),
    "real numbers for flips": (
        lambda: PseudoLikelihood()(BOWL, y=Y),
        ValueError,
        ("zeros and ones", "row 0", "score matching"),
    ),
    "real numbers for ratios": (lambda: RatioMatching()(BOWL, y=Y), ValueError, ("zeros and ones", "row 0")),
    "real numbers for a flow": (
        lambda: MinimumProbabilityFlow()(BOWL, y=Y),
        ValueError,
        ("zeros and ones", "row 0"),
    ),
    "real numbers for Gibbs": (lambda: CD(Gibbs())(BOWL, y=Y), ValueError, ("zeros and ones", "Langevin")),
    "real numbers for choices": (
        lambda: MaximumLikelihood(AllChoices(3, 2))(BOWL, y=Y),
        ValueError,
        ("[0, 3)", "rows", "outside"),
    ),
    "real numbers for answers": (
        lambda: HingeLoss(AllAnswers(3))(CLASSIFIER, x=Y, y=LABELS.float()),
        TypeError,
        ("float32", "y.long()"),
    ),
    "a choice for real answers": (
        lambda: HingeLoss(AnswerSet(Y))(BOWL, y=WHOLE),
        TypeError,
        ("discrete", "AllAnswers(n)"),
    ),
    "truth values": (lambda: PseudoLikelihood()(BOWL, y=Y > 0), TypeError, ("bool", ".float()")),
    "bits as one-hot": (
        lambda: PseudoLikelihood(one_hot=True)(BOWL, y=BITS),
        ValueError,
        ("one_hot(index, K)", "row 0"),
    ),
    "tokens that are real": (lambda: MaskTokens(4)(Y), ValueError, ("[0, 4)", "float32")),
    # labels out of range
    "labels that count from 1": (
        lambda: learn(ClassifierEnergy(nn.Linear(2, 3)), HingeLoss(AllAnswers(3)), {"x": Y, "y": LABELS + 1}),
        ValueError,
        ("[0, 3)", "row", "Count from 0"),
    ),
    "labels beyond the nodes": (
        lambda: MaximumLikelihood(AllChoices(3))(energy(lambda y: (y - 1.0) ** 2), y=LABELS + 5),
        ValueError,
        ("[0, 3)", "6 of 6", "holds 5"),
    ),
    "labels beyond the logits": (
        lambda: JEMLoss(CD(MALA(0.1), variable="x"))(CLASSIFIER, x=Y, y=LABELS + 1),
        ValueError,
        ("[0, 3)", "1 to 3"),
    ),
    "labels of another kind": (
        lambda: JEMLoss(CD(MALA(0.1), variable="x"))(CLASSIFIER, x=Y, y=LABELS.int()),
        TypeError,
        ("int64", "y.long()"),
    ),
    "points beyond a grid": (
        lambda: MaximumLikelihood(Grid([-3, -3], [3, 3], 9))(BOWL, y=Y + 3),
        ValueError,
        ("its box", "of 6 rows"),
    ),
    "tokens beyond the scores": (lambda: TOKENS(y=torch.tensor([[0, 7]])), ValueError, ("[0, 4)", "0 to 7")),
    "one-hot tokens of another size": (
        lambda: TOKENS(y=torch.zeros(2, 3, 5)),
        ValueError,
        ("(2, 3, 4)", "(2, 3, 5)"),
    ),
    # shapes, precision, numbers
    "a batch of nothing": (lambda: ScoreMatching()(BOWL, y=Y[:0]), ValueError, ("0 rows", "at least one")),
    "data of nothing": (lambda: learn(Bowl(), ScoreMatching(), Y[:0]), ValueError, ("at least one",)),
    "a list for data": (
        lambda: ScoreMatching()(BOWL, y=[[1.0, 2.0]]),
        TypeError,
        ("list", "torch.as_tensor"),
    ),
    "an array to fit": (
        lambda: learn(Bowl(), ScoreMatching(), Y.numpy()),
        TypeError,
        ("ndarray", "as_tensor"),
    ),
    "NaN": (
        lambda: ScoreMatching()(BOWL, y=SPOILT),
        FaultyDataError,
        ("NaN", "1 of 6 rows, [3]", "isfinite"),
    ),
    "NaN below chains": (lambda: CD(MALA(0.1))(BOWL, y=SPOILT), FaultyDataError, ("NaN", "[3]")),
    "NaN in a training": (
        lambda: learn(Bowl(), EnergyDiscrepancy(0.1), SPOILT),
        DivergedError,
        ("nan", "rows"),
    ),
    "another precision": (
        lambda: learn(AUTO, EquilibriumMatching(), Y.double()),
        TypeError,
        ("float64", "float32", "energy.to"),
    ),
    "another place": (
        lambda: ScoreMatching()(BOWL, y=Y.to("meta")),
        ValueError,
        ("on meta", "on cpu", "move one"),
    ),
    "a network of another precision": (
        lambda: WGAN(MAKER, Normal(3))(Bowl().double(), y=Y.double()),
        TypeError,
        ("loss.to(torch.float64)",),
    ),
    "energies that are not one a row": (
        lambda: ScoreMatching()(energy(lambda y: y.sum(1, keepdim=True)), y=Y),
        ValueError,
        ("(6, 1)", "flatten(1).sum(1)"),
    ),
    "a batch larger than the buffer": (
        lambda: PersistentContrastiveDivergence(Langevin(0.1), chains(2, capacity=4))(BOWL, y=Y),
        ValueError,
        ("holds 4", "6 were asked for", "capacity"),
    ),
    "a buffer of another shape": (
        lambda: PersistentContrastiveDivergence(Langevin(0.1), chains(3))(BOWL, y=Y),
        ValueError,
        ("(2,)", "(3,)", "start"),
    ),
    "states of another shape": (
        lambda: MinimumProbabilityFlow(states=torch.ones(4, 3))(BOWL, y=BITS),
        ValueError,
        ("3 bits", "same shape"),
    ),
    "more sites than there are": (
        lambda: PseudoLikelihood(5)(BOWL, y=BITS),
        ValueError,
        ("2 sites", "leave"),
    ),
    "a machine of another size": (
        lambda: PseudoLikelihood()(BernoulliRBM(3, 2).free_energy, y=BITS),
        ValueError,
        ("3 bits y", "(6, 2)"),
    ),
    "a negative that is stretched": (
        lambda: TripletLoss()(PAIRS, x=Y, y=Y, negative=Y[:, :1]),
        ValueError,
        ("shaped alike", "(6, 1)"),
    ),
    "labels in a column": (
        lambda: MinedTripletLoss()(PAIRS, x=Y, y=Y, label=LABELS[:, None]),
        ValueError,
        ("one label a row", "(6, 1)"),
    ),
    "similar in a list": (
        lambda: PairLoss()(PAIRS, x=Y, y=Y, similar=[True] * 6),
        TypeError,
        ("boolean", "list"),
    ),
    "similar as numbers": (
        lambda: PairLoss()(PAIRS, x=Y, y=Y, similar=LABELS),
        TypeError,
        ("boolean", "int64"),
    ),
    "points of another shape": (
        lambda: EBGAN(nn.Linear(3, 4), Normal(3), 1.0)(AUTO, y=Y),
        ValueError,
        ("(6, 4)", "as many outputs"),
    ),
    "an energy below 0": (
        lambda: SquareSquareLoss(AllAnswers(3))(energy(lambda y: y - 5.0), y=LABELS),
        ValueError,
        ("never below 0", "row 0", "HingeLoss"),
    ),
    "an energy below 0 where points are made": (
        lambda: EBGAN(lower(), Normal(3), 1.0)(slope, y=Y + 50),
        ValueError,
        ("made points", "never below 0"),
    ),
    "pieces that are flat": (
        lambda: ScoreMatching()(energy(lambda y: torch.relu(y + 2).sum(1)), y=Y),
        ValueError,
        ("no curvature", "SiLU"),
    ),
    # names
    "no data": (lambda: CD(MALA(0.1))(BOWL), TypeError, ("'y' is missing",)),
    "data without a name": (lambda: ScoreMatching()(BOWL, Y), TypeError, ("'y' is missing",)),
    "an unknown name": (lambda: ScoreMatching()(BOWL, y=Y, foo=Y), TypeError, ("no 'foo'",)),
    "an unknown name to fit": (
        lambda: learn(Bowl(), ScoreMatching(), {"y": Y, "foo": Y}),
        TypeError,
        ("no 'foo'",),
    ),
    "half of a pair": (lambda: InfoNCE()(PAIRS, y=Y), TypeError, ("'x' is missing",)),
    "a pair of one": (lambda: InfoNCE()(BOWL, y=Y), TypeError, ("no other", "NCE")),
    "triplets of one": (
        lambda: MinedTripletLoss()(BOWL, y=Y, label=LABELS),
        TypeError,
        ("no other", "E(x, y)"),
    ),
    "a single row": (lambda: InfoNCE()(PAIRS, x=Y[:1], y=Y[:1]), ValueError, ("2 rows or more",)),
    "the wrong variable": (
        lambda: JEMLoss(CD(MALA(0.1)))(CLASSIFIER, x=Y, y=LABELS),
        TypeError,
        ("variable='x'",),
    ),
    "no level": (
        lambda: AnnealedScoreMatching([1.0])(BOWL, y=Y),
        TypeError,
        ("'sigma'", "DenoisingScoreMatching"),
    ),
    "no option seen": (lambda: Denoising(Masking(0.1))(BOWL, y=Y), TypeError, ("`seen`", "AutoEncoder")),
    "no question": (
        lambda: EBGAN(MAKER, Normal(3), 1.0, reads=["x"])(AUTO, y=Y),
        TypeError,
        ("reads x", "missing"),
    ),
    "no negative": (lambda: TripletLoss()(PAIRS, x=Y, y=Y), TypeError, ("`negative`", "got x, y")),
    "no log Z": (lambda: MaximumLikelihood()(BOWL, y=Y), TypeError, ("log_z", "Grid", "ScoreMatching")),
    "a loss's class": (lambda: learn(Bowl(), ScoreMatching, Y), TypeError, ("AverageEnergy()",)),
    "nothing to learn": (lambda: learn(PAIRS, InfoNCE(), {"x": Y, "y": Y}), ValueError, ("no", "parameter")),
    # samplers
    "whole numbers to move": (lambda: draw(MALA(0.1), WHOLE), TypeError, ("int64", "Choices")),
    "real numbers to redraw": (lambda: draw(Gibbs()), ValueError, ("zeros and ones", "Langevin")),
    "bits that interact": (
        lambda: draw(BlockGibbs(), BITS, energy(lambda y: y[:, 0] * y[:, 1])),
        ValueError,
        ("not affine", "Gibbs()"),
    ),
    "blocks in a list": (lambda: BlockGibbs([0, 1]), TypeError, ("tensor", "list")),
    "colors in a list": (lambda: Gibbs(colors=[0, 1]), TypeError, ("tensor", "list")),
    "an unknown scan": (lambda: Gibbs("chess"), ValueError, ("systematic, random", "chess")),
    "sites that are not one-hot": (
        lambda: draw(GibbsWithGradients(one_hot=True), BITS),
        ValueError,
        ("one-hot", "row 0"),
    ),
    "no chains": (lambda: draw(NUTS(0.1), Y[:0]), ValueError, ("0 rows",)),
    "no draws": (lambda: draw(HMC(0.1, 2), num_samples=0), ValueError, ("num_samples", "got 0")),
    "a minimizer": (lambda: draw(GradientDescent(0.1)), TypeError, ("Langevin(0.01)",)),
    "a mass of another size": (lambda: draw(MALA(0.1, torch.ones(3))), ValueError, ("(2,)", "(3,)")),
    "a step for other chains": (lambda: draw(MALA(torch.ones(3))), ValueError, ("(6,)", "(3,)")),
    "temperatures without a test": (
        lambda: ParallelTempering(Langevin(0.1), [1.0, 0.5]),
        TypeError,
        ("with a test", "MALA(0.1)"),
    ),
    "temperatures in disorder": (
        lambda: ParallelTempering(MALA(0.1), [0.5, 1.0]),
        ValueError,
        ("begin with 1 and fall",),
    ),
    "a warm-up from NaN": (
        lambda: warm_up(BOWL, SPOILT, MALA(0.1), steps=60),
        ValueError,
        ("1 of 6 chains", "[3]"),
    ),
    "a warm-up without a test": (lambda: warm_up(BOWL, Y, Langevin(0.1)), TypeError, ("MALA(0.1)",)),
    "levels in a mapping": (
        lambda: annealed_langevin(PAIRS, {"y": Y}, [1.0], step_size=0.1),
        TypeError,
        ("one free variable", "dict"),
    ),
    "particles in a list": (
        lambda: svgd(BOWL, [Y], step_size=0.1, steps=1),
        TypeError,
        ("(N, B, *shape)", "list"),
    ),
    "particles in a heap": (
        lambda: svgd(BOWL, torch.zeros(5, 1, 2), step_size=0.1, steps=1),
        ValueError,
        ("one place", "torch.randn"),
    ),
    "particles of NaN": (
        lambda: svgd(BOWL, SPOILT[:, None], step_size=0.1, steps=1),
        ValueError,
        ("NaN", "[0]"),
    ),
    "no particles": (
        lambda: svgd(BOWL, torch.zeros(0, 1, 2), step_size=0.1, steps=1),
        ValueError,
        ("0 particles",),
    ),
    "a beta for each row of particles": (
        lambda: svgd(BOWL, Y.view(3, 2, 2), step_size=0.1, steps=1, beta=torch.ones(2)),
        TypeError,
        ("beta is one number",),
    ),
    "a base that is not known": (lambda: ais(base=BOWL), TypeError, ("log_z", "ebm.targets.Gaussian")),
    "steps that are not exact": (lambda: ais(method=Langevin(0.1)), TypeError, ("with a test", "MALA(0.1)")),
    "exact draws of another size": (lambda: ais(exact=torch.ones(5, 3)), ValueError, ("(5, 3)", "(2,)")),
    "exact draws of NaN": (lambda: ais(exact=SPOILT), ValueError, ("NaN", "[3]")),
    "log Z of a number": (lambda: ais(3), TypeError, ("energy", "3")),
    "bits for a bridge of real numbers": (lambda: ais(method=Gibbs()), ValueError, ("zeros and ones",)),
    "real steps on a bridge of bits": (
        lambda: ais(BernoulliRBM(2, 1).free_energy, Ising(torch.zeros(2, 2)), GibbsWithGradients(True)),
        ValueError,
        ("one-hot",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_that_teaches(mistake: str) -> None:
    act, kind, words = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind  # none of torch's own, which are RuntimeErrors
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "loss",
    [
        CD(Langevin(1e30), 3),
        PersistentContrastiveDivergence(Langevin(1e30), chains(2), 3),
        ImprovedContrastiveDivergence(1e30, chains(2, capacity=120), 1),
        ImprovedContrastiveDivergence(1e30, chains(2, capacity=120), 3),
    ],
    ids=["CD", "PCD", "improved, one step", "improved"],
)
@pytest.mark.filterwarnings("ignore:Langevin")
def test_a_sampler_that_leaves_the_support_is_told_and_spoils_no_buffer(loss: ContrastiveDivergence) -> None:
    with pytest.raises(ValueError, match="smaller step_size"):
        loss(Bowl(1e30), y=Y + 1)
    if isinstance(loss, PersistentContrastiveDivergence):
        assert bool(loss.buffer.points.isfinite().all())


def test_what_is_no_mistake_is_taken() -> None:
    """The checks refuse nothing that has an answer: bits at the ends of a grid, noise of more digits."""
    ends = torch.tensor([[-3.0, 3.0], [3.0, -3.0]])
    assert MaximumLikelihood(Grid([-3, -3], [3, 3], 9))(BOWL, y=ends).loss.isfinite()
    assert MaximumLikelihood(AllChoices(2, 2, normalized=False))(BOWL, y=BITS).loss.isfinite()
    assert NCE(Gaussian(torch.zeros(2, dtype=torch.float64)))(BOWL, y=Y).loss.dtype == torch.float32
    assert ConditionalNCE(torch.tensor([0.1, 0.2]))(BOWL, y=Y).loss.isfinite()
    assert AllChoices(3, 2).outside(torch.tensor([[0, 2], [0, 3], [-1, 0]])).tolist() == [False, True, True]
    assert NCE(NOISE)(BOWL, y=Y.t().contiguous().t()).loss.isfinite()


@pytest.mark.parametrize(
    "sampler",
    [Gibbs(), GibbsWithGradients(), BlockGibbs(torch.tensor([0, 1]))],
    ids=lambda sampler: type(sampler).__name__,
)
def test_chains_of_bits_that_came_as_whole_numbers_say_how_to_convert_them(sampler):
    spins = energy(lambda y: (y[:, 0] * y[:, 1]).float())
    with pytest.raises(TypeError, match=r"holds torch.int64; convert it, y.float\(\)"):
        ContrastiveDivergence(sampler, 2)(spins, y=torch.tensor([[0, 1], [1, 1]]))


@pytest.mark.parametrize(
    "loss",
    [ContrastiveDivergence(Langevin(0.1), 2), DenoisingScoreMatching(0.1), SlicedScoreMatching()],
    ids=lambda loss: type(loss).__name__,
)
def test_a_seed_in_place_of_a_generator_is_told_what_is_one(loss):
    with pytest.raises(TypeError, match=r"torch.Generator\(\).manual_seed\(0\); got 7"):
        loss(energy(lambda y: (y**2).sum(1)), 7, y=torch.randn(4, 2))

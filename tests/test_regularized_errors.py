"""Mistakes with regularized models are told: what was expected, what came, what to do; and what is none.

Each row: what is done, how, and a part of the message. Energies of NaN rows are NaN and no error: a row says
nothing of its neighbors; the fits and the exact inferences name such rows instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm.regularized import (
    ELBO,
    LISTA,
    PCA,
    VAE,
    VQVAE,
    BernoulliLikelihood,
    Categorical,
    CategoricalEmission,
    CategoricalVAE,
    DeadReconstruction,
    DiagonalGaussian,
    FastICA,
    FiniteScalarQuantization,
    Flow,
    GateReconstruction,
    GaussianEmission,
    GaussianLikelihood,
    GaussianMixture,
    HiddenMarkov,
    KMeans,
    LatentPredictor,
    MixtureRegression,
    NoisyAutoEncoder,
    ProbabilisticPCA,
    QuantizedLoss,
    ResidualQuantization,
    Revive,
    SaturatingAutoEncoder,
    SparseAutoEncoder,
    SparseCoding,
    SquareICA,
    StateSpace,
    VectorQuantization,
    WithLatent,
    categorical_free_energy,
    gaussian_free_energy,
)
from ebm.regularized.saturating import Rectifier, Shrink
from ebm.regularized.sparse_activations import BatchTopK, Gated, JumpReLU, Rectified, TopK

NAN, ERRORS = float("nan"), (ValueError, TypeError)
Row = tuple[str, Callable[[], Any], str]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs).double()


Y = draw(20, 3)
SPOILED = Y.index_put((torch.tensor([4]), torch.tensor([1])), torch.tensor(NAN, dtype=torch.float64))
BOUNDLESS = Y.index_put((torch.tensor([7]), torch.tensor([0])), torch.tensor(torch.inf, dtype=torch.float64))
CONSTANT = Y.index_fill(1, torch.tensor([1]), 2.0)
EYE, ZEROS = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
WHOLE, LONG, NONE = torch.ones(20, 3, dtype=torch.int64), draw(20, 4), torch.empty(0, 3, dtype=torch.float64)
HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)
S, X, MEANS = draw(4, 6, 3), draw(20, 2), draw(2, 3)


def numbers(n: int, rows: int = 20) -> Tensor:
    return torch.full((rows,), n)


class Shift(nn.Module):
    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return x + z


def mixture(y: Tensor = Y, **settings: Any) -> GaussianMixture:
    return GaussianMixture.from_data(y, 2, generator=seeded(), **settings)


def k_means() -> KMeans:
    return KMeans(draw(3, 3, seed=1))


def regression(x: Tensor = X, y: Tensor = Y) -> MixtureRegression:
    return MixtureRegression.from_data(x, y, 2, generator=seeded())


def sparse(activation: Any = None) -> SparseAutoEncoder:
    return SparseAutoEncoder(draw(5, 3, seed=2), TopK(2) if activation is None else activation).eval()


def codebook(rows: int = 4) -> VectorQuantization:
    return VectorQuantization(draw(rows, 3, seed=3))


def stages() -> ResidualQuantization:
    return ResidualQuantization([codebook(), codebook()])


def grid() -> FiniteScalarQuantization:
    return FiniteScalarQuantization((3, 3, 2)).double()


def quantized() -> VQVAE:
    return VQVAE(linear(3, 3), linear(3, 3), codebook())


def vae(outputs: int = 3) -> VAE:
    return VAE(linear(3, 4), linear(2, outputs), 2)


def categorical() -> CategoricalVAE:
    return CategoricalVAE(linear(3, 4), linear(4, 3), 4)


def noisy(code: int = 2, outputs: int = 3, **settings: Any) -> NoisyAutoEncoder:
    return NoisyAutoEncoder(linear(3, code), linear(2, outputs), **{"size": 2, "noise": 0.1, **settings})


def hidden(emission: nn.Module | None = None) -> HiddenMarkov:
    two = torch.zeros(2, dtype=torch.float64)
    seen = GaussianEmission(draw(2, 3, seed=5)) if emission is None else emission
    return HiddenMarkov(two, torch.zeros(2, 2, dtype=torch.float64), seen)


def words() -> HiddenMarkov:
    return hidden(CategoricalEmission(draw(2, 5, seed=5)))


def space(emission_noise: Tensor = EYE, transition: Tensor = EYE[:2, :2]) -> StateSpace:
    two = EYE[:2, :2]
    return StateSpace(transition, draw(3, 2), two, emission_noise, ZEROS[:2], two)


def gaussian(weights: Tensor = HALF, means: Tensor = MEANS, spread: Tensor | None = None) -> GaussianMixture:
    return GaussianMixture(weights, means, EYE.expand(2, 3, 3) if spread is None else spread)


FITTED: dict[str, Callable[[Tensor], Any]] = {
    "KMeans": lambda y: k_means().fit(y),
    "PCA": lambda y: PCA(EYE[:2], ZEROS).fit(y),
    "ProbabilisticPCA": lambda y: ProbabilisticPCA(draw(1, 3), ZEROS, 1.0).fit(y),
    "GaussianMixture": lambda y: gaussian().fit(y),
    "SquareICA": lambda y: SquareICA(EYE).fit(y),
    "FastICA": lambda y: FastICA.fit(y),
    "KMeans.from_data": lambda y: KMeans.from_data(y, 2),
    "PCA.from_data": lambda y: PCA.from_data(y, 2),
    "ProbabilisticPCA.from_data": lambda y: ProbabilisticPCA.from_data(y, 1),
    "GaussianMixture.from_data": lambda y: mixture(y),
    "SquareICA.from_data": SquareICA.from_data,
    "Flow.from_data": lambda y: Flow.from_data(y, couplings=1),
    "SparseCoding.from_data": lambda y: SparseCoding.from_data(y, 2),
    "SparseCoding": lambda y: SparseCoding(draw(4, 3)).fit(y, progress=False),
    "SparseAutoEncoder.from_data": lambda y: SparseAutoEncoder.from_data(y, 2, TopK(1)),
    "SparseAutoEncoder.latents": lambda y: sparse().latents(y),
    "MixtureRegression.from_data": lambda y: regression(y=y),
    "VectorQuantization.from_data": lambda y: VectorQuantization.from_data(y, 2),
    "ResidualQuantization.from_data": lambda y: ResidualQuantization.from_data(y, 2, 2),
}
WIDE_ENOUGH = ("from_data", "FastICA")  # which take data of any width
POOLED = ("VectorQuantization.from_data", "ResidualQuantization.from_data")  # vectors of any shape before D

DATA: list[Row] = [
    row
    for name, fit in FITTED.items()
    for row in (
        (f"{name}: NaN", lambda fit=fit: fit(SPOILED), r"NaN or infinity in 1 .*\[\d\]"),
        (f"{name}: infinity", lambda fit=fit: fit(BOUNDLESS), r"NaN or infinity in 1 .*\[\d\]"),
        (f"{name}: integers", lambda fit=fit: fit(WHOLE), r"floating point numbers; got torch\.int64"),
        (f"{name}: a list", lambda fit=fit: fit([[1.0, 2.0]]), "floating point numbers; got list"),
        (f"{name}: one row as a vector", lambda fit=fit: fit(Y[0]), r"got (shape )?\(|\(N, D\)"),
        (f"{name}: no row", lambda fit=fit: fit(NONE), r"there are 0|need|\(0, 3\)"),
    )
] + [
    (f"{name}: too wide", lambda fit=fit: fit(LONG), r"3\).*got (shape|y of shape) \(20, 4\)")
    for name, fit in FITTED.items()
    if not name.endswith(WIDE_ENOUGH)
]

INFERRED: dict[str, Callable[[Tensor], Any]] = {
    "KMeans": lambda y: k_means().infer(y),
    "PCA": lambda y: PCA(EYE[:2], ZEROS).infer(y),
    "ProbabilisticPCA": lambda y: ProbabilisticPCA(draw(1, 3), ZEROS, 1.0).infer(y),
    "GaussianMixture": lambda y: gaussian().infer(y),
    "VectorQuantization": lambda y: codebook().infer(y),
    "ResidualQuantization": lambda y: stages().infer(y),
    "FiniteScalarQuantization": lambda y: grid().infer(y),
    "VQVAE": lambda y: quantized().infer(y),
}
ROWS: list[Row] = [
    (f"{name}.infer: NaN", lambda infer=infer: infer(SPOILED), r"(NaN|distance).*\[?4?\]?")
    for name, infer in INFERRED.items()
]

CODES: list[Row] = [
    (
        f"{name}: code {z}",
        lambda make=make, z=z: make().decode(torch.tensor([0, z])),
        rf"\[?0, |got z from .*{z}|to {z}",
    )
    for name, make in {
        "KMeans": k_means,
        "GaussianMixture": gaussian,
        "VectorQuantization": codebook,
        "FiniteScalarQuantization": grid,
        "VQVAE": quantized,
        "CategoricalVAE": categorical,
    }.items()
    for z in (99, -1)
] + [
    (
        "KMeans: energy of no center",
        lambda: k_means()(y=Y, z=numbers(3)),
        "3 centers, numbered from 0; got z from 3",
    ),
    ("KMeans: float codes", lambda: k_means().decode(ZEROS), r"\(B,\) int64; got torch\.float64"),
    (
        "GaussianMixture: energy",
        lambda: gaussian()(y=Y, z=numbers(-1)),
        "2 components, numbered from 0; got z from -1",
    ),
    ("CategoricalVAE: energy", lambda: categorical()(y=Y, z=numbers(4)), "4 categories, numbered from 0"),
    ("CategoricalVAE: float codes", lambda: categorical()(y=Y, z=draw(20)), "int64; got torch.float64"),
    (
        "MixtureRegression: energy",
        lambda: regression()(x=X, y=Y, z=numbers(2)),
        "2 answers, numbered from 0",
    ),
    (
        "MixtureRegression: float z",
        lambda: regression()(x=X, y=Y, z=draw(20)),
        "int64; got torch.float64",
    ),
    (
        "HiddenMarkov: energy",
        lambda: hidden()(y=S, z=torch.full((4, 6), 2)),
        "2 hidden values, numbered from 0",
    ),
    (
        "HiddenMarkov: a short way",
        lambda: hidden()(y=S, z=torch.zeros(4, 5).long()),
        r"z is \(4, 6\).*got.*\(4, 5\)",
    ),
    (
        "words beyond V",
        lambda: words().infer(torch.full((2, 3), 5)),
        "5 words, numbered from 0; got z from 5",
    ),
    (
        "words below 0",
        lambda: words().free_energy(y=torch.full((2, 3), -1)),
        "5 words, numbered from 0; got z from -1",
    ),
    ("words that are none", lambda: words().infer(S[:, :, 0]), "y is .* int64, words"),
    ("VectorQuantization: short z", lambda: codebook()(h=Y, z=numbers(0, 19)), "19"),
    (
        "VectorQuantization: learning",
        lambda: codebook().learning_cost(Y, numbers(0, 19)),
        r"belongs z \(20,\); got \(19,\)",
    ),
    (
        "VectorQuantization: estimate",
        lambda: codebook().estimate(Y, numbers(0, 19)),
        r"belongs z \(20,\); got \(19,\)",
    ),
    (
        "VectorQuantization: update",
        lambda: codebook().update(Y, numbers(0, 19)),
        r"belongs z \(20,\); got \(19,\)",
    ),
    (
        "VectorQuantization: NaN update",
        lambda: codebook().update(SPOILED, numbers(0)),
        r"NaN or infinity in 1 rows, \[4\]",
    ),
    (
        "VectorQuantization: usage",
        lambda: codebook().usage(torch.tensor([4])),
        r"codes lie in \[0, 4\); got 4 to 4",
    ),
    (
        "ResidualQuantization: stages",
        lambda: stages().decode(torch.zeros(4, 3).long()),
        r"there are 2 stages",
    ),
    (
        "ResidualQuantization: no stages",
        lambda: stages()(h=Y, z=numbers(0)),
        r"belongs z \(20, 2\); got \(20,\)",
    ),
    ("FiniteScalarQuantization: points", lambda: grid().number(torch.full((2, 3), 9)), "2 lie outside"),
]

WIDTHS: list[Row] = [
    ("PCA.decode", lambda: PCA(EYE[:2], ZEROS).decode(draw(4, 9)), r"z must be \(B, 2\); got shape \(4, 9\)"),
    ("PCA.encode", lambda: PCA(EYE[:2], ZEROS).encode(LONG), r"y must be \(B, 3\); got shape \(20, 4\)"),
    ("PCA energy", lambda: PCA(EYE[:2], ZEROS)(y=Y, z=draw(20, 9)), r"z must be \(B, 2\)"),
    (
        "ProbabilisticPCA.decode",
        lambda: ProbabilisticPCA(draw(1, 3), ZEROS, 1.0).decode(draw(9)),
        r"z must be \(B, 1\)",
    ),
    ("FastICA.encode", lambda: FastICA(ZEROS, EYE, EYE, 1, True).encode(LONG), r"y must be \(B, 3\)"),
    ("FastICA.decode", lambda: FastICA(ZEROS, EYE, EYE, 1, True).decode(LONG), r"s must be \(B, 3\)"),
    ("SquareICA", lambda: SquareICA(EYE)(y=LONG), r"y must be \(B, 3\)"),
    ("SquareICA.decode", lambda: SquareICA(EYE).decode(LONG), r"s must be \(B, 3\)"),
    ("Flow", lambda: Flow.from_data(Y, couplings=1)(y=LONG), r"over y \(B, 3\)"),
    ("Flow.decode", lambda: Flow.from_data(Y, couplings=1).decode(LONG), r"u must be \(B, 3\)"),
    ("KMeans", lambda: k_means().free_energy(y=LONG), r"y must be \(B, 3\), as wide as the centers"),
    ("GaussianMixture", lambda: gaussian().free_energy(y=LONG), r"y must be \(B, 3\), as wide as the means"),
    (
        "SparseCoding.infer",
        lambda: SparseCoding(draw(5, 3)).infer(LONG),
        r"y must be \(B, 3\): the dictionary",
    ),
    ("SparseCoding.infer, a vector", lambda: SparseCoding(draw(5, 3)).infer(Y[0]), r"y must be \(B, 3\)"),
    (
        "SparseCoding.infer, integers",
        lambda: SparseCoding(draw(5, 3)).infer(WHOLE),
        r"floating point numbers; got torch.int64",
    ),
    ("SparseCoding.decode", lambda: SparseCoding(draw(5, 3)).decode(LONG), r"z must be \(B, 5\)"),
    ("SparseCoding, few atoms", lambda: SparseCoding(draw(2, 3)).infer(LONG), r"y must be \(B, 3\)"),
    ("SparseAutoEncoder.encode", lambda: sparse().encode(LONG), r"y must be \(B, 3\)"),
    ("SparseAutoEncoder.decode", lambda: sparse().decode(LONG), r"z must be \(B, 5\)"),
    ("SparseAutoEncoder.infer", lambda: sparse().infer(Y[0]), r"y must be \(B, 3\)"),
    ("LISTA", lambda: LISTA(SparseCoding(draw(5, 3)), 1)(LONG), r"reads data \(B, 3\)"),
    (
        "LISTA, integers",
        lambda: LISTA(SparseCoding(draw(5, 3)), 1)(WHOLE),
        "floating point numbers; got torch.int64",
    ),
    ("VectorQuantization", lambda: codebook().infer(LONG), r"h is \(B, \*cells, 3\)"),
    ("FiniteScalarQuantization", lambda: grid().infer(LONG), r"h is \(B, \*cells, 3\)"),
    ("VAE.decode", lambda: vae().decode(LONG), r"z must be \(B, 2\)"),
    ("VAE energy", lambda: vae()(y=Y, z=LONG), r"z is \(B, 2\)"),
    ("NoisyAutoEncoder.decode", lambda: noisy().decode(LONG), r"z must be \(B, 2\)"),
    ("MixtureRegression.decode", lambda: regression().decode(LONG), r"x must be \(B, 2\)"),
    ("MixtureRegression.fit", lambda: regression().fit(LONG, Y, progress=False), r"x is \(B, 2\)"),
    ("LatentPredictor", lambda: LatentPredictor(Shift(), EYE)(x=Y, y=Y, z=LONG), r"z must be \(B, 3\)"),
    (
        "WithLatent",
        lambda: WithLatent(linear(5, 3), (2, 2))(Y, draw(20, 2)),
        r"4 numbers a row; it gave \(20, 3\)",
    ),
    ("StateSpace", lambda: space().infer(draw(4, 6, 5)), r"y is \(B, T, 3\)"),
    ("StateSpace, no time", lambda: space().infer(S[:, :0]), "T at least 1"),
    ("HiddenMarkov", lambda: hidden().infer(draw(4, 6, 5)), r"y is \(B, T, 3\)"),
    ("HiddenMarkov, no time", lambda: hidden().free_energy(y=S[:, :0]), "T at least 1"),
    (
        "an encoder's size",
        lambda: VAE(linear(3, 5), linear(2, 3), 2).infer(Y),
        r"mean and log_std of 2 numbers",
    ),
    (
        "an encoder's logits",
        lambda: CategoricalVAE(linear(3, 5), linear(4, 3), 4).free_energy(y=Y),
        "logits of 4 categories",
    ),
    (
        "an encoder's vectors",
        lambda: VQVAE(linear(3, 4), linear(3, 3), codebook()).infer(Y),
        "the encoder gives",
    ),
    ("a noisy encoder's code", lambda: noisy(code=4).encode(Y), r"what the encoder gives must be \(B, 2\)"),
    # what a decoder makes could be stretched to the shape of y in silence
    ("VAE: a decoder of one number", lambda: vae(1)(y=Y, z=draw(20, 2)), r"it gave \(20, 1\)"),
    (
        "VQVAE: a decoder of one number",
        lambda: VQVAE(linear(3, 3), linear(3, 1), codebook()).infer(Y),
        r"it gave \(20, 1\)",
    ),
    ("noisy: a decoder of one number", lambda: noisy(outputs=1).free_energy(y=Y), r"it gave \(20, 1\)"),
    (
        "saturating: a decoder of one number",
        lambda: SaturatingAutoEncoder(linear(3, 2), linear(2, 1), Rectifier(), 0.1)(y=Y),
        r"it gave \(20, 1\)",
    ),
    (
        "Bernoulli: another shape",
        lambda: BernoulliLikelihood().cost(Y.sigmoid(), draw(20, 1)),
        r"it gave \(20, 1\)",
    ),
]

PARAMETERS: list[Row] = [
    ("KMeans: NaN", lambda: KMeans(NAN * EYE), r"centers holds NaN or infinity, at \[0, 0\]"),
    (
        "KMeans: integers",
        lambda: KMeans(EYE.long()),
        "centers is a tensor of floating point numbers; got torch.int64",
    ),
    ("KMeans: no width", lambda: KMeans(torch.zeros(2, 0)), "K, D >= 1"),
    ("PCA: not orthonormal", lambda: PCA(2 * EYE[:2], ZEROS), "must be orthonormal"),
    ("PCA: NaN", lambda: PCA(EYE[:2], NAN * ZEROS), "mean holds NaN"),
    ("PCA: integers", lambda: PCA(EYE.long(), ZEROS.long()), "components is a tensor of floating point"),
    ("PCA: the mean's width", lambda: PCA(EYE[:2], ZEROS[:2]), r"a mean \(D,\)"),
    ("ProbabilisticPCA: NaN", lambda: ProbabilisticPCA(NAN * EYE[:2], ZEROS, 1.0), "weights holds NaN"),
    (
        "ProbabilisticPCA: no noise",
        lambda: ProbabilisticPCA(EYE[:2], ZEROS, 0.0),
        "noise must be finite and positive",
    ),
    ("ProbabilisticPCA: square", lambda: ProbabilisticPCA(EYE, ZEROS, 1.0), "1 <= K < D"),
    ("GaussianMixture: weights", lambda: gaussian(2 * HALF), r"add up to 1; got \[1.0, 1.0\]"),
    (
        "GaussianMixture: a negative weight",
        lambda: gaussian(HALF + HALF * torch.tensor([2.0, -2.0])),
        "positive and add up to 1",
    ),
    ("GaussianMixture: NaN", lambda: gaussian(means=NAN * draw(2, 3)), "means holds NaN"),
    (
        "GaussianMixture: singular",
        lambda: gaussian(spread=torch.zeros(2, 3, 3).double()),
        r"not positive definite: of component \[0, 1\]",
    ),
    (
        "GaussianMixture: a triangle",
        lambda: gaussian(spread=(EYE + 0.1 * torch.ones(3, 3).triu(1)).expand(2, 3, 3)),
        "symmetric; .* is up to 0.1",
    ),
    ("GaussianMixture: a shape", lambda: gaussian(spread=EYE), r"have the shape \(2, 3, 3\); got \(3, 3\)"),
    ("SquareICA: singular", lambda: SquareICA(torch.ones(2, 2)), "invertible and finite"),
    ("SquareICA: not square", lambda: SquareICA(draw(2, 3)), r"W is \(D, D\)"),
    ("SquareICA: integers", lambda: SquareICA(EYE.long()), "W is a tensor of floating point numbers"),
    ("SparseCoding: NaN", lambda: SparseCoding(NAN * EYE), "dictionary holds NaN"),
    ("SparseCoding: integers", lambda: SparseCoding(EYE.long()), "dictionary is a tensor of floating point"),
    ("SparseCoding: no atom", lambda: SparseCoding(torch.zeros(0, 3)), r"a dictionary is \(K, P\)"),
    ("SparseAutoEncoder: NaN", lambda: SparseAutoEncoder(NAN * EYE, TopK(1)), "dictionary holds NaN"),
    ("SparseAutoEncoder: zeros", lambda: SparseAutoEncoder(0 * EYE, TopK(1)), "3 rows of zeros"),
    ("SparseAutoEncoder: a NaN bias", lambda: SparseAutoEncoder(EYE, TopK(1), NAN * ZEROS), "bias holds NaN"),
    ("VectorQuantization: NaN", lambda: VectorQuantization(NAN * EYE), "the codebook holds NaN"),
    ("VectorQuantization: integers", lambda: VectorQuantization(EYE.long()), "of floating dtype"),
    (
        "MixtureRegression: NaN",
        lambda: MixtureRegression(draw(2, 2, 3), draw(2, 3), NAN * HALF, HALF),
        "log_std holds NaN",
    ),
    ("LatentPredictor: NaN", lambda: LatentPredictor(Shift(), NAN * EYE), "values holds NaN"),
    ("HiddenMarkov: NaN", lambda: HiddenMarkov(NAN * HALF, EYE[:2, :2], nn.Identity()), "start holds logits"),
    (
        "HiddenMarkov: integers",
        lambda: HiddenMarkov(torch.zeros(2).long(), EYE[:2, :2], nn.Identity()),
        "start holds logits",
    ),
    ("StateSpace: NaN", lambda: space(transition=NAN * EYE[:2, :2]), "transition holds NaN"),
    (
        "StateSpace: integers",
        lambda: space(transition=EYE[:2, :2].long()),
        "transition is a tensor of floating point",
    ),
    ("StateSpace: no noise", lambda: space(0 * EYE), "leaves a direction without noise"),
    ("GaussianEmission: std", lambda: GaussianEmission(EYE, -1.0), "std positive"),
    ("GaussianEmission: shape", lambda: GaussianEmission(EYE, torch.ones(5)), r"one number or \(K, P\)"),
    ("CategoricalEmission: shape", lambda: CategoricalEmission(ZEROS), r"logits are \(K, V\)"),
    ("DiagonalGaussian: shapes", lambda: DiagonalGaussian(Y, LONG), "of one shape"),
    ("Categorical: shape", lambda: Categorical(ZEROS), r"logits are \(B, K\)"),
]

SETTINGS: list[Row] = [
    (
        "more centers than rows",
        lambda: KMeans.from_data(Y, 21),
        "at least 21 rows of data are needed; there are 20",
    ),
    ("a fit with fewer rows than centers", lambda: k_means().fit(Y[:2]), "at least 3 rows"),
    (
        "an unknown start",
        lambda: KMeans.from_data(Y, 2, start="kmeans"),
        "'k-means\\+\\+', 'random'; got 'kmeans'",
    ),  # type: ignore[arg-type]
    ("no step", lambda: k_means().fit(Y, max_steps=0), "max_steps must be an integer of at least 1"),
    ("no start", lambda: k_means().fit(Y, n_init=0), "n_init must be"),
    ("a negative tol", lambda: k_means().fit(Y, tol=-1.0), "tol must be finite and at least 0"),
    ("more components than directions", lambda: PCA.from_data(Y, 4), "vary in 3 directions at most; got 4"),
    ("no direction for the noise", lambda: ProbabilisticPCA.from_data(Y, 3), "k must be below D = 3"),
    ("data on a line", lambda: ProbabilisticPCA.from_data(Y[:, :1] @ draw(1, 3), 1), "take a smaller k"),
    (
        "data that are all equal",
        lambda: PCA.from_data(torch.ones(20, 3).double(), 1),
        "no direction has a variance",
    ),
    (
        "an unknown covariance",
        lambda: mixture(covariance="diag"),
        "'full', 'tied', 'diagonal', 'spherical'; got 'diag'",
    ),
    ("a negative floor", lambda: mixture(reg_covar=-1.0), "reg_covar must be finite and at least 0"),
    ("more components than rows", lambda: GaussianMixture.from_data(Y, 21), "at least 21 rows"),
    ("a constant column without a floor", lambda: mixture(CONSTANT, reg_covar=0.0), "raise reg_covar"),
    ("no sample", lambda: gaussian().sample(-1), "n must be an integer"),
    ("an unknown contrast", lambda: FastICA.fit(Y, contrast="tanh"), "'logcosh', 'exp', 'cube'; got 'tanh'"),  # type: ignore[arg-type]
    ("more sources than directions", lambda: FastICA.fit(Y, 4), "3 sources at most; got 4"),
    (
        "a constant column can't be whitened",
        lambda: FastICA.fit(CONSTANT),
        r"or drop columns \[1\], which are constant",
    ),
    (
        "nor has it a density",
        lambda: SquareICA.from_data(CONSTANT),
        r"or drop columns \[1\], which are constant",
    ),
    ("nor for a flow", lambda: Flow.from_data(CONSTANT), r"coordinates \[1\] are constant"),
    ("a start of zeros", lambda: FastICA.fit(Y, start=0 * EYE), "3 rows that are independent"),
    ("a start of NaN", lambda: FastICA.fit(Y, start=NAN * EYE), "start holds NaN"),
    (
        "a start of another size",
        lambda: FastICA.fit(Y, start=EYE[:2, :2]),
        r"start is W of white data, \(3, 3\)",
    ),
    ("a tolerance of nothing", lambda: FastICA.fit(Y, tol=0.0), "tol must be finite and positive"),
    ("an unknown flow", lambda: Flow.from_data(Y, "nice"), '"spline" or "affine"; got \'nice\''),  # type: ignore[arg-type]
    ("a flow of nothing", lambda: Flow([]), "at least one layer"),
    (
        "a negative sparsity",
        lambda: SparseCoding(EYE, -1.0),
        "sparsity must be finite and positive; got -1.0",
    ),
    ("a sparsity of NaN", lambda: SparseCoding(EYE, NAN), "sparsity must be finite and positive"),
    ("a sparsity in words", lambda: SparseCoding(EYE, "high"), "sparsity is a number"),  # type: ignore[arg-type]
    ("more atoms than rows", lambda: SparseCoding.from_data(Y, 21), "21 atoms need as many rows"),
    ("LISTA of a layer", lambda: LISTA(linear(2, 2), 1), "codes of a SparseCoding; got Linear"),  # type: ignore[arg-type]
    ("no layer", lambda: LISTA(SparseCoding(EYE), 0), "layers must be an integer of at least 1"),
    ("no code", lambda: TopK(0), "k must be an integer of at least 1"),
    ("no code in a batch", lambda: BatchTopK(0), "k must be an integer of at least 1"),
    ("no price", lambda: Rectified(0.0), "sparsity must be finite and positive"),
    (
        "a negative threshold",
        lambda: JumpReLU(4, 0.1, threshold=-1.0),
        "threshold must be finite and positive",
    ),
    ("a negative price of gates", lambda: Gated(4, -0.1), "sparsity must be finite and positive"),
    (
        "thresholds for other latents",
        lambda: sparse(JumpReLU(4, 0.1)),
        "JumpReLU is for 4 latents; the dictionary has 5",
    ),
    ("one gate for all", lambda: sparse(Gated(1, 0.1)), "Gated is for 1 latents; the dictionary has 5"),
    ("a module for an activation", lambda: sparse(nn.ReLU()), "an activation is a SparseActivation"),
    ("a batch of codes in training", lambda: sparse(BatchTopK(1)).train().infer(Y), r"call energy.eval\(\)"),
    (
        "a loss for other latents",
        lambda: DeadReconstruction(4, 1)(sparse().free_energy, y=Y),
        "watches 4 latents; the model has 5",
    ),
    ("a loss of another model", lambda: GateReconstruction()(vae(), y=Y), "of a SparseAutoEncoder; got VAE"),
    ("never revived", lambda: Revive(sparse(), Y, 0), "every must be"),
    ("an unknown learning", lambda: VectorQuantization(EYE, "adam"), "'ema' or 'gradient'; got 'adam'"),  # type: ignore[arg-type]
    (
        "an unknown estimator",
        lambda: VectorQuantization(EYE, "ema", "gumbel"),
        "'straight-through' or 'rotation'",
    ),  # type: ignore[arg-type]
    (
        "a negative commitment",
        lambda: VectorQuantization(EYE, commitment=-1.0),
        "commitment must be finite and at least 0",
    ),
    ("a decay of 1", lambda: VectorQuantization(EYE, decay=1.0), "decay must be at least 0 and below 1"),
    ("a negative expiry", lambda: VectorQuantization(EYE, expire=-1.0), "expire must be"),
    (
        "more codes than vectors",
        lambda: VectorQuantization.from_data(Y, 21),
        "21 codes need as many vectors; there are 20",
    ),
    ("stages that differ", lambda: ResidualQuantization([codebook(), codebook(5)]), "codebooks of one shape"),
    (
        "stages of layers",
        lambda: ResidualQuantization([linear(2, 2)]),
        "a stage is a VectorQuantization; got Linear",
    ),  # type: ignore[list-item]
    ("a beam of nothing", lambda: stages().infer(Y, width=0), "width must be an integer of at least 1"),
    ("one level", lambda: FiniteScalarQuantization((3, 1)), "at least 2 each"),
    ("a number for levels", lambda: FiniteScalarQuantization(5), r"\(8, 6, 5\); got 5"),  # type: ignore[arg-type]
    (
        "a layer for a quantizer",
        lambda: VQVAE(linear(3, 3), linear(3, 3), nn.Identity()),
        "needs a Quantizer",
    ),  # type: ignore[arg-type]
    (
        "a loss of no rows",
        lambda: QuantizedLoss()(quantized(), y=NONE),
        "at least one row, alone; got y of 0 rows",
    ),
    ("a loss for a VQVAE", lambda: QuantizedLoss()(vae(), y=Y), "is for a VQVAE; got VAE"),
    (
        "a code of nothing",
        lambda: VAE(linear(3, 4), linear(2, 3), 0),
        "size must be an integer of at least 1",
    ),
    ("no draws", lambda: VAE(linear(3, 4), linear(2, 3), 2, draws=0), "draws must be"),
    (
        "a loss for a likelihood",
        lambda: VAE(linear(3, 4), linear(2, 3), 2, nn.MSELoss()),
        "such as GaussianLikelihood",
    ),  # type: ignore[arg-type]
    ("no samples", lambda: vae().sample(-1), "n must be an integer of at least 0"),
    ("no categories drawn", lambda: categorical().sample(-1), "n must be an integer of at least 0"),
    (
        "no temperature",
        lambda: CategoricalVAE(linear(3, 4), linear(4, 3), 4, temperature=0.0),
        "temperature must be",
    ),
    ("bits that are none", lambda: BernoulliLikelihood().cost(Y, Y), r"y in \[0, 1\]"),
    ("a noise of 0", lambda: GaussianLikelihood(0.0), "noise must be finite and positive"),
    ("a negative beta", lambda: ELBO(-1.0), "beta must be finite and at least 0"),
    ("a bound of another model", lambda: ELBO()(k_means(), y=Y), "needs an encoder"),
    ("a bound of no rows", lambda: ELBO()(vae(), y=NONE), "got y of 0 rows"),
    ("a bound of x", lambda: ELBO()(vae(), x=Y), "got x of 20 rows"),
    ("a free energy at beta 0", lambda: gaussian_free_energy(vae(), beta=0.0), "above 0"),
    ("a free energy of no latent", lambda: gaussian_free_energy(vae(), "w"), "it has no 'w'"),
    ("a free energy by a number", lambda: categorical_free_energy(categorical(), 3), "Finite or AllChoices"),  # type: ignore[arg-type]
    (
        "no saturation",
        lambda: SaturatingAutoEncoder(linear(3, 2), linear(2, 3), Rectifier(), 0.0),
        "saturation must be",
    ),
    (
        "a map that does not saturate",
        lambda: SaturatingAutoEncoder(linear(3, 2), linear(2, 3), nn.ReLU(), 0.1),
        "φ is a Saturating map",
    ),  # type: ignore[arg-type]
    ("a negative shrinkage", lambda: Shrink(-1.0), "threshold must be"),
    ("a negative noise", lambda: noisy(noise=-1.0), "noise must be finite and at least 0"),
    ("a size that is no integer", lambda: noisy(size=2.0), "size must be an integer"),
    ("too few rows for the answers", lambda: regression(draw(5, 2), Y[:5]), "need 6 rows; got 5"),
    ("dtypes that differ", lambda: regression(draw(20, 2).float()), "x is torch.float32, y is torch.float64"),
    ("a negative tol of answers", lambda: regression().fit(X, Y, tol=-1.0), "tol must be"),
    ("a noise in words", lambda: LatentPredictor(Shift(), EYE, "low"), "noise is a number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("call", "words"),
    [pytest.param(*row[1:], id=row[0]) for row in (*DATA, *ROWS, *CODES, *WIDTHS, *PARAMETERS, *SETTINGS)],
)
def test_a_mistake_is_told(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ERRORS, match=words):
        call()


# --- what is no mistake -------------------------------------------------------------------------------------


def test_a_constant_column_is_data_where_it_breaks_nothing() -> None:
    pca = PCA.from_data(CONSTANT, 2)
    assert float(pca.components[:, 1].abs().max()) < 1e-12 and float(pca.mean[1]) == 2.0
    without = PCA.from_data(CONSTANT[:, [0, 2]], 2)
    torch.testing.assert_close(pca.components[:, [0, 2]], without.components)
    torch.testing.assert_close(pca.variances, without.variances)
    noise = ProbabilisticPCA.from_data(CONSTANT, 1).noise
    torch.testing.assert_close(noise, 0.5 * ProbabilisticPCA.from_data(CONSTANT[:, [0, 2]], 1).noise)
    full, split = mixture(CONSTANT, reg_covar=1e-3), mixture(CONSTANT[:, [0, 2]], reg_covar=1e-3)
    # the column is independent of all, with the variance reg_covar
    known = -torch.distributions.Normal(2.0, 1e-3**0.5).log_prob(CONSTANT[:, 1])
    torch.testing.assert_close(full.free_energy(y=CONSTANT), split.free_energy(y=CONSTANT[:, [0, 2]]) + known)


def test_answers_to_constant_data_stay_numbers() -> None:
    x, same = draw(20, 2), torch.ones(20, 3, dtype=torch.float64)
    model = regression(x, same)
    history = model.fit(x, same, progress=False)
    assert torch.isfinite(history.column("energy")).all()
    best = (model.decode(x) - 1).abs().amax(2).amin(1)  # one answer is enough for all
    assert best.max() < 1e-6 and torch.isfinite(model.log_std).all()


@pytest.mark.parametrize("name", ["StateSpace", "HiddenMarkov", "SparseCoding", "VAE", "CategoricalVAE"])
def test_a_row_of_nan_is_reported_and_its_neighbors_feel_nothing(name: str) -> None:
    models: dict[str, tuple[Any, Tensor]] = {
        "StateSpace": (space(), S),
        "HiddenMarkov": (hidden(), S),
        "SparseCoding": (SparseCoding(draw(5, 3)), Y),
        "VAE": (vae(), Y),
        "CategoricalVAE": (categorical(), Y),
    }
    model, y = models[name]
    spoiled = y.clone()
    spoiled[2].view(-1)[1] = torch.nan
    clean, found = model.infer(y), model.infer(spoiled)
    others = torch.arange(len(y)) != 2
    assert found.reasons[2] == "non finite" and not found.converged[2]
    torch.testing.assert_close(found.value[others], clean.value[others])
    assert torch.equal(found.converged[others], clean.converged[others])


def test_no_rows_have_no_codes() -> None:
    for infer in INFERRED.values():
        solution = infer(NONE)
        assert len(solution.energy) == 0 and len(solution.converged) == 0
    predictor = LatentPredictor(Shift(), EYE)
    assert predictor.decode(NONE).shape == (0, 3, 3)


def test_a_fit_takes_data_of_another_floating_dtype() -> None:
    """It is computed in float64, or as the data are; what was learned keeps the dtype of the model."""
    for make in (k_means, gaussian, lambda: PCA(EYE[:2], ZEROS)):
        for model, y in ((make(), Y.float()), (make().float(), Y)):
            kind = {value.dtype for value in model.state_dict().values()}
            model.fit(y)
            assert {value.dtype for value in model.state_dict().values()} == kind

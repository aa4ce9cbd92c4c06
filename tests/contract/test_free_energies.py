"""The contract of a model of y and z: F(y) <= E(y, z) for every z, and F is what a search over z finds.

A model on the list names what its `free_energy` is:

    minimum     F(y) = min_z E(y, z)                    all z are tried, or minimizers from random starts
    marginal    F(y) = -log Σ_z exp(-E), or ∫ for Σ     summed over all z, or over a grid
    guess       F(y) = E(y, z(y)) of an encoder         min_z E(y, z) <= F
    bound       F(y) = ⟨E⟩_q - H(q) of an encoder       -log ∫ exp(-E) <= F

Where z is discrete, a marginal is below every energy: -log Σ exp(-E) <= min_z E. Where it is continuous,
exp(-E) is a density, which may be above 1; so its integral alone is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

import ebm.regularized
from ebm import Energy, minimize
from ebm.infer import LBFGS, SpaRSA
from ebm.regularized import (
    PCA,
    VAE,
    VQVAE,
    CategoricalVAE,
    FiniteScalarQuantization,
    GaussianEmission,
    GaussianMixture,
    HiddenMarkov,
    KMeans,
    LatentPredictor,
    MixtureRegression,
    NoisyAutoEncoder,
    ProbabilisticPCA,
    ResidualQuantization,
    SparseAutoEncoder,
    SparseCoding,
    StateSpace,
    VectorQuantization,
)
from ebm.regularized.sparse_activations import Rectified

Kind = Literal["minimum", "marginal", "guess", "bound"]
ROWS = 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(inputs: int, outputs: int, seed: int = 7) -> nn.Module:
    made = nn.Sequential(nn.Linear(inputs, outputs), nn.Tanh()).double()
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(0.7 * draw(*parameter.shape, seed=seed + number))
    return made


class Shift(nn.Module):
    """x and z, bent."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(x + z)


@dataclass(frozen=True)
class Member:
    """A model, values of what is not z, and how z is to be searched.

    Attributes:
        every: all z there are, (M, *shape of one row's z); None where z is continuous.
        shape: of one row's z, where it is continuous.
        width: half the side of the grid over which a continuous z is summed.
    """

    model: Energy
    kind: Kind
    given: dict[str, Tensor]
    every: Tensor | None = None
    shape: tuple[int, ...] = ()
    width: float = 8.0
    free: Energy | None = None

    @property
    def free_energy(self) -> Energy:
        found: Energy = self.model.free_energy if self.free is None else self.free  # type: ignore[assignment]
        return found.eval()


def words(choices: int, length: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(choices)] * length).view(-1, length)


def members() -> dict[str, Member]:
    y, x, sequence = {"y": draw(ROWS, 3)}, {"x": draw(ROWS, 3, seed=1)}, {"y": draw(ROWS, 3, 2)}
    weights = torch.softmax(draw(4, seed=2), 0)
    spread = draw(4, 3, 3, seed=3)
    spread = spread @ spread.mT + 0.3 * torch.eye(3, dtype=torch.float64)
    book = VectorQuantization(draw(6, 3, seed=4))
    fine = ResidualQuantization([book, VectorQuantization(0.3 * draw(6, 3, seed=5))])
    predictor = LatentPredictor(Shift(), draw(4, 3, seed=6))
    regression = MixtureRegression(draw(3, 3, 3), draw(3, 3, seed=1), 0.3 * draw(3, seed=2), draw(3, seed=3))
    seen = GaussianEmission(draw(3, 2, seed=4))
    hidden = HiddenMarkov(draw(3, seed=5), draw(3, 3, seed=6), seen)
    one = torch.eye(1, dtype=torch.float64)
    space = StateSpace(0.8 * one, draw(2, 1), one, torch.eye(2, dtype=torch.float64), one[0], 2 * one)
    vae = VAE(layer(3, 2), layer(1, 3), 1, draws=None)
    category = CategoricalVAE(layer(3, 4), layer(4, 3), 4)
    quantized = VQVAE(layer(3, 3), layer(3, 3), book)
    noisy = NoisyAutoEncoder(layer(3, 2), layer(2, 3), 2, 0.3)
    guessed = SparseAutoEncoder(draw(5, 3, seed=8), Rectified(0.2))
    four, six = torch.arange(4), torch.arange(6)
    return {
        "KMeans": Member(KMeans(draw(4, 3, seed=1)), "minimum", y, four),
        "PCA": Member(PCA(torch.eye(3, dtype=torch.float64)[:2], draw(3)[:3]), "minimum", y, shape=(2,)),
        "ProbabilisticPCA": Member(
            ProbabilisticPCA(draw(2, 3, seed=2), draw(3, seed=3), 0.5), "marginal", y, shape=(2,)
        ),
        "GaussianMixture": Member(GaussianMixture(weights, draw(4, 3), spread), "marginal", y, four),
        "SparseCoding": Member(SparseCoding(draw(5, 3), 0.3), "minimum", y, shape=(5,)),
        "SparseAutoEncoder": Member(guessed.eval(), "guess", y, shape=(5,)),
        "MixtureRegression": Member(regression, "marginal", {**x, **y}, torch.arange(3)),
        "LatentPredictor": Member(predictor, "minimum", {**x, **y}, predictor.values),
        "HiddenMarkov": Member(hidden, "marginal", sequence, words(3, 3)),
        "StateSpace": Member(space, "marginal", {"y": draw(ROWS, 2, 2)}, shape=(2, 1)),
        "VAE": Member(vae.eval(), "bound", y, shape=(1,)),
        "CategoricalVAE": Member(category.eval(), "bound", y, four),
        "VQVAE": Member(quantized.eval(), "guess", y, six),
        "VQVAE, two stages": Member(VQVAE(layer(3, 3), layer(3, 3), fine).eval(), "guess", y, words(6, 2)),
        "NoisyAutoEncoder": Member(noisy.eval(), "guess", y, shape=(2,)),
    }


MEMBERS = members()
EVERY = pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items()])


def energies(member: Member, z: Tensor) -> Tensor:
    """E of every row with each of M codes, (ROWS, M)."""
    given = {name: value.repeat_interleave(len(z), 0) for name, value in member.given.items()}
    codes = z.repeat(ROWS, *(1,) * (z.ndim - 1))
    return member.model(**given, z=codes).view(ROWS, len(z)).detach()


def free(member: Member) -> Tensor:
    return member.free_energy(**member.given).detach()


def least(member: Member) -> Tensor:
    """min_z E(y, z) by trying everything, or by minimizers from many starts."""
    if member.every is not None:
        return energies(member, member.every).amin(1)
    starts = 2 * draw(30, *member.shape, seed=9)
    given = {name: value.repeat_interleave(30, 0) for name, value in member.given.items()}
    nonsmooth = isinstance(member.model, SparseCoding | SparseAutoEncoder)
    begin = starts.abs() if nonsmooth else starts
    method = SpaRSA(memory=1) if nonsmooth else LBFGS()
    over = {"z": begin.repeat(ROWS, *(1,) * len(member.shape))}
    found = minimize(member.model, over, method, given=given, max_steps=2000, tol=1e-9)
    return found.energy.view(ROWS, 30).detach().amin(1)


def soft(member: Member) -> Tensor:
    """-log Σ_z exp(-E), or -log ∫ exp(-E) dz by a grid."""
    if member.every is not None:
        return -(-energies(member, member.every)).logsumexp(1)
    size = torch.Size(member.shape).numel()
    side = torch.linspace(-member.width, member.width, 401 if size == 2 else 4001, dtype=torch.float64)
    grid = torch.cartesian_prod(*[side] * size).view(-1, *member.shape)
    cell = float(side[1] - side[0]) ** size
    return -(-energies(member, grid)).logsumexp(1) - torch.tensor(cell).double().log()


@EVERY
def test_the_free_energy_is_an_energy_of_what_is_not_z(member: Member) -> None:
    F = member.free_energy
    assert isinstance(F, Energy) and set(F.variables) == set(member.given)
    assert free(member).shape == (ROWS,) and torch.isfinite(free(member)).all()


@EVERY
def test_it_is_what_its_kind_says(member: Member) -> None:
    F, kind = free(member), member.kind
    if kind == "minimum":
        torch.testing.assert_close(F, least(member), rtol=1e-6, atol=1e-6)
    elif kind == "marginal":
        torch.testing.assert_close(F, soft(member), rtol=1e-8, atol=1e-8)
    elif kind == "guess":
        assert (least(member) - 1e-9 <= F).all()
    else:
        assert (soft(member) - 1e-9 <= F).all() and (soft(member) + 5 > F).all()


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(m, id=n)
        for n, m in MEMBERS.items()
        if m.kind == "minimum" or (m.kind == "marginal" and m.every is not None)
    ],
)
def test_no_code_has_less_energy(member: Member) -> None:
    if member.every is None:
        codes = torch.cat([scale * draw(200, *member.shape, seed=11) for scale in (0.1, 1.0, 3.0)])
    else:
        index = torch.randint(len(member.every), (200,), generator=torch.Generator().manual_seed(3))
        codes = member.every[index]
    assert (free(member).unsqueeze(1) <= energies(member, codes) + 1e-9).all()


@pytest.mark.parametrize(
    "name", ["KMeans", "PCA", "ProbabilisticPCA", "SparseCoding", "LatentPredictor", "VQVAE"]
)
def test_inference_reaches_it(name: str) -> None:
    """E(y, z*) of `infer`; for a marginal it is the least energy instead."""
    member = MEMBERS[name]
    infer: Callable[..., Any] = member.model.infer  # type: ignore[assignment]
    found = infer(*member.given.values(), **({"tol": 1e-9} if name == "SparseCoding" else {}))
    expected = least(member) if member.kind == "marginal" else free(member)
    torch.testing.assert_close(found.energy.detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["KMeans", "LatentPredictor"])
def test_a_minimum_has_a_soft_one_beside(name: str) -> None:
    """By `marginal_over`, or the model's own: between the minimum less log K / β and the minimum."""
    member = MEMBERS[name]
    assert member.every is not None
    for beta in (0.5, 4.0):
        E = energies(member, member.every)
        mean = -((-beta * E).logsumexp(1) - torch.tensor(float(len(member.every))).double().log()) / beta
        if isinstance(member.model, LatentPredictor):
            found = member.model.soft_free_energy(beta)
        else:
            found = ebm.marginal_over(member.model, "z", beta, by=ebm.nodes.AllChoices(len(member.every)))
        torch.testing.assert_close(found(**member.given).detach(), mean)


def test_quantizers_are_energies_whose_minimum_is_known() -> None:
    """They have `infer` in place of a free energy: F(h) = E(h, z*(h)) is the energy of its solution."""
    h = draw(ROWS, 3)
    for quantizer in (VectorQuantization(draw(6, 3)), FiniteScalarQuantization((3, 2, 4)).double()):
        z = torch.arange(quantizer.choices)
        tried = quantizer(h=h.repeat_interleave(len(z), 0), z=z.repeat(ROWS)).view(ROWS, -1)
        found = quantizer.infer(h)
        torch.testing.assert_close(found.energy, tried.amin(1))
        assert torch.equal(found.value, tried.argmin(1))


def test_every_model_of_z_is_on_the_list() -> None:
    """Those without a free energy: quantizers (see above), and energies of y alone (flows, ICA, ...)."""
    listed = {type(member.model).__name__ for member in MEMBERS.values()}
    public = {name: getattr(ebm.regularized, name) for name in ebm.regularized.__all__}
    with_free_energy = {name for name, each in public.items() if hasattr(each, "free_energy")}
    assert with_free_energy - {"Amortized", "ConvolutionalSparseCoding"} == listed

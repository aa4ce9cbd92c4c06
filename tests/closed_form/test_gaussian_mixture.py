"""Mixtures of Gaussians: densities against scipy, expectation maximization against scikit-learn."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor

from ebm import Choices, marginal_over, minimize
from ebm.infer import Enumerate
from ebm.nodes import AllChoices
from ebm.regularized import GaussianMixture, expectation
from ebm.regularized.covariances import KINDS, shape_of, whitening
from ebm.regularized.expectation import Components, expect
from ebm.targets import Mixture


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(kind: str, k: int, dim: int, seed: int = 3) -> Tensor:
    """Random covariances of a kind."""
    shape = shape_of(kind, k, dim)
    if kind in ("diagonal", "spherical"):
        return 0.5 + draw(*shape, seed=seed).square()
    a = draw(*shape, seed=seed)
    return a @ a.mT + 0.3 * torch.eye(dim, dtype=a.dtype)


def matrices(kind: str, covariances: Tensor, k: int, dim: int) -> Tensor:
    """The same as (K, D, D)."""
    eye = torch.eye(dim, dtype=covariances.dtype)
    if kind == "spherical":
        return covariances.view(k, 1, 1) * eye
    return covariances.diag_embed() if kind == "diagonal" else covariances.expand(k, dim, dim)


def mixture(kind: str, k: int = 4, dim: int = 3) -> GaussianMixture:
    return GaussianMixture(draw(k).softmax(0), 2 * draw(k, dim, seed=1), spread(kind, k, dim), kind)


def data(rows: int = 900, dim: int = 4, k: int = 3) -> Tensor:
    """Rows of some overlapping Gaussians."""
    return mixture("full", k, dim).sample(rows, seeded(5))


@pytest.fixture
def y():
    return draw(20, 3, seed=2)


@pytest.mark.parametrize("kind", KINDS)
def test_energies_are_those_of_scipy(kind, y):
    model = mixture(kind)
    sigma = matrices(kind, model.covariances, 4, 3)
    for k in range(4):
        normal = multivariate_normal(model.means[k].numpy(), sigma[k].numpy())
        expected = -torch.from_numpy(normal.logpdf(y.numpy())) - model.weights[k].log()
        torch.testing.assert_close(model(y=y, z=torch.full((20,), k)), expected)
    target = Mixture(model.weights, model.means, sigma)
    torch.testing.assert_close(model.free_energy(y=y), target(y=y))
    y.requires_grad_()
    (slope,) = torch.autograd.grad(model.free_energy(y=y).sum(), y)
    torch.testing.assert_close(slope, target.value_and_grad("y", y=y.detach())[1])


@pytest.mark.parametrize("kind", KINDS)
def test_inference_and_free_energy_are_enumeration(kind, y):
    model = mixture(kind)
    oracle = minimize(model, Choices(torch.zeros(20, dtype=torch.int64), 4), Enumerate(), given={"y": y})
    found = model.infer(y)
    assert torch.equal(found.value, oracle.value) and found.converged.all()
    torch.testing.assert_close(found.energy, oracle.energy)
    free = marginal_over(model, "z", 1.0, AllChoices(4, normalized=False))
    torch.testing.assert_close(model.free_energy(y=y), free(y=y))
    torch.testing.assert_close(model.responsibilities(y), free.posterior(y=y).probability)
    torch.testing.assert_close(model.decode(found.value), model.means[oracle.value])


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_mixture(kind):
    model = mixture(kind, k=3, dim=2)
    n = 40_000
    draws = model.sample(n, seeded())
    sigma = matrices(kind, model.covariances, 3, 2)
    target = Mixture(model.weights, model.means, sigma)
    d = draws - target.mean
    error = draws.std(0) / n**0.5
    assert ((draws.mean(0) - target.mean).abs() < 4 * error).all()
    products = d.unsqueeze(2) * d.unsqueeze(1)
    assert ((products.mean(0) - target.covariance).abs() < 4 * products.std(0) / n**0.5).all()
    entropy = model.free_energy(y=draws)  # its mean is the entropy, which the other half must share
    half = n // 2
    gap = entropy[:half].mean() - entropy[half:].mean()
    assert gap.abs() < 4 * entropy.std() * (2 / half) ** 0.5
    assert torch.equal(draws, model.sample(n, seeded()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("careful", [False, True], ids=["by features", "by differences"])
def test_expectation_maximization_is_that_of_scikit_learn(kind, careful, monkeypatch):
    if careful:
        monkeypatch.setattr(expectation, "_by_features", expectation._by_differences)
    y, k = data() + 3, 5
    start, weights = y[:k], torch.full((k,), 1 / k, dtype=torch.float64)
    covariances = matrices("spherical", torch.full((k,), 2.0, dtype=torch.float64), k, 4)
    own = {"full": covariances, "tied": covariances[0], "diagonal": covariances.diagonal(dim1=1, dim2=2)}
    sigma = own.get(kind, covariances[:, 0, 0])
    model = GaussianMixture(weights, start, sigma, kind)
    history = model.fit(y, max_steps=12, tol=0)
    theirs = SklearnMixture(
        k,
        covariance_type="diag" if kind == "diagonal" else kind,
        max_iter=12,
        tol=0,
        weights_init=weights.numpy(),
        means_init=start.numpy(),
        precisions_init=(0.25 * sigma if kind in ("full", "tied") else 1 / sigma).numpy(),
        init_params="random",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(y.numpy())
    for ours, other in (("weights", "weights_"), ("means", "means_"), ("covariances", "covariances_")):
        expected = torch.from_numpy(getattr(theirs, other))
        torch.testing.assert_close(getattr(model, ours), expected, atol=1e-8, rtol=1e-8)
    assert history.rows[-1]["energy"] == pytest.approx(-theirs.score(y.numpy()), abs=1e-8)
    assert history.rows[-2]["energy"] == pytest.approx(-theirs.lower_bound_, abs=1e-8)
    shares = torch.from_numpy(theirs.predict_proba(y.numpy()))
    torch.testing.assert_close(model.responsibilities(y), shares, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_energy_of_the_data_never_rises(kind):
    y = data()
    model = GaussianMixture.from_data(y, 6, kind, generator=seeded())
    history = model.fit(y, max_steps=60, tol=0, reg_covar=0.0)
    energy = history.column("energy")
    assert len(energy) == 61 and (energy.diff() <= 1e-12).all() and energy[-1] < energy[0] - 0.01
    assert float(energy[-1]) == pytest.approx(float(model.free_energy(y=y).mean()), abs=1e-10)


def test_a_fit_ends_where_the_gradient_is_zero():
    """At a maximum of the likelihood, by autograd, in the means."""
    y = data(300)
    model = GaussianMixture.from_data(y, 2, generator=seeded())
    model.fit(y, max_steps=2000, tol=1e-15, reg_covar=0.0)
    means = model.means.clone().requires_grad_()
    model.means = means
    (slope,) = torch.autograd.grad(model.free_energy(y=y).mean(), means)
    assert slope.abs().max() < 1e-6


def test_a_planted_mixture_is_found_again():
    truth = GaussianMixture(
        torch.tensor([0.2, 0.3, 0.5]).double(), 6 * torch.eye(3).double(), spread("full", 3, 3)
    )
    y = truth.sample(20_000, seeded())
    model = GaussianMixture.from_data(y, 3, generator=seeded())
    model.fit(y, tol=1e-7, max_steps=500)
    order = torch.cdist(truth.means, model.means).argmin(1)
    counts = (20_000 * truth.weights).unsqueeze(1)
    deviation = truth.covariances.diagonal(dim1=1, dim2=2).sqrt() / counts.sqrt()
    assert ((model.means[order] - truth.means).abs() < 5 * deviation).all()
    assert (model.weights[order] - truth.weights).abs().max() < 5 * 0.5 / 20_000**0.5
    gap = model.free_energy(y=y).mean() - truth.free_energy(y=y).mean()
    assert -0.01 < gap < 0  # no other parameters fit better, and those that fit better overfit little
    unseen = truth.sample(5000, seeded(1))
    assert model.free_energy(y=unseen).mean() < model.free_energy(y=unseen + 3).mean() - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 2**40], ids=["a row at a time", "all at once"])
def test_both_ways_give_the_same_moments(kind, blocks, monkeypatch):
    monkeypatch.setattr(expectation, "ON_CPU", blocks)
    y, model = draw(60, 3, seed=8), mixture(kind)
    components = Components.of(model.weights, model.means, whitening(kind, model.covariances, 4, 3))
    one, other = (way(y, components) for way in (expectation._by_features, expectation._by_differences))
    assert one.energy == pytest.approx(other.energy, rel=1e-12)
    for name in ("counts", "means", "scatter"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-10)


def test_far_data_and_narrow_components_are_taken_carefully(monkeypatch):
    """The features would lose digits: ε max|y|² |Λ| is 1e-5 here."""
    called = []
    plain = expectation._by_differences
    monkeypatch.setattr(expectation, "_by_differences", lambda *a: called.append(1) or plain(*a))
    y = torch.cat([draw(200, 2) * 1e-3 + 100, draw(200, 2, seed=1) * 1e-3 - 100]).float()
    start = torch.tensor([[99.0, 100.0], [-100.0, -101.0]])
    model = GaussianMixture(torch.tensor([0.5, 0.5]), start, torch.eye(2).repeat(2, 1, 1))
    model.fit(y, reg_covar=0.0)
    assert called
    exact = GaussianMixture(model.weights.double(), start.double(), torch.eye(2).double().repeat(2, 1, 1))
    exact.fit(y.double(), reg_covar=0.0)
    torch.testing.assert_close(model.covariances.double(), exact.covariances, rtol=0.1, atol=1e-8)
    called.clear()
    expect(draw(50, 3), Components.of(*_round()), 20.0)
    assert not called


def _round() -> tuple[Tensor, Tensor, Tensor]:
    return torch.full((2,), 0.5).double(), draw(2, 3), torch.ones(2, 3, dtype=torch.float64)


def test_float32_keeps_its_dtype_and_comes_near():
    y = data()
    start = GaussianMixture.from_data(y, 4, generator=seeded())
    single = GaussianMixture(start.weights.float(), start.means.float(), start.covariances.float())
    ours, exact = single.fit(y.float(), max_steps=10, tol=0), start.fit(y, max_steps=10, tol=0)
    assert single.means.dtype == single.covariances.dtype == torch.float32
    assert ours.rows[-1]["energy"] == pytest.approx(exact.rows[-1]["energy"], abs=1e-6)


def test_singular_covariances_say_what_to_do():
    y = torch.cat([draw(50, 2), torch.zeros(50, 1, dtype=torch.float64)], 1)  # no spread in one direction
    with pytest.raises(ValueError, match=r"raise reg_covar, take fewer components, or choose"):
        GaussianMixture.from_data(y, 2, reg_covar=0.0)
    model = GaussianMixture.from_data(y, 2, generator=seeded())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"\(full\) is not positive definite: of component \[0, 1\]"):
        model.fit(y, reg_covar=0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.fit(y)
    assert math.isfinite(float(model.free_energy(y=y).mean()))


def test_bad_input(y):
    model, ones = mixture("full"), torch.ones(2)
    with pytest.raises(ValueError, match="covariance is one of 'full', 'tied', 'diagonal', 'spherical'; got"):
        GaussianMixture(ones / 2, torch.zeros(2, 1), ones.view(2, 1), "diag")
    with pytest.raises(ValueError, match=r'"full" covariances to these means have the shape \(2, 1, 1\)'):
        GaussianMixture(ones / 2, torch.zeros(2, 1), ones)
    with pytest.raises(ValueError, match="weights are positive and add up to 1"):
        GaussianMixture(ones, torch.zeros(2, 1), ones.view(2, 1, 1))
    with pytest.raises(ValueError, match=r"means \(K, D\) and weights \(K,\)"):
        GaussianMixture(ones / 2, torch.zeros(3, 1), ones.view(2, 1, 1))
    with pytest.raises(ValueError, match=r"\(spherical\) is not positive definite: of component \[1\]"):
        GaussianMixture(ones / 2, torch.zeros(2, 1), torch.tensor([1.0, -1.0]), "spherical")
    with pytest.raises(ValueError, match=r"y must be \(B, 3\)"):
        model.free_energy(y=y[:, :2])
    with pytest.raises(TypeError, match=r"z numbers components, \(B,\) int64"):
        model(y=y, z=torch.zeros(20, 4))
    with pytest.raises(ValueError, match="at least 21 rows of data are needed; there are 20"):
        GaussianMixture.from_data(y, 21)
    with pytest.raises(ValueError, match="at least 4 rows"):
        model.fit(y[:3])
    y[4, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 20 rows, \[4\]"):
        model.fit(y)
    with pytest.raises(ValueError, match=r"\[4\]"):
        model.infer(y)

"""Independent components: a normalized density, planted sources found again, scikit-learn's FastICA."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from sklearn.decomposition import FastICA as SklearnFastICA
from torch import Tensor

from ebm import minimize
from ebm.infer import LBFGS
from ebm.loss import AverageEnergy
from ebm.regularized import FastICA, SquareICA
from ebm.regularized.fast_ica import CONTRASTS, rotation, white
from ebm.regularized.square_ica import log_cosh, mean_energy
from ebm.train import fit


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5


def laplace(*shape: int, seed: int = 0) -> Tensor:
    u = uniform(*shape, seed=seed)
    return -u.sign() * (1 - 2 * u.abs()).log()


def amari(p: Tensor) -> float:
    """How far P = W A is from a scaled permutation, 0 to 1 (Amari, Cichocki & Yang 1996, normalized)."""
    p = p.abs()
    rows = (p.sum(1) / p.amax(1) - 1).sum() + (p.sum(0) / p.amax(0) - 1).sum()
    return float(rows) / (2 * len(p) * (len(p) - 1))


@pytest.fixture
def model():
    return SquareICA(draw(3, 3), draw(3, seed=1))


def test_the_energy_is_minus_the_log_density(model):
    y = draw(50, 3, seed=2)
    s = (y - model.mean) @ model.unmixing.detach().T
    density = (1 / (math.pi * s.cosh())).prod(1) * torch.linalg.det(model.unmixing.detach()).abs()
    torch.testing.assert_close(model(y=y).detach(), -density.log())
    value, gradient = model.value_and_grad("y", y=y)
    y.requires_grad_()
    torch.testing.assert_close(value, model(y=y))
    torch.testing.assert_close(gradient, torch.autograd.grad(model(y=y).sum(), y)[0])
    torch.testing.assert_close(model.decode(model.encode(y)), y)


def test_the_density_integrates_to_one():
    model = SquareICA(torch.tensor([[1.0, 0.5], [-0.7, 1.5]], dtype=torch.float64))
    axis = torch.linspace(-60, 60, 1201, dtype=torch.float64)
    total = (-model(y=torch.cartesian_prod(axis, axis))).exp().sum() * 0.1**2
    assert float(total.detach()) == pytest.approx(1, abs=1e-8)


def test_signs_and_order_of_sources_mean_nothing(model):
    y = draw(20, 3, seed=2)
    turned = SquareICA((model.unmixing[[2, 0, 1]] * torch.tensor([[1.0], [-1.0], [-1.0]])), model.mean)
    torch.testing.assert_close(turned(y=y), model(y=y))


def test_log_cosh_does_not_overflow():
    s = torch.tensor([-2000.0, -1.0, 0.0, 1e-9, 3.0], dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([2000 - math.log(2), math.log(math.cosh(1)), 0, 0, math.log(math.cosh(3))])
    torch.testing.assert_close(log_cosh(s).detach(), expected.double(), atol=1e-15, rtol=1e-7)
    assert torch.autograd.gradcheck(log_cosh, s) and torch.autograd.gradgradcheck(log_cosh, s)


def test_samples_have_the_density(model):
    """Each source is 1 / (π cosh): variance π²/4; mean energy is the entropy."""
    n = 40_000
    s = model.encode(model.sample(n, torch.Generator().manual_seed(0))).detach()
    error = s.square().std(0) / n**0.5
    assert ((s.square().mean(0) - math.pi**2 / 4).abs() < 4 * error).all()
    assert (s.mean(0).abs() < 4 * s.std(0) / n**0.5).all()
    correlation = (s.T @ s / n - torch.diag(s.square().mean(0))).abs().max()
    assert correlation < 5 * math.pi**2 / 4 / n**0.5
    quantile = s.quantile(torch.tensor([0.25, 0.75]).double(), dim=0)  # log tan(π/8), log tan(3π/8)
    exact = math.log(math.tan(math.pi / 8))
    assert (quantile[0] - exact).abs().max() < 0.03 and (quantile[1] + exact).abs().max() < 0.03


def test_the_relative_gradient_is_zero_at_the_fit():
    y = laplace(5000, 3) @ draw(3, 3, seed=3) + 5
    model = SquareICA.from_data(y)
    history = model.fit(y, tol=1e-9)
    s = model.encode(y).detach()
    relative = s.tanh().T @ s / len(s) - torch.eye(3)
    assert relative.abs().max() < 1e-8
    energy = history.column("energy")
    assert float(energy[-1]) == pytest.approx(float(model(y=y).mean().detach()), rel=1e-10)
    assert energy[-1] < energy[0] and float(energy[-1]) == float(energy.min())
    torch.testing.assert_close(model.mean, y.mean(0))


def test_planted_laplace_sources_are_found_again():
    mixing = draw(4, 4, seed=3)
    y = laplace(100_000, 4) @ mixing.T
    model = SquareICA.from_data(y)
    start = amari(model.unmixing.detach() @ mixing)
    model.fit(y, tol=1e-7)
    assert amari(model.unmixing.detach() @ mixing) < 0.01 < start
    found = FastICA.fit(y, generator=torch.Generator().manual_seed(0))
    assert amari(found.unmixing @ mixing) < 0.01 and found.converged


def test_its_own_samples_fit_best(model):
    """With as many draws the likeliest W is near the true one, and lower in energy on them."""
    y = model.sample(50_000, torch.Generator().manual_seed(0))
    learned = SquareICA.from_data(y)
    learned.fit(y)
    mixing = torch.linalg.inv(model.unmixing.detach())
    assert amari(learned.unmixing.detach() @ mixing) < 0.01
    gap = float((model(y=y) - learned(y=y)).mean().detach())
    assert 0 < gap < 20 * 9 / (2 * 50_000)  # about half a parameter over N each
    assert learned(y=y).mean() < learned(y=y + 5).mean() - 1  # low on the data, not off them


def test_the_loop_of_all_models_learns_it_too():
    y = laplace(2000, 2) @ draw(2, 2, seed=3)
    exact, learned = SquareICA.from_data(y), SquareICA.from_data(y)
    exact.fit(y)
    fit(
        learned,
        AverageEnergy(),
        {"y": y},
        optimizer=torch.optim.Adam(learned.parameters(), lr=0.02),
        steps=500,
        batch_size=2000,
        generator=torch.Generator().manual_seed(0),
        progress=False,
    )
    gap = float((learned(y=y) - exact(y=y)).mean().detach())
    assert 0 <= gap + 1e-9 < 1e-4


def test_the_mean_energy_is_the_energy():
    x, m = draw(30, 3), draw(2, 3, 3, seed=1)
    expected = [SquareICA(each)(y=x).mean().detach() - 3 * math.log(math.pi) for each in m]
    torch.testing.assert_close(mean_energy(m=m, x=x.expand(2, 30, 3)), torch.stack(expected))
    found = minimize(mean_energy, {"m": m}, LBFGS(), given={"x": x.expand(2, 30, 3)}, tol=1e-7)
    assert found.converged.all()


@pytest.mark.parametrize("contrast", list(CONTRASTS))
def test_fast_ica_separates_light_and_heavy_tails(contrast):
    mixing = draw(4, 4, seed=3)
    sources = torch.cat([laplace(100_000, 2), uniform(100_000, 2, seed=1)], 1)
    found = FastICA.fit(
        sources @ mixing.T + 3, contrast=contrast, tol=1e-8, generator=torch.Generator().manual_seed(0)
    )
    assert amari(found.unmixing @ mixing) < 0.01 and found.converged
    s = found.encode(sources @ mixing.T + 3)
    torch.testing.assert_close(s.T @ s / len(s), torch.eye(4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(found.decode(s), sources @ mixing.T + 3)


@pytest.mark.parametrize("contrast", list(CONTRASTS))
def test_fast_ica_is_that_of_scikit_learn(contrast):
    sources = torch.cat([laplace(3000, 2), uniform(3000, 2, seed=1)], 1)
    y = sources @ draw(4, 4, seed=3)
    start = rotation(draw(4, 4, seed=9))
    found = FastICA.fit(y, contrast=contrast, tol=1e-12, start=start)
    theirs = SklearnFastICA(
        fun=contrast,
        tol=1e-12,
        max_iter=500,
        w_init=start.numpy(),
        whiten="unit-variance",
        whiten_solver="svd",
    ).fit(y.numpy())
    unmixing = torch.from_numpy(theirs.components_)
    p = found.unmixing @ torch.linalg.inv(unmixing)  # a signed permutation
    nearest = p.abs().round()
    torch.testing.assert_close(p.abs(), nearest, atol=1e-6, rtol=0)
    assert (nearest.sum(0) == 1).all() and (nearest.sum(1) == 1).all()


def test_fewer_sources_than_numbers():
    mixing = draw(5, 2, seed=3)
    sources = uniform(20_000, 2)
    found = FastICA.fit(sources @ mixing.T, 2, generator=torch.Generator().manual_seed(0))
    assert found.unmixing.shape == (2, 5) and amari(found.unmixing @ mixing) < 0.02
    torch.testing.assert_close(found.unmixing @ found.mixing, torch.eye(2).double(), atol=1e-9, rtol=0)


def test_whitening_and_blocks(monkeypatch):
    y = draw(500, 4) @ draw(4, 4, seed=1) + 7
    mean, whitener, colorer = white(y, 4)
    x = (y - mean) @ whitener.T
    torch.testing.assert_close(x.T @ x / 500, torch.eye(4).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(colorer @ whitener, torch.eye(4).double(), atol=1e-10, rtol=0)
    y = uniform(500, 4)
    start = draw(4, 4)
    whole = FastICA.fit(y, start=start)
    monkeypatch.setattr("ebm.regularized.fast_ica.ON_CPU", 40)
    torch.testing.assert_close(FastICA.fit(y, start=start).unmixing, whole.unmixing)


def test_gaussian_sources_warn():
    with pytest.warns(UserWarning, match="Two Gaussian sources have no rotation of their own"):
        assert not FastICA.fit(draw(400, 5), max_steps=3, tol=1e-12, start=torch.eye(5).double()).converged


def test_bad_input(model):
    y = draw(40, 3)
    with pytest.raises(ValueError, match=r"W is \(D, D\)"):
        SquareICA(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="W must be invertible"):
        SquareICA(torch.ones(2, 2))
    with pytest.raises(ValueError, match="as wide as W"):
        SquareICA(torch.eye(2), torch.zeros(3))
    with pytest.raises(ValueError, match=r"y must be \(B, 3\)"):
        model(y=y[:, :2])
    for learn in (SquareICA.from_data, model.fit, FastICA.fit):
        with pytest.raises(ValueError, match="vary in 2 directions, so there are 2 sources at most; got 3"):
            learn(torch.cat([y[:, :2], torch.ones(40, 1).double()], 1))
        bad = y.clone()
        bad[11] = torch.inf
        with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 40 rows, \[11\]"):
            learn(bad)
    with pytest.raises(ValueError, match="contrast is one of 'logcosh', 'exp', 'cube'; got 'tanh'"):
        FastICA.fit(y, contrast="tanh")
    with pytest.raises(ValueError, match=r"start is W of white data, \(3, 3\)"):
        FastICA.fit(y, start=torch.eye(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FastICA.fit(uniform(2000, 2), generator=torch.Generator().manual_seed(0))

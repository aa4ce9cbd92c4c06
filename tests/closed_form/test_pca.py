"""Principal components, plain and probabilistic: against scikit-learn, minimization and the Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA as SklearnPCA
from torch import Tensor

from ebm import marginal_over, minimize
from ebm.infer import LBFGS
from ebm.nodes import Grid
from ebm.regularized import PCA, ProbabilisticPCA


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(rows: int = 300, dim: int = 6) -> Tensor:
    return draw(rows, dim, seed=4) @ draw(dim, dim, seed=5) + 10 * draw(dim, seed=6)


@pytest.fixture
def y():
    return data()


@pytest.mark.parametrize("rows", [300, 5])
def test_components_are_those_of_scikit_learn(rows):
    y = data(rows)
    model, theirs = PCA.from_data(y, 3), SklearnPCA(3, svd_solver="full").fit(y.numpy())
    torch.testing.assert_close(model.components, torch.from_numpy(theirs.components_))  # signs too
    torch.testing.assert_close(model.mean, torch.from_numpy(theirs.mean_))
    torch.testing.assert_close(model.variances, torch.from_numpy(theirs.explained_variance_))
    explained = model.fit(y).rows[0]["explained"]
    assert explained == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-10)
    z = torch.from_numpy(theirs.transform(y.numpy()))
    torch.testing.assert_close(model.infer(y).value, z)
    torch.testing.assert_close(model.decode(z), torch.from_numpy(theirs.inverse_transform(z.numpy())))


def test_inference_is_minimization(y):
    model = PCA.from_data(y, 3)
    found = model.infer(y[:8])
    oracle = minimize(model, torch.zeros(8, 3).double(), LBFGS(), given={"y": y[:8]}, tol=1e-10)
    torch.testing.assert_close(found.value, oracle.value)
    torch.testing.assert_close(found.energy, oracle.energy)
    torch.testing.assert_close(model.free_energy(y=y[:8]), oracle.energy)
    matrix, linear, constant = model.quadratic("z", y=y[:8])
    z = draw(8, 3)
    form = 0.5 * torch.einsum("bk,kj,bj->b", z, matrix, z) - (linear * z).sum(1) + constant
    torch.testing.assert_close(form, model(y=y[:8], z=z))
    assert model.quadratic("y", z=z) is None


def test_no_plane_has_less_energy(y):
    model = PCA.from_data(y, 2)
    history = model.fit(y)
    best = float(model.free_energy(y=y).mean())
    assert history.rows[0]["energy"] == pytest.approx(best, rel=1e-10)
    for seed in range(20):
        turned = torch.linalg.qr((model.components + 0.05 * draw(2, 6, seed=seed)).T).Q.T
        assert float(PCA(turned, model.mean).free_energy(y=y).mean()) > best
    assert float(PCA(model.components, model.mean + 0.1).free_energy(y=y).mean()) > best


def test_as_many_components_as_directions_collapse(y):
    """The bottleneck is the regularizer: without it every point has energy 0."""
    assert PCA.from_data(y, 6).free_energy(y=10 * draw(20, 6)).max() < 1e-20
    assert PCA.from_data(y, 5).free_energy(y=10 * draw(20, 6)).min() > 1e-4


def test_digits_far_from_the_origin():
    y = data(400) * torch.tensor([1.0, 1.0, 1.0, 1e-4, 1e-5, 1e-6]).double()
    near, far = PCA.from_data(y, 6), PCA.from_data(y + 1e3, 6)
    torch.testing.assert_close(far.variances, near.variances, rtol=1e-5, atol=0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_free_energy_is_the_gaussian(k, y):
    model = ProbabilisticPCA.from_data(y, k)
    covariance = model.weights.T @ model.weights + model.noise * torch.eye(6)
    normal = multivariate_normal(model.mean.numpy(), covariance.numpy())
    torch.testing.assert_close(model.free_energy(y=y), -torch.from_numpy(normal.logpdf(y.numpy())))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_free_energy_is_scikit_learns(k, y):
    """Which divides by N - 1: the same as other data, larger by √(N / (N - 1))."""
    model, theirs = ProbabilisticPCA.from_data(y, k), SklearnPCA(k, svd_solver="full").fit(y.numpy())
    ratio = len(y) / (len(y) - 1)
    other = ProbabilisticPCA(model.weights * math.sqrt(ratio), model.mean, float(model.noise) * ratio)
    scores = torch.from_numpy(theirs.score_samples(y.numpy()))
    torch.testing.assert_close(other.free_energy(y=y), -scores, rtol=1e-9, atol=1e-9)
    assert float(model.free_energy(y=y).mean()) < float(-scores.mean())  # ours is the maximum of likelihood


def test_free_energy_is_the_marginal():
    """The integral over z, by quadrature."""
    model = ProbabilisticPCA(draw(2, 3), draw(3, seed=1), 0.5)
    y = draw(5, 3, seed=2)
    free = marginal_over(model, "z", 1.0, Grid([-9.0, -9.0], [9.0, 9.0], 120, normalized=False))
    torch.testing.assert_close(model.free_energy(y=y), free(y=y), rtol=1e-9, atol=1e-9)
    mean, covariance = model.posterior(y)
    posterior = free.posterior(y=y)
    torch.testing.assert_close(mean, posterior.mean, atol=1e-8, rtol=0)
    d = posterior.nodes[0] - mean[0]
    products = torch.einsum("n,nk,nj->kj", posterior.probability[0], d, d)
    torch.testing.assert_close(covariance, products, atol=1e-8, rtol=0)


def test_the_posterior_mean_minimizes(y):
    model = ProbabilisticPCA.from_data(y, 3)
    found = model.infer(y[:8])
    oracle = minimize(
        model, torch.zeros(8, 3).double(), LBFGS(), given={"y": y[:8]}, tol=1e-9, max_steps=2000
    )
    torch.testing.assert_close(found.value, oracle.value, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(found.energy, oracle.energy)
    matrix, linear, constant = model.quadratic("z", y=y[:8])
    z = draw(8, 3)
    form = 0.5 * torch.einsum("bk,kj,bj->b", z, matrix, z) - (linear * z).sum(1) + constant
    torch.testing.assert_close(form, model(y=y[:8], z=z))


def test_the_fit_is_the_maximum_of_the_likelihood(y):
    model = ProbabilisticPCA.from_data(y, 2)
    assert model.fit(y).rows[0]["energy"] == pytest.approx(float(model.free_energy(y=y).mean()), rel=1e-10)
    for name in ("weights", "mean", "noise"):
        setattr(model, name, getattr(model, name).clone().requires_grad_())
    slopes = torch.autograd.grad(model.free_energy(y=y).mean(), [model.weights, model.mean, model.noise])
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-8


def test_samples_have_the_covariance():
    model = ProbabilisticPCA(draw(2, 4), draw(4, seed=1), 0.3)
    n = 40_000
    draws = model.sample(n, torch.Generator().manual_seed(0))
    d = draws - model.mean
    assert (d.mean(0).abs() < 4 * d.std(0) / n**0.5).all()
    products = d.unsqueeze(2) * d.unsqueeze(1)
    expected = model.weights.T @ model.weights + model.noise * torch.eye(4)
    assert ((products.mean(0) - expected).abs() < 4 * products.std(0) / n**0.5).all()


def test_float32(y):
    model = ProbabilisticPCA.from_data(y.float(), 3)
    exact = ProbabilisticPCA.from_data(y, 3)
    assert model.weights.dtype == torch.float32
    torch.testing.assert_close(model.weights.double(), exact.weights, rtol=1e-4, atol=1e-4)
    assert PCA.from_data(y.float(), 2).components.dtype == torch.float32


def test_bad_input(y):
    model = PCA.from_data(y, 2)
    with pytest.raises(ValueError, match=r"components are \(K, D\), 1 <= K <= D"):
        PCA(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="rows of W must be orthonormal"):
        PCA(torch.ones(1, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"belong a mean \(D,\)"):
        PCA(torch.eye(2), torch.zeros(3))
    with pytest.raises(
        ValueError, match="4 rows of 6 numbers vary in 3 directions at most; got 4 components"
    ):
        PCA.from_data(y[:4], 4)
    with pytest.raises(ValueError, match="all rows of the data are equal"):
        PCA.from_data(torch.ones(5, 3), 1)
    with pytest.raises(ValueError, match="k must be below D = 6"):
        ProbabilisticPCA.from_data(y, 6)
    with pytest.raises(ValueError, match="no variance off a plane of 2 dimensions"):
        ProbabilisticPCA.from_data(draw(50, 2) @ draw(2, 4, seed=1), 2)
    with pytest.raises(ValueError, match="noise must be finite and positive"):
        ProbabilisticPCA(torch.ones(1, 2), torch.zeros(2), 0.0)
    with pytest.raises(ValueError, match=r"expected weights \(K, D\), 1 <= K < D"):
        ProbabilisticPCA(torch.ones(2, 2), torch.zeros(2), 1.0)
    for energy in (model, ProbabilisticPCA.from_data(y, 2)):
        with pytest.raises(ValueError, match=r"y must be \(B, 6\)"):
            energy.free_energy(y=y[:, :4])
        bad = y.clone()
        bad[9, 2] = torch.nan
        with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 300 rows, \[9\]"):
            energy.fit(bad)
        with pytest.raises(ValueError, match=r"\[9\]"):
            energy.infer(bad)

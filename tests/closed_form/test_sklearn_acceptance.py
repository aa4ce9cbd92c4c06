"""What scikit-learn states or finds on its own small data sets, and what the models here find there.

Numbers in the code are those of scikit-learn's documentation and examples; the others are computed by the
installed scikit-learn, from the same start where there is one.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.cluster
import sklearn.datasets
import sklearn.decomposition
import sklearn.mixture
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm.infer import CoordinateDescent
from ebm.regularized import PCA, FastICA, GaussianMixture, KMeans, ProbabilisticPCA, SparseCoding
from ebm.regularized.covariances import KINDS, Covariance
from ebm.solution import one_tensor

Array = NDArray[np.float64]
IRIS: Array = sklearn.datasets.load_iris().data
LABELS = sklearn.datasets.load_iris().target
DIGITS: Array = sklearn.datasets.load_digits().data


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def theirs(covariance: Covariance) -> str:
    return {"diagonal": "diag"}.get(covariance, covariance)


# --- k-means ------------------------------------------------------------------------------------------------


def test_three_clusters_of_iris_have_the_known_inertia() -> None:
    y = tensor(IRIS)
    model = KMeans.from_data(y, 3, generator=seeded())
    history = model.fit(y, n_init=10, tol=0.0, generator=seeded(1))
    assert history.rows[-1]["inertia"] == pytest.approx(78.851441, abs=1e-6)
    found = one_tensor(model.infer(y).value).numpy()
    assert sorted(np.bincount(found).tolist()) == [38, 50, 62]
    # of scikit-learn's example of clustering scores: setosa is a cluster of its own
    assert len(set(found[LABELS == 0])) == 1 and sklearn.metrics.adjusted_rand_score(LABELS, found) == (
        pytest.approx(0.7302, abs=1e-4)
    )


@pytest.mark.parametrize(("rows", "k"), [(1797, 10), (500, 25)])
def test_lloyd_takes_the_same_way_from_the_same_start(rows: int, k: int) -> None:
    data = DIGITS[:rows]
    random = np.random.RandomState(3)
    start = data[random.permutation(rows)[:k]] + 0.01 * random.randn(k, 64)  # no row is as near to two
    reference = sklearn.cluster.KMeans(k, init=start, n_init=1, tol=0.0, algorithm="lloyd").fit(data)
    model = KMeans(tensor(start))
    history = model.fit(tensor(data), tol=0.0)
    assert history.rows[-1]["inertia"] == pytest.approx(reference.inertia_, rel=1e-12)
    np.testing.assert_allclose(model.centers.numpy(), reference.cluster_centers_, atol=1e-10)
    np.testing.assert_array_equal(one_tensor(model.infer(tensor(data)).value).numpy(), reference.labels_)


def test_blobs_are_found_by_either_start() -> None:
    """scikit-learn's test_fit_predict and test_kmeans_results: well separated clusters are found exactly."""
    data, labels = sklearn.datasets.make_blobs(
        100, centers=[[0, 5, 0, 0, 0], [1, 1, 4, 0, 0], [1, 0, 0, 5, 1]], cluster_std=1.0, random_state=42
    )
    for start in ("k-means++", "random"):
        model = KMeans.from_data(tensor(data), 3, start=start, generator=seeded(2))  # type: ignore[arg-type]
        model.fit(tensor(data), n_init=10, start=start, generator=seeded(3))  # type: ignore[arg-type]
        found = one_tensor(model.infer(tensor(data)).value).numpy()
        assert sklearn.metrics.v_measure_score(labels, found) == 1.0
    tiny = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1]])  # with the weights 3, 1, 1, 3 of their test
    repeated = tensor(np.repeat(tiny, [3, 1, 1, 3], axis=0))
    small = KMeans(tensor(np.array([[0.0, 0.0], [1.0, 1.0]])))
    assert small.fit(repeated).rows[-1]["inertia"] == pytest.approx(0.375, abs=1e-12)
    torch.testing.assert_close(small.centers, torch.tensor([[0.125, 0.0], [0.875, 1.0]]).double())


# --- principal components -----------------------------------------------------------------------------------


def test_the_explained_variances_of_iris_are_the_known_ones() -> None:
    y = tensor(IRIS)
    model = PCA.from_data(y, 4)
    shares = (model.variances / model.variances.sum()).numpy()
    np.testing.assert_allclose(shares, [0.92461872, 0.05306648, 0.01710261, 0.00521218], atol=5e-9)
    np.testing.assert_allclose(model.variances, [4.22824171, 0.24267075, 0.0782095, 0.02383509], atol=5e-9)
    first = [0.36138659, -0.08452251, 0.85667061, 0.3582892]
    np.testing.assert_allclose(model.components[0], first, atol=5e-9)
    two = PCA.from_data(y, 2)
    explained = float(two.fit(y).rows[0]["explained"])
    assert explained == pytest.approx(0.9776852, abs=1e-7)


def test_the_toy_data_of_their_docstring() -> None:
    y = tensor(np.array([[-1, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]]))
    model = PCA.from_data(y, 2)
    np.testing.assert_allclose(model.variances / model.variances.sum(), [0.99244289, 0.00755711], atol=5e-9)
    singular = (model.variances * 5).sqrt()
    np.testing.assert_allclose(singular, [6.30061232, 0.54980396], atol=5e-9)


@pytest.mark.parametrize("k", [2, 10, 40])
def test_digits_reconstructed_and_scored(k: int) -> None:
    y = tensor(DIGITS)
    model, reference = PCA.from_data(y, k), sklearn.decomposition.PCA(k).fit(DIGITS)
    back = reference.inverse_transform(reference.transform(DIGITS))
    np.testing.assert_allclose(model.decode(model.encode(y)).numpy(), back, atol=1e-9)
    density = ProbabilisticPCA.from_data(y, k)
    # theirs is over N - 1, ours over N, the maximum of likelihood
    ratio = (len(DIGITS) - 1) / len(DIGITS)
    assert float(density.noise) == pytest.approx(ratio * reference.noise_variance_, rel=1e-10)
    score = -float(density.free_energy(y=y).mean())
    assert reference.score(DIGITS) < score < reference.score(DIGITS) + 1e-4


# --- mixtures of Gaussians ----------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", KINDS)
def test_expectation_maximization_takes_the_same_way_on_iris(covariance: Covariance) -> None:
    """From the means of the species, as in scikit-learn's example of covariance kinds."""
    means = np.stack([IRIS[k == LABELS].mean(0) for k in range(3)])
    weights, y = np.full(3, 1 / 3), tensor(IRIS)
    precision: Array = np.eye(4)
    whole = {"full": np.stack([precision] * 3), "tied": precision, "diagonal": np.ones((3, 4))}
    begun = whole.get(covariance, np.ones(3))
    reference = sklearn.mixture.GaussianMixture(
        3,
        covariance_type=theirs(covariance),
        weights_init=weights,
        means_init=means,
        precisions_init=begun,
        max_iter=500,
        tol=1e-12,
    ).fit(IRIS)
    model = GaussianMixture(tensor(weights), tensor(means), tensor(begun), covariance)
    model.fit(y, max_steps=500, tol=1e-12)
    np.testing.assert_allclose(model.means, reference.means_, atol=1e-5)
    np.testing.assert_allclose(model.weights, reference.weights_, atol=1e-5)
    np.testing.assert_allclose(model.covariances, reference.covariances_, atol=1e-5)
    free = model.free_energy(y=y).detach()
    assert -float(free.mean()) == pytest.approx(reference.score(IRIS), abs=1e-9)
    sizes = {"full": 30, "tied": 10, "diagonal": 12, "spherical": 3}
    bic = 2 * float(free.sum()) + (sizes[covariance] + 12 + 2) * np.log(len(IRIS))
    assert bic == pytest.approx(reference.bic(IRIS), abs=1e-6)
    if covariance == "full":  # the likelihood of iris by three full components, well known from R's mclust
        assert float(free.sum()) == pytest.approx(180.19, abs=0.01)


def test_the_bic_of_iris_prefers_two_full_components() -> None:
    y, bics = tensor(IRIS), []
    for k in (1, 2, 3, 4):
        model = GaussianMixture.from_data(y, k, generator=seeded())
        model.fit(y, max_steps=500, tol=1e-9)
        count = k * (4 + 10) + k - 1
        bics.append(2 * float(model.free_energy(y=y).sum()) + count * np.log(len(IRIS)))
    assert int(np.argmin(bics)) == 1 and bics[1] == pytest.approx(574.02, abs=0.05)


# --- independent components ---------------------------------------------------------------------------------


@pytest.mark.parametrize("contrast", ["logcosh", "exp", "cube"])
@pytest.mark.parametrize("noisy", [False, True])
def test_two_sources_come_back(contrast: str, noisy: bool) -> None:
    """scikit-learn's test_fastica_simple: a sine's sign and heavy tails, mixed by a rotation of 0.6."""
    random = np.random.RandomState(0)
    t = np.linspace(0, 100, 1000)
    sources = np.stack([2 * np.sin(t) > 0, random.standard_t(1, size=1000)], 1).astype(float)
    sources = (sources - sources.mean(0)) / sources.std(0)
    turn = np.array([[np.cos(0.6), np.sin(0.6)], [np.sin(0.6), -np.cos(0.6)]])
    mixed = sources @ turn.T
    if noisy:
        mixed = mixed + 0.1 * random.randn(1000, 2)
    found = FastICA.fit(tensor(mixed), contrast=contrast, max_steps=500, generator=seeded())  # type: ignore[arg-type]
    s = found.encode(tensor(mixed)).numpy()
    dots = np.abs(s.T @ sources / 1000)
    best = dots[[0, 1], dots.argmax(1)]
    assert sorted(dots.argmax(1)) == [0, 1]
    # their criterion: the dot with the source is 1 to 2 digits, or to 1 with noise
    np.testing.assert_allclose(best, 1, atol=1e-1 if noisy else 1e-2)
    np.testing.assert_allclose(s.var(0), 1, atol=1e-8)  # whitened to unit variance
    np.testing.assert_allclose(found.decode(tensor(s)).numpy(), mixed, atol=1e-8)


def test_fast_ica_finds_the_same_rotation_from_the_same_start() -> None:
    random = np.random.RandomState(1)
    mixed = random.laplace(size=(2000, 4)) @ random.randn(4, 4)
    start = random.randn(4, 4)
    reference = sklearn.decomposition.FastICA(
        w_init=start, whiten="unit-variance", whiten_solver="svd", tol=1e-12, max_iter=2000
    ).fit(mixed)
    found = FastICA.fit(tensor(mixed), start=tensor(start), tol=1e-12, max_steps=2000)
    overlap = np.abs(found.encode(tensor(mixed)).numpy().T @ reference.transform(mixed) / 2000)
    np.testing.assert_allclose(np.sort(overlap, 1)[:, -1], 1, atol=1e-8)
    assert sorted(overlap.argmax(1)) == [0, 1, 2, 3]


# --- dictionaries -------------------------------------------------------------------------------------------


def test_sparse_codes_are_theirs() -> None:
    """sparse_encode minimizes ½ |y - zD|² + α |z|₁ as SparseCoding does."""
    random = np.random.RandomState(2)
    atoms = random.randn(20, 12)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    data = random.randn(30, 12)
    codes = sklearn.decomposition.sparse_encode(data, atoms, algorithm="lasso_lars", alpha=0.3)
    for method in (None, CoordinateDescent()):
        model = SparseCoding(tensor(atoms), 0.3, method=method)
        found = model.infer(tensor(data), max_steps=20_000, tol=1e-9)
        np.testing.assert_allclose(one_tensor(found.value).numpy(), codes, atol=1e-7)
        assert bool((model.duality_gap(tensor(data), tensor(codes)) < 1e-6).all())


def test_a_dictionary_of_digits_is_as_good_as_theirs() -> None:
    data = DIGITS[:300] / 16 - (DIGITS[:300] / 16).mean(1, keepdims=True)
    alpha, atoms = 0.5, 12
    learner = sklearn.decomposition.MiniBatchDictionaryLearning(
        atoms, alpha=alpha, max_iter=10, batch_size=100, random_state=0, fit_algorithm="cd", n_jobs=1
    ).fit(data)
    model = SparseCoding.from_data(tensor(data), atoms, alpha, generator=seeded())
    model.fit(tensor(data), steps=12, batch_size=100, tol=1e-2, generator=seeded(1), progress=False)
    other = SparseCoding(tensor(learner.components_), alpha)
    energies = [float(m.infer(tensor(data)).energy.mean()) for m in (model, other)]
    assert energies[0] < 1.02 * energies[1]

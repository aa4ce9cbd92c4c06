"""scikit-learn's own checks of the adapters, and agreement with its estimators."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA as TheirPCA
from sklearn.mixture import GaussianMixture as TheirMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ebm.regularized.cluster_estimators import KMeansEstimator, MixtureEstimator
from ebm.regularized.code_estimators import PCAEstimator, SparseCodingEstimator

DIGITS = load_digits().data[:400]


@parametrize_with_checks(
    [
        KMeansEstimator(2, random_state=0),
        PCAEstimator(1),
        MixtureEstimator(1, random_state=0),
        SparseCodingEstimator(2, max_iter=3, random_state=0),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_pca_is_theirs():
    ours, theirs = PCAEstimator(5).fit(DIGITS), TheirPCA(5).fit(DIGITS)
    signs = np.sign((ours.components_ * theirs.components_).sum(1))
    np.testing.assert_allclose(ours.transform(DIGITS), theirs.transform(DIGITS) * signs, atol=1e-8)
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(DIGITS)).mean(), DIGITS.mean())
    np.testing.assert_allclose(ours.components_ @ ours.components_.T, np.eye(5), atol=1e-10)


def test_mixture_and_k_means_are_as_good_as_theirs():
    data = StandardScaler().fit_transform(DIGITS[:, 18:22])
    ours, theirs = MixtureEstimator(3, random_state=0), TheirMixture(3, random_state=0, n_init=5)
    assert ours.fit(data).score(data) > theirs.fit(data).score(data) - 0.3
    np.testing.assert_allclose(ours.predict_proba(data).sum(1), 1.0)
    means = KMeansEstimator(5, n_init=5, random_state=0).fit(data)
    assert means.inertia_ < 1.02 * TheirKMeans(5, n_init=5, random_state=0).fit(data).inertia_
    np.testing.assert_allclose(means.score(data), -means.inertia_, rtol=1e-10)
    np.testing.assert_array_equal(means.transform(data).argmin(1), means.predict(data))


def test_they_stand_in_a_pipeline():
    codes = make_pipeline(PCAEstimator(10), SparseCodingEstimator(12, alpha=1.0, random_state=0))
    found = codes.fit_transform(DIGITS)
    assert found.shape == (400, 12) and (found == 0).any()
    assert list(codes.get_feature_names_out()[:1]) == ["sparsecodingestimator0"]


def test_no_density_without_noise():
    full = PCAEstimator(4).fit(DIGITS[:, 18:22])
    with pytest.raises(ValueError, match="fewer components"):
        full.score_samples(DIGITS[:, 18:22])

"""Clusters and mixtures as scikit-learn's estimators: numpy arrays in and out.

KMeansEstimator     predict: the nearest center    transform: distances to all    score: -inertia
MixtureEstimator    predict: z*, predict_proba     score_samples: log p(y) = -F(y)
"""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from ebm.regularized.covariances import Covariance
from ebm.regularized.estimator import Array, Estimator, array_of
from ebm.regularized.gaussian_mixture import GaussianMixture
from ebm.regularized.k_means import KMeans


class KMeansEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator):
    """`KMeans` as scikit-learn's.

    Args:
        n_clusters: K.
        n_init: how many times it begins anew; the best counts.
        max_iter: means at most.
        tol: as in `KMeans.fit`.
        random_state: of the starts.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0], [0.2], [5.0], [5.2]])
        >>> KMeansEstimator(2, random_state=0).fit(X).cluster_centers_.ravel().round(1)
        array([0.1, 5.1])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
    ):
        self.n_clusters, self.n_init, self.max_iter, self.tol = n_clusters, n_init, max_iter, tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the centers of X, (N, D)."""
        data, generator = self.checked(X, fitted=False), self.generator()
        self.model_ = KMeans.from_data(data, self.n_clusters, generator=generator)
        history = self.model_.fit(
            data,
            max_steps=self.max_iter,
            tol=self.tol,
            n_init=self.n_init,
            generator=generator,
            progress=False,
        )
        self.refuse_cut(history)
        self.cluster_centers_ = self.model_.centers.numpy()
        self.labels_ = array_of(self.model_.infer(data).value)
        self.inertia_ = float(history.rows[-1]["inertia"])
        self.n_iter_ = max(1, len(history) - 1)
        self._n_features_out = len(self.cluster_centers_)
        return self

    def predict(self, X: Any) -> Array:
        """The nearest center of every row, (N,)."""
        check_is_fitted(self)
        return array_of(self.model_.infer(self.checked(X)).value)

    def transform(self, X: Any) -> Array:
        """Distances to all centers, (N, K)."""
        check_is_fitted(self)
        return torch.cdist(self.checked(X), self.model_.centers).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the inertia of X."""
        check_is_fitted(self)
        return -float(self.model_.free_energy(y=self.checked(X)).sum())


class MixtureEstimator(DensityMixin, Estimator):
    """`GaussianMixture` as scikit-learn's.

    Args:
        n_components: K.
        covariance: "full", "tied", "diagonal" or "spherical".
        max_iter, tol, reg_covar: as in `GaussianMixture.fit`.
        random_state: of the start.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0], [0.2], [0.1], [5.0], [5.2], [5.1]])
        >>> MixtureEstimator(2, random_state=0).fit(X).weights_
        array([0.5, 0.5])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance: Covariance = "full",
        max_iter: int = 100,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        random_state: Any = None,
    ):
        self.n_components, self.covariance, self.max_iter = n_components, covariance, max_iter
        self.tol, self.reg_covar, self.random_state = tol, reg_covar, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Expectation and maximization on X, (N, D)."""
        data = self.checked(X, fitted=False, least=2)
        self.model_ = GaussianMixture.from_data(
            data, self.n_components, self.covariance, reg_covar=self.reg_covar, generator=self.generator()
        )
        history = self.model_.fit(
            data, max_steps=self.max_iter, tol=self.tol, reg_covar=self.reg_covar, progress=False
        )
        self.refuse_cut(history)
        self.weights_, self.means_ = self.model_.weights.numpy(), self.model_.means.numpy()
        self.covariances_ = self.model_.covariances.numpy()
        self.n_iter_ = max(1, len(history) - 1)
        return self

    def predict(self, X: Any) -> Array:
        """The likeliest component of every row, (N,)."""
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: Any) -> Array:
        """Responsibilities, (N, K)."""
        check_is_fitted(self)
        return self.model_.responsibilities(self.checked(X)).numpy()

    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `predict`."""
        return self.fit(X).predict(X)

    def score_samples(self, X: Any) -> Array:
        """log p of every row, (N,)."""
        check_is_fitted(self)
        return -self.model_.free_energy(y=self.checked(X)).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p."""
        return float(self.score_samples(X).mean())

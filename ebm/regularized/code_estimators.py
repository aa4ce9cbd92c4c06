"""PCA and sparse coding as scikit-learn's estimators: numpy arrays in and out.

PCAEstimator             transform: z*    score_samples: log p(y), of probabilistic PCA
SparseCodingEstimator    transform: z*
"""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from ebm.regularized.estimator import Array, Estimator, array_of
from ebm.regularized.pca import PCA
from ebm.regularized.ppca import ProbabilisticPCA
from ebm.regularized.sparse_coding import SparseCoding


class PCAEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """`PCA` as scikit-learn's, with the scores of `ProbabilisticPCA`.

    Args:
        n_components: K, less than the columns of X.
        random_state: not used; the fit is exact.

    Example:
        >>> import numpy as np
        >>> X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.1]])
        >>> PCAEstimator(1).fit_transform(X).ravel().round(2)
        array([-1.44, -0.02,  1.46])
    """

    def __init__(self, n_components: int = 1, *, random_state: Any = None):
        self.n_components, self.random_state = n_components, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the plane of X, (N, D)."""
        data = self.checked(X, fitted=False, least=2)
        self.model_ = PCA.from_data(data, self.n_components)
        self.density_ = None
        if self.n_components < min(data.shape[1], len(data) - 1):
            self.density_ = ProbabilisticPCA.from_data(data, self.n_components)
            self.density_.fit(data)
        self.components_, self.mean_ = self.model_.components.numpy(), self.model_.mean.numpy()
        self._n_features_out = len(self.components_)
        return self

    def transform(self, X: Any) -> Array:
        """Codes, (N, K)."""
        check_is_fitted(self)
        return self.model_.encode(self.checked(X)).numpy()

    def inverse_transform(self, Z: Any) -> Array:
        """What codes (N, K) stand for, (N, D)."""
        check_is_fitted(self)
        return self.model_.decode(torch.as_tensor(Z).to(self.model_.mean)).numpy()

    def score_samples(self, X: Any) -> Array:
        """log p of every row, (N,)."""
        check_is_fitted(self)
        if self.density_ is None:
            raise ValueError(
                "no direction is left for the noise, so there is no density; take fewer components."
            )
        return -self.density_.free_energy(y=self.checked(X)).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p."""
        return float(self.score_samples(X).mean())


class SparseCodingEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """`SparseCoding` as scikit-learn's dictionary learners.

    Args:
        n_components: atoms; at most the rows of X that aren't zero.
        alpha: λ.
        max_iter: batches to learn from.
        batch_size: rows to a batch.
        random_state: of the first atoms and the order of the rows.

    Example:
        >>> import numpy as np
        >>> X = np.eye(4)[np.arange(40) % 4]
        >>> SparseCodingEstimator(4, alpha=0.1, random_state=0).fit_transform(X).shape
        (40, 4)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        alpha: float = 0.1,
        max_iter: int = 50,
        batch_size: int = 256,
        random_state: Any = None,
    ):
        self.n_components, self.alpha, self.max_iter = n_components, alpha, max_iter
        self.batch_size, self.random_state = batch_size, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn atoms from X, (N, D)."""
        data, generator = self.checked(X, fitted=False), self.generator()
        self.model_ = SparseCoding.from_data(data, self.n_components, self.alpha, generator=generator)
        steps, size = self.max_iter, self.batch_size
        history = self.model_.fit(data, steps=steps, batch_size=size, generator=generator, progress=False)
        self.refuse_cut(history)
        self.components_, self.n_iter_ = self.model_.dictionary.numpy(), len(history)
        self._n_features_out = len(self.components_)
        return self

    def transform(self, X: Any) -> Array:
        """Codes, (N, K)."""
        check_is_fitted(self)
        return array_of(self.model_.infer(self.checked(X), tol=1e-7).value)

    def inverse_transform(self, Z: Any) -> Array:
        """What codes (N, K) stand for, (N, D)."""
        check_is_fitted(self)
        return self.model_.decode(torch.as_tensor(Z).to(self.model_.dictionary)).numpy()

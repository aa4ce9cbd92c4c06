"""What the models as scikit-learn's estimators share: how data come in, and what a seed is.

Thin adapters: everything is done by the models, which are there as `model_`. Energies are low where scores
are high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Generator, Tensor

from ebm.history import History

Array = NDArray[Any]


class Estimator(BaseEstimator):
    """What all have: data come in as arrays of float32 or float64, and a seed makes a generator."""

    random_state: Any

    def checked(self, X: Any, fitted: bool = True, least: int = 1) -> Tensor:
        """X as a tensor (N, D), after scikit-learn's checks; a copy, as it may be read-only."""
        if fitted:
            check_is_fitted(self)
        array = validate_data(
            self, X, reset=not fitted, dtype=[np.float64, np.float32], ensure_min_samples=least
        )
        return torch.from_numpy(np.array(array))

    @staticmethod
    def refuse_cut(history: History) -> None:
        """Hand on the Ctrl-C that cut a fit short, so that a search over settings ends, too."""
        if history.interrupted:
            raise KeyboardInterrupt

    def generator(self) -> Generator:
        """What is random, from the seed."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return Generator().manual_seed(int(seed))


def array_of(value: Any) -> Array:
    """The one tensor of a solution as an array."""
    return (value if isinstance(value, Tensor) else next(iter(value.values()))).numpy()

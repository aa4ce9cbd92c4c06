"""Gaussian mixtures: ten steps of expectation maximization on 50,000 x 16, 20 full covariances, float64.

The same start as scikit-learn, no stopping before ten M-steps; both sides then take one E-step more. The
check is the mean log-likelihood of a row under the parameters found.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.regularized import GaussianMixture

ROWS, WIDTH, COMPONENTS, STEPS, REG_COVAR = 50_000, 16, 20, 10, 1e-6


def setup() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    factors = 0.5 * draw(COMPONENTS, WIDTH, WIDTH) + torch.eye(WIDTH, dtype=torch.float64)
    means = draw(COMPONENTS, WIDTH)
    which = torch.randint(COMPONENTS, (ROWS,), generator=generator)
    y = means[which] + torch.einsum("nd,nde->ne", draw(ROWS, WIDTH), factors[which])
    return {
        "y": y,
        "weights": torch.full((COMPONENTS,), 1 / COMPONENTS, dtype=torch.float64),
        "means": y[:COMPONENTS].clone(),
        "variance": y.var(0).mean(),
    }


def start(state: dict[str, Tensor]) -> GaussianMixture:
    eye = torch.eye(WIDTH, dtype=torch.float64)
    return GaussianMixture(
        state["weights"], state["means"], (state["variance"] * eye).repeat(COMPONENTS, 1, 1)
    )


def ours(state: dict[str, Tensor]) -> GaussianMixture:
    model = start(state)
    model.fit(state["y"], max_steps=STEPS, tol=0, reg_covar=REG_COVAR)
    return model


def by_sklearn(state: dict[str, Tensor], mixture: Any) -> GaussianMixture:
    precision = torch.eye(WIDTH, dtype=torch.float64) / state["variance"]
    learner = mixture.GaussianMixture(
        COMPONENTS,
        max_iter=STEPS,
        tol=0,
        reg_covar=REG_COVAR,
        weights_init=state["weights"].numpy(),
        means_init=state["means"].numpy(),
        precisions_init=precision.repeat(COMPONENTS, 1, 1).numpy(),
        init_params="random_from_data",  # is overwritten by the three above; the default would run k-means
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, as was asked
        learner.fit(state["y"].numpy())
    weights, means, covariances = learner.weights_, learner.means_, learner.covariances_
    return GaussianMixture(torch.from_numpy(weights), torch.from_numpy(means), torch.from_numpy(covariances))


def likelihood(state: dict[str, Tensor], model: GaussianMixture) -> Answers:
    parts = [model.free_energy(y=part).sum() for part in state["y"].split(5000)]
    return {"mean log-likelihood": -float(sum(parts)) / ROWS}


def unequal(ours: Answers, theirs: Answers) -> str:
    mine, other = (each["mean log-likelihood"] for each in (ours, theirs))
    return "" if abs(mine - other) <= 1e-8 else f"log-likelihood {mine:.10f} here, {other:.10f} there"


CASES = [
    Case(
        "10 steps, 50,000 x 16, 20 full covariances, against scikit-learn",
        ours,
        by_sklearn,
        setup,
        likelihood,
        unequal,
        peer="sklearn.mixture",
        distribution="scikit-learn",
        unit="cpu s",
        at_least=2.5,
    ),
]

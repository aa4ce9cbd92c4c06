"""K-means: ten of Lloyd's iterations on 100,000 x 64 with 256 centers, beside scikit-learn and faiss.

Float32, overlapping Gaussians, the same start, no stopping before ten means; both sides then assign the rows
once more. The check is the inertia of the centers found, computed alike for both in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.regularized import KMeans

ROWS, WIDTH, CENTERS, STEPS = 100_000, 64, 256, 10


def setup() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2 * CENTERS, WIDTH, generator=generator)
    which = torch.randint(len(means), (ROWS,), generator=generator)
    y = means[which] + 1.5 * torch.randn(ROWS, WIDTH, generator=generator)
    return {"y": y, "start": y[torch.randperm(ROWS, generator=generator)[:CENTERS]]}


def ours(state: dict[str, Tensor]) -> Tensor:
    model = KMeans(state["start"].clone())
    model.fit(state["y"], max_steps=STEPS, tol=0)
    return model.centers


def by_sklearn(state: dict[str, Tensor], cluster: Any) -> Tensor:
    learner = cluster.KMeans(
        CENTERS,
        init=state["start"].numpy(),
        n_init=1,
        max_iter=STEPS,
        tol=0,
        algorithm="lloyd",
        copy_x=True,
    )
    return torch.from_numpy(learner.fit(state["y"].numpy()).cluster_centers_)


def by_faiss(state: dict[str, Tensor], faiss: Any) -> Tensor:
    """All rows are used, as on the other sides; it does not assign the rows once more."""
    learner = faiss.Kmeans(
        WIDTH, CENTERS, niter=STEPS, max_points_per_centroid=ROWS, min_points_per_centroid=1, verbose=False
    )
    learner.train(state["y"].numpy(), init_centroids=state["start"].numpy())
    return torch.from_numpy(learner.centroids)


def inertia(state: dict[str, Tensor], centers: Tensor) -> Answers:
    free = KMeans(centers.double()).free_energy
    return {"inertia": float(sum(free(y=part.double()).sum() for part in state["y"].split(10_000)))}


def unequal(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["inertia"], theirs["inertia"]
    return "" if abs(mine - other) <= 1e-4 * other else f"inertia {mine:.6g} here, {other:.6g} there"


CASES = [
    Case(
        "10 iterations, 100,000 x 64, 256 centers, against scikit-learn",
        ours,
        by_sklearn,
        setup,
        inertia,
        unequal,
        peer="sklearn.cluster",
        distribution="scikit-learn",
        unit="cpu s",
        at_least=1.0,
    ),
    Case(
        "10 iterations, 100,000 x 64, 256 centers, against faiss",
        ours,
        by_faiss,
        setup,
        inertia,
        unequal,
        peer="faiss",
        distribution="faiss-cpu",
        unit="cpu s",
        at_least=1 / 1.3,
    ),
]

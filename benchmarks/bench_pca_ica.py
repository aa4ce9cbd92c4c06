"""Principal and independent components beside scikit-learn: the same plane, the same sources.

32 principal components of 100,000 x 128 by singular values on both sides, in float64. 16 independent ones of
100,000 rows by parallel FastICA with log cosh, half of the sources Laplace, half uniform, from the same start
to the same tolerance, whitened by singular values on both sides. The checks are the mean squared error of the
reconstruction, and the Amari distance of the sources.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.regularized import PCA, FastICA

ROWS, WIDTH, COMPONENTS, SOURCES, TOL = 100_000, 128, 32, 16, 1e-8


def plane() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    turn = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    scale = torch.linspace(2, 0.1, WIDTH, dtype=torch.float64)
    return {"y": torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64) * scale @ turn + 3}


def our_plane(state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    model = PCA.from_data(state["y"], COMPONENTS)
    return model.mean, model.components


def plane_by_sklearn(state: dict[str, Tensor], decomposition: Any) -> tuple[Tensor, Tensor]:
    learner = decomposition.PCA(COMPONENTS, svd_solver="full").fit(state["y"].numpy())
    return torch.from_numpy(learner.mean_), torch.from_numpy(learner.components_)


def error(state: dict[str, Tensor], found: tuple[Tensor, Tensor]) -> Answers:
    mean, components = found
    return {"error": 2 * float(PCA(components, mean).free_energy(y=state["y"]).mean())}


def mixtures() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(ROWS, SOURCES, generator=generator, dtype=torch.float64) - 0.5
    sources = torch.where(torch.arange(SOURCES) % 2 == 0, u, -u.sign() * (1 - 2 * u.abs()).log())
    mixing = torch.randn(SOURCES, SOURCES, generator=generator, dtype=torch.float64)
    first = torch.randn(SOURCES, SOURCES, generator=generator, dtype=torch.float64)
    return {"y": sources @ mixing.T, "mixing": mixing, "start": torch.linalg.qr(first).Q}


def our_sources(state: dict[str, Tensor]) -> Tensor:
    return FastICA.fit(state["y"], tol=TOL, start=state["start"]).unmixing


def sources_by_sklearn(state: dict[str, Tensor], decomposition: Any) -> Tensor:
    learner = decomposition.FastICA(
        w_init=state["start"].numpy(), tol=TOL, whiten="unit-variance", whiten_solver="svd"
    )
    return torch.from_numpy(learner.fit(state["y"].numpy()).components_)


def amari(state: dict[str, Tensor], unmixing: Tensor) -> Answers:
    p = (unmixing @ state["mixing"]).abs()
    total = (p.sum(1) / p.amax(1) - 1).sum() + (p.sum(0) / p.amax(0) - 1).sum()
    return {"Amari": float(total) / (2 * SOURCES * (SOURCES - 1))}


def unequal(ours: Answers, theirs: Answers) -> str:
    ((name, mine),) = ours.items()
    other = theirs[name]
    return "" if abs(mine - other) <= 1e-4 * other else f"{name} {mine:.6g} here, {other:.6g} there"


CASES = [
    Case(
        "32 principal components of 100,000 x 128 by singular values, against scikit-learn",
        our_plane,
        plane_by_sklearn,
        plane,
        error,
        unequal,
        peer="sklearn.decomposition",
        distribution="scikit-learn",
        unit="cpu s",
        at_least=1.0,
    ),
    Case(
        "16 independent components of 100,000 rows, against scikit-learn",
        our_sources,
        sources_by_sklearn,
        mixtures,
        amari,
        unequal,
        peer="sklearn.decomposition",
        distribution="scikit-learn",
        unit="cpu s",
        at_least=1.0,
    ),
]

"""The energies bounded by their architecture on the list of energies, with a value for each variable."""

from __future__ import annotations

import torch

from ebm.energy import Energy
from ebm.regularized.covariances import KINDS, Covariance, shape_of
from ebm.regularized.gaussian_mixture import GaussianMixture
from ebm.regularized.k_means import KMeans
from ebm.regularized.pca import PCA
from ebm.regularized.ppca import ProbabilisticPCA
from ebm.regularized.square_ica import SquareICA, mean_energy
from ebm.testing.examples import Example, randn


def architectural_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with its example."""
    y, mean = {"y": randn(4, 3)}, randn(3, seed=2)
    chosen, coded = {**y, "z": torch.tensor([1, 0, 4, 1])}, {**y, "z": randn(4, 2, seed=1)}
    pca = PCA(torch.linalg.qr(randn(3, 2, seed=3)).Q.T, mean)
    probabilistic = ProbabilisticPCA(randn(2, 3, seed=3), mean, 0.5)
    members: dict[str, tuple[Energy, Example]] = {
        "KMeans": (KMeans(randn(5, 3, seed=4)), chosen),
        "KMeansFreeEnergy": (KMeans(randn(5, 3, seed=4)).free_energy, y),
        "PCA": (pca, coded),
        "PCAFreeEnergy": (pca.free_energy, y),
        "ProbabilisticPCA": (probabilistic, coded),
        "ProbabilisticPCAFreeEnergy": (probabilistic.free_energy, y),
        "SquareICA": (SquareICA(randn(3, 3, seed=5), mean), y),
        "mean energy of SquareICA": (mean_energy, {"m": randn(4, 3, 3, seed=5), "x": randn(4, 6, 3)}),
    }
    for kind in KINDS:
        mixture = _mixture(kind)
        members[f"GaussianMixture, {kind}"] = (mixture, chosen)
        members[f"GaussianMixtureFreeEnergy, {kind}"] = (mixture.free_energy, y)
    return members


def _mixture(kind: Covariance) -> GaussianMixture:
    covariances = randn(*shape_of(kind, 5, 3), seed=6)
    if kind in ("diagonal", "spherical"):
        covariances = 0.5 + covariances.square()
    else:
        covariances = covariances @ covariances.mT + torch.eye(3, dtype=torch.float64)
    return GaussianMixture(randn(5, seed=7).softmax(0), randn(5, 3, seed=8), covariances, kind)

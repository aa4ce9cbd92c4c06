"""Members of `zoo` that limit by their form the space of low energy, and how all are trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.contrastive import (
    AutoEncoder,
)
from ebm.infer import SpaRSA
from ebm.loss import AverageEnergy, Loss
from ebm.nets import mlp
from ebm.regularized import (
    ELBO,
    PCA,
    VAE,
    VQVAE,
    ContractiveAutoEncoder,
    Flow,
    GaussianLikelihood,
    GaussianMixture,
    KMeans,
    NoisyAutoEncoder,
    ProbabilisticPCA,
    QuantizedLoss,
    SaturatingAutoEncoder,
    SparseAutoEncoder,
    SparseCoding,
    SquareICA,
)
from ebm.regularized.saturating import Rectifier
from ebm.regularized.sparse_activations import TopK
from ebm.train import fit

EXTENT, TEMPERATURE, STEPS = 2.6, 0.02, 1000
Made = Callable[[Tensor], Energy]


class Member(NamedTuple):
    """A method: what limits its space of low energy, how it is made, and the unit of its energy."""

    name: str
    limit: str
    make: Made
    beta: float = 1 / TEMPERATURE


def seeded(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def net(*sizes: int, seed: int) -> nn.Module:
    return mlp(*sizes, generator=seeded(seed))


def trained(
    model: Energy, loss: Loss, y: Tensor, rate: float = 2e-3, steps: int = STEPS, batch: int = 256
) -> Energy:
    """The model after training on y."""
    adam = partial(torch.optim.Adam, lr=rate)
    fit(
        model,
        loss,
        {"y": y},
        optimizer=adam,
        steps=steps,
        batch_size=batch,
        generator=seeded(),
        progress=False,
    )
    return model.eval()


def fitted(make: Callable[[Tensor], Energy], y: Tensor, **settings: int) -> Energy:
    """The free energy after a classical fit."""
    model = make(y)
    model.fit(y, **settings)
    return getattr(model, "free_energy", model)


def push_down(y: Tensor) -> Energy:
    return trained(
        AutoEncoder(nn.Sequential(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2))), AverageEnergy(), y
    )


def flow(y: Tensor) -> Energy:
    return trained(Flow.from_data(y, hidden=(32, 32), generator=seeded()), AverageEnergy(), y)


def noisy(y: Tensor) -> Energy:
    model = NoisyAutoEncoder(net(2, 96, 8, seed=1), net(8, 96, 2, seed=2), size=8, noise=1.0)
    return trained(model.free_energy, AverageEnergy(), y)


def sparse(y: Tensor) -> Energy:
    model = SparseCoding.from_data(y, 5, 0.15, method=SpaRSA(memory=1), generator=seeded(4))
    model.fit(y, steps=100, generator=seeded(), progress=False)
    return model.free_energy


def top_k(y: Tensor) -> Energy:
    model = SparseAutoEncoder.from_data(y, 8, TopK(1), generator=seeded(2))
    return trained(model.free_energy, AverageEnergy(), y)


def vq_vae(y: Tensor) -> Energy:
    model = VQVAE.from_data(
        y, net(2, 64, 2, seed=1), net(2, 64, 2, seed=2), 20, expire=1.0, generator=seeded()
    )
    trained(model, QuantizedLoss(), y)
    return model.free_energy


def vae(y: Tensor) -> Energy:
    model = VAE(net(2, 96, 4, seed=1), net(2, 96, 2, seed=2), 2, GaussianLikelihood(0.15))
    trained(model, ELBO(), y, steps=2 * STEPS)
    model.draws = None  # the average energy by cubature, not by chance
    return model.free_energy


def contractive(y: Tensor) -> Energy:
    inner = mlp(2, 64, 2, activation=nn.Tanh, generator=seeded(1))
    encoder = nn.Sequential(inner, nn.Tanh())
    return trained(ContractiveAutoEncoder(encoder, net(2, 96, 2, seed=2), 0.1), AverageEnergy(), y)


def saturating(y: Tensor) -> Energy:
    model = SaturatingAutoEncoder(net(2, 64, 16, seed=1), net(16, 2, seed=2), Rectifier(), 0.05)
    return trained(model, AverageEnergy(), y)


REGULARIZED = [
    Member("push down only", "nothing", push_down),
    Member("PCA", "one direction", partial(fitted, partial(PCA.from_data, k=1))),
    Member("probabilistic PCA", "a Gaussian", partial(fitted, partial(ProbabilisticPCA.from_data, k=1)), 1.0),
    Member("k-means", "20 points", partial(fitted, partial(KMeans.from_data, k=20, generator=seeded()))),
    Member(
        "Gaussian mixture",
        "it is normalized",
        partial(fitted, partial(GaussianMixture.from_data, k=10, generator=seeded())),
        1.0,
    ),
    Member("square ICA", "it is normalized", partial(fitted, SquareICA.from_data), 1.0),
    Member("spline flow", "it is normalized", flow, 1.0),
    Member("sparse coding", "λ|z|₁", sparse),
    Member("sparse auto-encoder", "one of 8 latents", top_k),
    Member("VQ-VAE", "20 codes", vq_vae),
    Member("VAE", "entropy of z", vae, 1.0),
    Member("noisy code", "a noisy channel", noisy),
    Member("contractive", "λ|∂f/∂y|²", contractive),
    Member("saturating", "flat parts of f", saturating),
]

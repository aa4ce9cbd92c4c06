"""Energies whose latent variable an encoder guesses, or a quantizer finds, for the list of energies."""

from __future__ import annotations

import torch
from torch import nn

from ebm.energy import Energy
from ebm.nodes import AllChoices
from ebm.regularized.amortized import VariationalBound
from ebm.regularized.finite_scalar import FiniteScalarQuantization
from ebm.regularized.quantizer import Quantizer
from ebm.regularized.residual_quantization import ResidualQuantization
from ebm.regularized.vae import VAE, CategoricalVAE
from ebm.regularized.variational import categorical_free_energy, gaussian_free_energy
from ebm.regularized.vector_quantization import VectorQuantization
from ebm.regularized.vq_vae import VQVAE, QuantizedFreeEnergy
from ebm.testing.examples import Example, randn
from ebm.testing.posed import Springs


def amortized_energies() -> dict[str, tuple[Energy, Example]]:
    """By name, an energy and a value for each of its variables."""
    y, z, h = randn(4, 2), randn(4, 3, seed=1), randn(4, 2, 3, seed=2)
    vae, category = VAE(_layer(2, 6), _layer(3, 2), 3), CategoricalVAE(_layer(2, 4), _layer(4, 2), 4)
    one = VectorQuantization(randn(5, 3, seed=3), "gradient", "rotation")
    stages = ResidualQuantization([VectorQuantization(randn(5, 3, seed=s)) for s in (4, 5)])
    grid = FiniteScalarQuantization((4, 3, 2))
    which = torch.arange(8).view(4, 2) % 5
    quantizers: dict[str, tuple[Quantizer, torch.Tensor]] = {
        "VectorQuantization": (one, which),
        "ResidualQuantization": (stages, torch.stack([which, which.flip(0)], -1)),
        "FiniteScalarQuantization": (grid, which),
    }
    vq = VQVAE(_layer(2, 3), _layer(3, 2), one)
    q = {"mean": z, "log_std": 0.3 * randn(4, 3, seed=6)}
    springs = {"y": y, "center": randn(4, 2, seed=7)}
    members: dict[str, tuple[Energy, Example]] = {
        **{name: (quantizer, {"h": h, "z": number}) for name, (quantizer, number) in quantizers.items()},
        "VQVAE": (vq, {"y": y, "z": which[:, 0]}),
        "QuantizedFreeEnergy": (QuantizedFreeEnergy(vq).eval(), {"y": y}),
        "VAE": (vae, {"y": y, "z": z}),
        "CategoricalVAE": (category, {"y": y, "z": torch.tensor([0, 3, 1, 1])}),
        "VariationalBound": (vae.free_energy, {"y": y}),
        "VariationalBound at points": (VariationalBound(vae, None), {"y": y}),
        "VariationalBound, weighted": (vae.evidence(3), {"y": y}),
        "Gaussian free energy": (gaussian_free_energy(Springs(), beta=2.0), {**springs, **q}),
        "categorical free energy": (
            categorical_free_energy(category, AllChoices(4)),
            {"y": y, "logits": randn(4, 4, seed=8)},
        ),
    }
    return {name: (energy.double(), example) for name, (energy, example) in members.items()}


def _layer(inputs: int, outputs: int) -> nn.Module:
    """A smooth layer, the same for everyone."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=seed))
    return nn.Sequential(layer, nn.Tanh())

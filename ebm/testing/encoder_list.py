"""Energies of flows, convolutions and models with an encoder on the list of energies, with their examples."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import nn

from ebm.energy import Energy
from ebm.measure.gabor_misfit import GaborMisfit
from ebm.nets.mlp import mlp
from ebm.regularized.contractive import ContractiveAutoEncoder, SigmoidEncoder
from ebm.regularized.convolutional_reconstruction import ConvolutionalReconstruction
from ebm.regularized.convolutional_sparse_coding import ConvolutionalSparseCoding
from ebm.regularized.flow import Flow
from ebm.regularized.lista import LISTA
from ebm.regularized.saturating import SaturatingAutoEncoder, Shrink
from ebm.regularized.sparse_activations import Gated, JumpReLU, Rectified, SparseActivation, TopK
from ebm.regularized.sparse_autoencoder import SparseAutoEncoder
from ebm.regularized.sparse_coding import SparseCoding
from ebm.regularizers.contraction import Contraction
from ebm.regularizers.nonnegative_counts import KSparse, NonNegativeL0
from ebm.testing.examples import Example, randn

Model = TypeVar("Model", bound=Energy)


def encoder_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with its example."""
    y, z, generator = randn(4, 3), randn(4, 5, seed=1).abs(), torch.Generator().manual_seed(0)
    few = torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, 0.0], [2.0, 0.0, 0.1]], dtype=torch.float64)
    members: dict[str, tuple[Energy, Example]] = {
        "NonNegativeL0": (NonNegativeL0("z"), {"z": few}),
        "KSparse": (KSparse("z", 2), {"z": few}),
        "GaborMisfit": (GaborMisfit(4, 5).double(), {"y": randn(4, 20), "z": randn(4, 6, seed=1)}),
        "CodeError": (LISTA(SparseCoding(randn(5, 3, seed=8), 0.3), 2).code_error, {"y": y, "z": z}),
    }
    kinds: tuple[Literal["affine", "spline"], ...] = ("affine", "spline")
    for kind in kinds:
        flow = Flow.from_data(randn(20, 3), kind, couplings=2, hidden=(4,), generator=generator)
        members[f"Flow, {kind}"] = (_stirred(flow), {"y": y})
    activations: tuple[SparseActivation, ...] = (Rectified(0.2), JumpReLU(5, 0.2), Gated(5, 0.2), TopK(2))
    for activation in activations:
        model = SparseAutoEncoder.from_data(randn(20, 3), 5, activation, generator=generator)
        name = type(activation).__name__
        members[f"GuessedEnergy, {name}"] = (_stirred(model).free_energy, {"y": y})
        if not isinstance(activation, TopK):  # whose energy of a dense code is infinite
            members[f"SparseAutoEncoder, {name}"] = (model, {"y": y, "z": z})
    f, g = (mlp(n, 5, 7 - n, activation=nn.Tanh, generator=generator).double() for n in (3, 4))
    sigmoid = SigmoidEncoder(3, 4, generator=generator).double()
    members |= {
        "ContractiveAutoEncoder": (ContractiveAutoEncoder(f, g, 0.3), {"y": y}),
        "ContractiveAutoEncoder, sigmoid": (ContractiveAutoEncoder(sigmoid, g, 0.3), {"y": y}),
        "ContractiveAutoEncoder, probed": (
            ContractiveAutoEncoder(f, g, 0.3, of="reconstruction", probes=2, size=3),
            {"y": y},
        ),
        "Contraction": (Contraction(f, "z"), {"z": y}),
        "Contraction, in closed form": (Contraction(sigmoid, "z"), {"z": y}),
        "Contraction, probed": (Contraction(f, "z", probes=2, size=4), {"z": y}),
        "SaturatingAutoEncoder": (SaturatingAutoEncoder(f, g, Shrink(0.1), 0.3), {"y": y}),
    }
    signal, image = (
        {"y": randn(4, 2, 6), "z": randn(4, 3, 8)},
        {"y": randn(4, 1, 4, 5), "z": randn(4, 3, 5, 7)},
    )
    return members | {
        "ConvolutionalReconstruction": (ConvolutionalReconstruction(randn(3, 2, 3, seed=8)), signal),
        "ConvolutionalSparseCoding": (ConvolutionalSparseCoding(randn(3, 1, 2, 3, seed=8), 0.3), image),
    }


def _stirred(model: Model) -> Model:
    """The model with every parameter moved a little: a flow begins as a linear map."""
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.add_(randn(*parameter.shape, seed=seed), alpha=0.1)
    return model

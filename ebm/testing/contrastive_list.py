"""The energies that come with contrastive losses on the list of energies, with values for variables."""

from __future__ import annotations

import torch
from torch import nn

from ebm.contrastive.composed import MixtureOfEnergies
from ebm.contrastive.denoising import AutoEncoder
from ebm.contrastive.joint_energy_model import ClassifierEnergy, ClassifierFreeEnergy
from ebm.contrastive.most_offending import Within
from ebm.energy import Energy
from ebm.targets.banana import Banana
from ebm.testing.examples import Example, randn
from ebm.testing.posed import Springs


def contrastive_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with its example."""
    x, y, z = randn(4, 2), randn(4, 2, seed=1), randn(4, 3, seed=2)
    classifier, network = _layer(2, 3), nn.Sequential(_layer(2, 4), _layer(4, 2))
    parts = [Springs(), Banana().double()]
    return {
        "AutoEncoder": (AutoEncoder(network), {"y": y}),
        "ClassifierEnergy": (ClassifierEnergy(classifier), {"x": x, "y": torch.tensor([0, 2, 1, 2])}),
        "ClassifierFreeEnergy": (ClassifierFreeEnergy(classifier), {"x": x}),
        "MixtureOfEnergies": (MixtureOfEnergies(parts, [2.0, 0.5], beta=0.7), {"y": y, "z": z, "center": x}),
        "Within": (Within("y", 1.0), {"y": y, "correct": x}),
    }


def _layer(inputs: int, outputs: int) -> nn.Module:
    """A smooth layer in float64, the same for everyone."""
    layer = nn.Linear(inputs, outputs).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=seed))
    return nn.Sequential(layer, nn.Tanh())

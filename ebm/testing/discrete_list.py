"""Energies of discrete variables, each with real numbers for them, on the list of energies.

E(y, ...) of zeros and ones, or of one-hot sites, as the smooth functions that they are in between
"""

from __future__ import annotations

import torch

from ebm.contrastive.masked_tokens import MaskedTokens
from ebm.contrastive.rbm import BernoulliRBM
from ebm.energy import Energy
from ebm.nets.token_transformer import TokenTransformer
from ebm.targets.ising import Ising
from ebm.targets.potts import Potts
from ebm.testing.examples import Example, randn


def discrete_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with a value for its variables."""
    generator = torch.Generator().manual_seed(0)
    coupling = randn(6, 6)
    coupling = (coupling + coupling.T).fill_diagonal_(0)
    rbm = BernoulliRBM(4, 3, 1.0, generator).double()
    net = TokenTransformer(4, 5, width=8, depth=1, heads=2, generator=generator)
    tokens = randn(3, 5, 4).softmax(2)
    return {
        "Ising": (Ising(coupling, randn(6, seed=1)), {"y": randn(4, 6, seed=2)}),
        "Ising over (2, 3)": (Ising(coupling, randn(6, seed=1)), {"y": randn(4, 2, 3, seed=2)}),
        "Potts": (Potts(coupling, 3, randn(6, 3, seed=1)), {"y": randn(4, 6, 3, seed=2)}),
        "BernoulliRBM": (rbm, {"y": randn(4, 4), "z": randn(4, 3, seed=1)}),
        "RBMFreeEnergy": (rbm.free_energy, {"y": randn(4, 4)}),
        "MaskedTokens": (MaskedTokens(net, mask=3).double(), {"y": tokens}),
    }

"""The energies of sequences and of answers to x on the list of energies, with values for variables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.regularized.hidden_markov import GaussianEmission, HiddenMarkov
from ebm.regularized.latent_predictor import LatentPredictor
from ebm.regularized.mixture_regression import MixtureRegression
from ebm.regularized.state_space import StateSpace
from ebm.regularizers.counts import L0
from ebm.testing.examples import Example, randn


def conditional_energies() -> dict[str, tuple[Energy, Example]]:
    """Each energy with its example."""
    x, y, z = randn(4, 3), randn(4, 2, seed=1), randn(4, 3, seed=2)
    seen, hidden = randn(4, 5, 2, seed=3), randn(4, 5, 3, seed=4)
    chosen, way = torch.tensor([0, 1, 1, 0]), torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    space = StateSpace(0.9 * eye, randn(2, 3, seed=5), 0.5 * eye, eye[:2, :2], zero, eye)
    markov = HiddenMarkov(zero[:2], randn(2, 2, seed=6), GaussianEmission(randn(2, 2, seed=7)))
    few = torch.tensor([[0.0, 1.0, -0.5], [0.0, 0.0, 0.0], [2.0, 0.0, 0.1]], dtype=torch.float64)
    regression = MixtureRegression(randn(2, 3, 2, seed=8), y[:2], randn(2, seed=9), zero[:2])
    return {
        "L0": (L0("z"), {"z": few}),
        "StateSpace": (space, {"y": seen, "z": hidden}),
        "Evidence": (space.free_energy, {"y": seen}),
        "HiddenMarkov": (markov, {"y": seen[:, :3], "z": way}),
        "ForwardAlgorithm": (markov.free_energy, {"y": seen}),
        "LatentPredictor": (LatentPredictor(_Shift(), eye), {"x": x, "y": hidden[:, 0], "z": z}),
        "MixtureRegression": (regression, {"x": x, "y": y, "z": chosen}),
    }


class _Shift(nn.Module):
    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return x + z.tanh()

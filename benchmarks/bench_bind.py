"""What binding saves: an observation is encoded once, however many candidates are tried against it.

Energy: E(observation, y) = |encoder(observation) - y|², a small convolutional encoder of 64 x 64 pictures;
4 observations, 200 candidates each. The other side encodes the observation anew for every candidate.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from ebm import Energy, energy

ROWS, CANDIDATES, SIDE, CODE = 4, 200, 64, 16


@energy
def distance(s: Tensor, y: Tensor) -> Tensor:
    """|s - y|²."""
    return (s - y).square().sum(1)


def setup() -> dict[str, Any]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    channels, layers = (3, 16, 32, 32), []
    for inward, outward in pairwise(channels):
        layers += [nn.Conv2d(inward, outward, 3, stride=2, padding=1), nn.ReLU()]
    encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * (SIDE // 8) ** 2, CODE))
    return {
        "energy": distance.compose(s=(encoder, "observation")),
        "observation": torch.randn(ROWS, 3, SIDE, SIDE, generator=generator),
        "y": torch.randn(ROWS * CANDIDATES, CODE, generator=generator),
    }


@torch.no_grad()
def bound_once(state: dict[str, Any]) -> Tensor:
    model: Energy = state["energy"]
    return model.bind({"observation": state["observation"]}).repeat(CANDIDATES)(y=state["y"])


@torch.no_grad()
def encoded_each(state: dict[str, Any], _: None) -> Tensor:
    return state["energy"](observation=state["observation"].repeat_interleave(CANDIDATES, 0), y=state["y"])


def mean_energy(state: dict[str, Any], energies: Tensor) -> dict[str, float]:
    return {"mean energy": float(energies.mean())}


def differ(ours: Any, theirs: Any) -> str:
    a, b = ours["mean energy"], theirs["mean energy"]
    return "" if abs(a - b) <= 1e-5 * abs(b) else f"the energies differ: {a} and {b}"


CASES = [
    Case(
        "200 candidates on an encoded observation, against encoding for each",
        bound_once,
        encoded_each,
        setup,
        mean_energy,
        differ,
        at_least=20.0,
    )
]

"""What binding saves: an observation is encoded once, however many candidates are tried against it.

Energy: E(observation, y) = |encoder(observation) - y|², an encoder of 3 layers of 512 units; 4 observations,
200 candidates each. The other side encodes the observation anew for every candidate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case
from ebm import Energy, energy
from ebm.nets import mlp

ROWS, CANDIDATES, SIZE, CODE = 4, 200, 1024, 16


@energy
def distance(s: Tensor, y: Tensor) -> Tensor:
    """|s - y|²."""
    return (s - y).square().sum(1)


def setup() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    encoder = mlp(SIZE, 512, 512, CODE, generator=generator)
    return {
        "energy": distance.compose(s=(encoder, "observation")),
        "observation": torch.randn(ROWS, SIZE, generator=generator),
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

"""What the sampling benchmarks share: three energies, and the loops that one would write by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from ebm import Energy

FINITE_EVERY = 20  # as `sample` looks


class DoubleWell(Energy):
    """2 Σ_d (y_d² - 1)²."""

    def forward(self, y: Tensor) -> Tensor:
        return 2.0 * (y.pow(2) - 1).pow(2).sum(-1)


class EightModes(Energy):
    """-log Σ_k exp(-|y - μ_k|² / (2 · 0.5²)), eight centers on a circle of radius 4."""

    centers: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = torch.arange(8) * (2 * math.pi / 8)
        self.register_buffer("centers", 4 * torch.stack([angle.cos(), angle.sin()], 1))

    def forward(self, y: Tensor) -> Tensor:
        squared = (y.unsqueeze(1) - self.centers).pow(2).sum(-1)
        return -torch.logsumexp(-squared / (2 * 0.25), 1)


class Network(Energy):
    """A network 2-128-128-1 in a bowl ½|y|²."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1)]
        self.net = nn.Sequential(*layers)

    def forward(self, y: Tensor) -> Tensor:
        return self.net(y).squeeze(1) + 0.5 * y.pow(2).sum(1)


def start(energy: Callable[[], Energy], chains: int) -> Callable[[], dict[str, Any]]:
    """A benchmark's setup: the energy, and chains at N(0, I)."""

    def setup() -> dict[str, Any]:
        return {"energy": energy(), "x": torch.randn(chains, 2, generator=seeded())}

    return setup


def seeded() -> torch.Generator:
    """The generator that every side starts from."""
    return torch.Generator().manual_seed(1)


def second_moment(state: dict[str, Any], x: Tensor) -> dict[str, float]:
    """⟨|x|²⟩ over the chains' last states."""
    return {"second moment": float(x.detach().pow(2).sum(1).mean())}


def same(ours: Any, theirs: Any) -> str:
    """The same arithmetic and generator end in the same states, up to rounding."""
    a, b = ours["second moment"], theirs["second moment"]
    return "" if abs(a - b) <= 1e-3 * abs(b) else f"the states differ: ⟨|x|²⟩ is {a} and {b}"


ENERGIES: dict[str, tuple[Callable[[], Energy], int]] = {
    "double well, 10,000 chains": (DoubleWell, 10_000),
    "eight modes, 10,000 chains": (EightModes, 10_000),
    "network, 4,096 chains": (Network, 4096),
}


def beside_loops(
    method: str,
    ours: Callable[[int], Callable[[dict[str, Any]], Tensor]],
    by_hand: Callable[[int], Callable[[dict[str, Any], None], Tensor]],
    steps: tuple[int, int, int],
) -> list[Case]:
    """A sampler beside the loop that one would write by hand, on the three energies, at most 10 % dearer."""
    return [
        Case(
            f"{method}, {name}, against a hand-written loop",
            ours(count),
            by_hand(count),
            start(energy, chains),
            second_moment,
            same,
            unit="cpu s",
            at_most=1.1,
        )
        for (name, (energy, chains)), count in zip(ENERGIES.items(), steps, strict=True)
    ]


def peer_energy(state: dict[str, Any], torchebm: Any) -> Any:
    """The energy as torchebm's model."""

    class Model(torchebm.core.BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.energy = state["energy"]

        def forward(self, x: Tensor) -> Tensor:
            return self.energy.forward(x)

    return Model()


def check_finite(step: int, x: Tensor) -> None:
    """The stop test of the hand-written loops."""
    if step % FINITE_EVERY == 0 and not bool(torch.isfinite(x).all()):
        raise FloatingPointError("a chain ran away")

"""A way through a plane by steps of four directions: a problem for searches over places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.choices import Choices
from ebm.staged import Staged
from ebm.testing.posed import Posed

MOVES = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 0.0))


class Walking(Staged):
    """E(goal, moves) = 0.01 · steps + |place - goal|, from the origin; the last choice is to rest."""

    rest = len(MOVES) - 1

    def __init__(self) -> None:
        super().__init__("moves")

    def start(self, goal: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return torch.zeros_like(goal), goal

    def stage(
        self, state: tuple[Tensor, Tensor], choice: Tensor, t: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        place, goal = state
        move = torch.tensor(MOVES, dtype=place.dtype, device=place.device)[choice]
        return 0.01 * move.abs().sum(1), (place + move, goal)

    def final(self, state: tuple[Tensor, Tensor]) -> Tensor:
        return torch.linalg.vector_norm(state[0] - state[1], dim=1)

    def place(self, state: tuple[Tensor, Tensor]) -> Tensor:
        """Where a beginning leads to, (B, 2)."""
        return state[0]


def walking(length: int = 6, **settings: Any) -> Posed:
    """Goals on the grid, of which the energy says how many steps away they are."""
    goal = torch.tensor([[2.0, 1.0], [0.0, -3.0], [-1.0, 2.0], [3.0, 3.0]], dtype=torch.float64)
    energy = Walking()

    def distance(moves: Tensor) -> Tensor:
        found = energy(goal=goal, moves=moves.cpu())
        return (found - 0.01 * goal.abs().sum(1)).abs()

    start = Choices(torch.full((len(goal), length), Walking.rest), len(MOVES))
    return Posed(energy, start, {"goal": goal}, distance, name="walking on a grid", **settings)

"""A short-term memory of surprises: where an action did not do what the model had said.

    surprised  if  |s' - ŝ'| > r,        cost(s, c) = +∞ if some (s_m, c_m) has c = c_m and |s - s_m| <= d

A learned model is wrong somewhere, and a planner finds out where: it looks for ways that only exist in the
model. What surprised once in an episode is not planned on again in it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.world.model import ModelState, moving


class Surprises(NamedTuple):
    """Edges that surprised, the latest M of each of B episodes; a value, renewed by `add`.

    Attributes:
        states: where they began, (B, M, S).
        choices: which primitive was begun there, (B, M) int64; -1 where there is none yet.
    """

    states: Tensor
    choices: Tensor

    def cost(self, state: ModelState, choice: Tensor, within: float) -> Tensor:
        """+inf for primitives (B,) that surprised near these states, else 0, (B,)."""
        s = moving(state)
        near = torch.linalg.vector_norm(self.states - s.unsqueeze(1), dim=2) <= within
        again = (near & (self.choices == choice.unsqueeze(1))).any(1)
        return torch.zeros_like(s[:, 0]).masked_fill(again, torch.inf)

    def add(self, state: Tensor, choice: Tensor, surprised: Tensor) -> Surprises:
        """With the edges (B, S), (B,) remembered where `surprised`, (B,) bool; the oldest is forgotten."""
        states = torch.cat([state.unsqueeze(1), self.states[:, :-1]], 1)
        choices = torch.cat([choice.unsqueeze(1), self.choices[:, :-1]], 1)
        return Surprises(
            torch.where(surprised[:, None, None], states, self.states),
            torch.where(surprised[:, None], choices, self.choices),
        )

    def rows(self, index: Tensor) -> Surprises:
        """Those of the episodes `index`."""
        return Surprises(self.states[index], self.choices[index])


def no_surprise(
    batch: int,
    state_size: int,
    capacity: int = 16,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Surprises:
    """An empty memory of B episodes.

    Example:
        >>> memory = no_surprise(1, 2).add(torch.zeros(1, 2), torch.tensor([3]), torch.tensor([True]))
        >>> memory.cost(torch.tensor([[0.1, 0.0]]), torch.tensor([3]), within=0.5)
        tensor([inf])
    """
    states = torch.zeros(batch, capacity, state_size, device=device, dtype=dtype)
    return Surprises(states, torch.full((batch, capacity), -1, device=device))

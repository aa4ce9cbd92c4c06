"""Energies with a memory: what they saw in batches before is a constant of the energy, until it is renewed.

    E_m(x, y),        then  m ← (m, targets of this batch)

DINO's energy has a center, the mean of its targets so far; MoCo's a queue of the latest. To the energy they
are constants, so it stays a function, as often as it is evaluated. `AverageEnergy` renews them once for every
batch, after the loss and before the optimizer's step, as the official code of both does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from ebm.binder import Held
from ebm.bound import Bound
from ebm.energy import Energy


class Remembering(Energy, ABC):
    """An energy of a pair of codes (s_x, s_y) that depends on the targets s_y of batches before."""

    @abstractmethod
    def remember(self, s_y: Tensor) -> None:
        """Renew the memory with this process's targets, (N, D), without gradients; all processes call it."""

    def report(self, s_y: Tensor) -> dict[str, Tensor]:
        """Numbers about a batch of targets that are worth watching, 0-dimensional (default: none)."""
        return {}


def targets(bound: Bound) -> Iterator[tuple[Remembering, Tensor]]:
    """Each energy with a memory, and its targets of the data that are bound, each one once."""
    found: dict[Remembering, dict[int, Tensor]] = {}
    for term in bound.summands:
        for name, expression in term.arguments:
            if isinstance(term.leaf, Remembering) and name == "s_y" and isinstance(expression, Held):
                found.setdefault(term.leaf, {})[expression.key] = bound.held[expression.key].detach()
    for leaf, codes in found.items():
        yield leaf, torch.cat(list(codes.values()))

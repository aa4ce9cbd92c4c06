"""Distillation: the mean energy of the data, for energies that remember the targets that they have seen.

    L(E, data) = (1/B) Σ_i E(data_i),        then  memory ← (memory, targets of this batch)

DINO's energy has a center, the mean of its targets so far; MoCo's a queue of the latest. To the energy they
are constants, so it stays a function; this loss renews them, after the loss and before the optimizer's step,
as the official code does. For an energy without a memory it is `AverageEnergy`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Held
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.signature import check_output, refuse_missing


class Remembering(Energy, ABC):
    """An energy of a pair of codes that depends on targets of batches before."""

    @abstractmethod
    def remember(self, s_y: Tensor) -> None:
        """Renew the memory with this process's targets, (N, D), without gradients; all processes call it."""

    def report(self, s_y: Tensor) -> dict[str, Tensor]:
        """Numbers about a batch of targets that are worth watching, 0-dimensional (default: none)."""
        return {}


class Distillation(Loss):
    """L = (1/B) Σ_i E(data_i), and every energy that remembers targets is shown those of the batch.

    In training mode, which a loss is in unless `.eval()` was called, every target is shown once, whatever the
    number of pairs that it is part of; in evaluation mode nothing is remembered.

    Example:
        >>> from ebm.joint import DINO
        >>> E = DINO(torch.nn.Identity(), categories=3)
        >>> x = torch.tensor([[1.0, 0.0, -1.0]])
        >>> output = Distillation()(E, x=x, y=x)
        >>> E.center  # 0.9 · 0 + 0.1 · the mean target
        tensor([ 0.1000,  0.0000, -0.1000])
    """

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        refuse_missing(energy, data)
        bound = energy.bind(data, generator)
        if not bound.batch:
            raise ValueError("the data has 0 rows, so it has no mean energy; pass at least one.")
        value = bound()
        check_output(value, bound.batch, energy.label)
        mean = value.mean()
        terms = {ON_DATA: mean.detach()}
        with torch.no_grad():
            for leaf, s_y in _targets(bound):
                terms |= leaf.report(s_y)
                if self.training:
                    leaf.remember(s_y)
        return LossOutput(mean, terms)


def _targets(bound: Bound) -> Iterator[tuple[Remembering, Tensor]]:
    """Each energy that remembers, with its distinct targets, one below the other."""
    found: dict[Remembering, dict[int, Tensor]] = {}
    for term in bound.summands:
        for name, expression in term.arguments:
            if isinstance(term.leaf, Remembering) and name == "s_y" and isinstance(expression, Held):
                found.setdefault(term.leaf, {})[expression.key] = bound.held[expression.key].detach()
    for leaf, codes in found.items():
        yield leaf, torch.cat(list(codes.values()))

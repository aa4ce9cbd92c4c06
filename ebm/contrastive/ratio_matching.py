"""Ratio matching: for every bit, make the data more likely than the data with that bit flipped.

    L = ⟨Σ_d g(p(y)/p(ȳ^d))²⟩,        g(u) = 1/(1 + u),        so  L = ⟨Σ_d σ(E(y) - E(ȳ^d))²⟩

ȳ^d is y with bit d flipped. Ratios of probabilities know no Z. L is, up to a constant of the data, how far
the model's transformed ratios g are from the data's own, squared, which leads to the true energy with enough
data. Since σ(E(y) - E(ȳ^d)) is 1 - p(y_d | y_{-d}), it is pseudo-likelihood with squares for logarithms: no
bit, however surprising, costs more than 1.

What it costs: D + 1 energies a row, in one batched call.

Reference: Hyvärinen (2007), "Some extensions of score matching", sect. 4.
"""

from __future__ import annotations

from typing import Any

import torch

from ebm.contrastive.flips import neighbor_energies, refuse_continuous
from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import Loss, LossOutput


class RatioMatching(Loss):
    """L = ⟨Σ_d σ(E(y) - E(ȳ^d))²⟩, a sum over bits and a mean over rows.

    The energy off the data is that of the data's neighbors.

    Args:
        max_rows: evaluate at most about so many points at once; all if None.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: for data that are not zeros and ones, naming a row.

    Example:
        >>> from ebm import energy
        >>> flat = energy(lambda y: 0 * y.sum(1))
        >>> RatioMatching()(flat, y=torch.tensor([[0.0, 1.0, 1.0]])).loss  # ¼ a bit
        tensor(0.7500)
    """

    def __init__(self, *, max_rows: int | None = None, variable: str = "y"):
        super().__init__()
        self.max_rows = None if max_rows is None else count("max_rows", max_rows)
        self.variable = variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator, real=False)
        refuse_continuous(self.label, self.variable, points.y)
        on_data = points.energy(points.y)
        off_data = neighbor_energies(points, max_rows=self.max_rows).squeeze(2)  # (B, D)
        loss = torch.sigmoid(on_data.unsqueeze(1) - off_data).square().sum(1).mean()
        return LossOutput(loss, on_and_off(on_data, off_data))

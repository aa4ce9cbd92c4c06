"""Minimum probability flow: let the model's own dynamics run from the data for an instant, and lose little.

    K = (ε/N) Σ_{j ∈ data} Σ_{i ∉ data} g_ji exp(½ (E_j - E_i)),        g_ji = 1 if one bit leads from j to i

The dynamics, with these rates from j to i, leave p ∝ exp(-E) as it is, so from data that follow p nothing
flows away. K is the rate at which it does, for a small time ε: low where data lie lower than the neighbors
that are not data. Neighbors that are data themselves stay out: they lose and gain, and to count them would
pull together the energies of data that are neighbors.

What it costs: D + 1 energies a row, in one batched call. When it fails: an exponential of energies is ruled
by the worst row; `log=True` has the same minimum, log K, and no overflow.

Reference: Sohl-Dickstein, Battaglino, DeWeese (2011), "Minimum Probability Flow Learning".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.flips import neighbor_energies, refuse_continuous
from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.loss import Loss, LossOutput
from ebm.rows import flat


class MinimumProbabilityFlow(Loss):
    """K = (ε/N) Σ_j Σ_{i ∉ data} exp(½ (E_j - E_i)) over one-bit flips i of the data j.

    The energy off the data is that of the neighbors that are not data.

    Args:
        epsilon: ε > 0, the time; it scales K, and nothing else.
        log: whether to return log K in place of K.
        states: what counts as data, (N, *shape) bits, for instance the whole training set; the rows of the
            batch if None. Where other variables are given, a row is data to those alone that share them, so
            then it is the batch.
        max_rows: evaluate at most about so many points at once; all if None.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: for data that are not zeros and ones, naming a row, or if all neighbors are data.

    Example:
        >>> from ebm import energy
        >>> flat = energy(lambda y: 0 * y.sum(1))
        >>> y = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # neighbors of each other
        >>> MinimumProbabilityFlow()(flat, y=y[:1]).loss, MinimumProbabilityFlow()(flat, y=y).loss
        (tensor(3.), tensor(2.))
    """

    states: Tensor | None

    def __init__(
        self,
        epsilon: float = 1.0,
        *,
        log: bool = False,
        states: Tensor | None = None,
        max_rows: int | None = None,
        variable: str = "y",
    ):
        super().__init__()
        positive("epsilon", epsilon)
        self.epsilon, self.log, self.variable = float(epsilon), log, variable
        self.max_rows = None if max_rows is None else count("max_rows", max_rows)
        if states is not None:
            refuse_continuous(self.label, "states", states)
        self.register_buffer("states", states)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator, real=False)
        refuse_continuous(self.label, self.variable, points.y)
        on_data = points.energy(points.y)
        off_data = neighbor_energies(points, max_rows=self.max_rows).squeeze(2)  # (B, D)
        known = self._are_data(points.y, {n: v for n, v in data.items() if n != self.variable})
        if bool(known.all()):
            raise ValueError("every one-bit neighbor of the data is data, so no probability flows away.")
        rates = (0.5 * (on_data.unsqueeze(1) - off_data)).masked_fill(known, -torch.inf)
        log_k = torch.logsumexp(rates.flatten(), 0) + math.log(self.epsilon / len(on_data))
        return LossOutput(log_k if self.log else log_k.exp(), on_and_off(on_data, off_data[~known]))

    def _are_data(self, y: Tensor, given: dict[str, Any]) -> Tensor:
        """Which neighbors of the data, (B, D), are data themselves."""
        others = [value for value in given.values() if isinstance(value, Tensor)]
        if self.states is not None and others:
            raise ValueError(
                f"`states` are data whatever else is given, and {', '.join(given)} is; leave `states` out."
            )
        rows = flat(y)
        states = rows if self.states is None else flat(self.states).to(rows)
        if states.shape[1] != rows.shape[1]:
            raise ValueError(
                f"`states` hold {states.shape[1]} bits a row, and {self.variable!r} {rows.shape[1]}; they "
                f"are data of the same shape."
            )
        distance = rows @ (1 - states.T) + (1 - rows) @ states.T  # bits that differ, (B, N)
        near = distance == 1
        for value in others:
            near = near & (flat(value).unsqueeze(1) == flat(value)).all(2)
        first, second = near.nonzero(as_tuple=True)
        site = (rows[first] != states[second]).to(torch.uint8).argmax(1)
        known = torch.zeros_like(rows, dtype=torch.bool)
        known[first, site] = True
        return known

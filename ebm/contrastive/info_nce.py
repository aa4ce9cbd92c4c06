"""InfoNCE for an energy of pairs: which of the K candidates in the batch belongs to this x?

    L = (1/K) Σ_i -log [ exp(-βE(x_i, y_i)) / Σ_j exp(-βE(x_i, y_j)) ],        I(X; Y) >= log K - L

The other rows' y stand in for samples of y without x. The best energy is E = -(1/β) log [p(y|x) / p(y)] plus
any function of x: how much more likely y is with x than without, not how likely it is. So y that are rare
everywhere are not pushed up.

L = log K for an energy that ignores x; log K - L is a lower bound of the mutual information, in nats, and
can't show more than log K of it, however much there is. What it costs: B encodings of x and of y, and B²
energies of pairs. When it fails: in small batches; and where two rows hold the same y, each is the other's
negative.

For codes with a cosine, `ebm.joint.InfoNCE` is the same loss as a criterion.

Reference: van den Oord, Li, Vinyals (2018), "Representation Learning with Contrastive Predictive Coding",
sect. 2.3.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ebm.contrastive.pairs import all_pairs
from ebm.contrastive.points import data_of, on_and_off
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.loss import Loss, LossOutput


class InfoNCE(Loss):
    """The cross-entropy of finding y_i among all y of the batch, from the energies -βE(x_i, y_j).

    Terms: the energy of the pairs (i, i), that of the pairs (i, j) with j ≠ i, and "information", log K - L.

    Args:
        beta: β > 0, 1/temperature.
        variable: y, the variable whose values are exchanged between rows; all others are x.

    Raises:
        ValueError: if β isn't positive; on a call, for fewer than 2 rows.
        TypeError: on a call, for an energy of one variable alone.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def distance(x, y):
        ...     return (x - y).square().sum(1)
        >>> x = torch.tensor([[0.0], [10.0]])
        >>> output = InfoNCE()(distance, x=x, y=x)
        >>> output.loss, output.terms["information"]  # all of log 2
        (tensor(0.), tensor(0.6931))
    """

    def __init__(self, beta: float = 1.0, *, variable: str = "y"):
        super().__init__()
        self.beta, self.variable = number("beta", beta), variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        y = data_of(self, energy, self.variable, data, real=False)
        given = {name: value for name, value in data.items() if name != self.variable}
        if len(energy.variables) < 2:
            raise TypeError(
                f"InfoNCE asks which {self.variable!r} belongs to which of the other variables, and "
                f"{energy.label} has no other. For an energy of data alone: NCE, ConditionalNCE."
            )
        if len(y) < 2:
            raise ValueError("InfoNCE takes its negatives from other rows; pass 2 rows or more, got 1.")
        energies = all_pairs(energy, self.variable, y, given, generator)  # (B, B)
        own = torch.arange(len(y), device=y.device)
        loss = cross_entropy(-self.beta * energies, own)
        others = energies[own.unsqueeze(1) != own]
        terms = on_and_off(energies.diagonal(), others)
        return LossOutput(loss, {**terms, "information": math.log(len(y)) - loss.detach()})

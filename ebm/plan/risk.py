"""Conditional value at risk: what the worst cases cost on average, as an energy without the latent variable.

    mean          F(x) = E_z[E(x, z)]                                        marginal_over(E, "z", 0.0, by)
    worst case    F(x) = max_z E(x, z)                                       marginal_over(E, "z", -inf, by)
    entropic      F(x) = (1/|β|) log E_z[exp(|β| E(x, z))],   β < 0          marginal_over(E, "z", beta, by)
    CVaR          F(x) = min_t t + E_z[max(0, E(x, z) - t)] / (1 - α)        CVaR(E, "z", alpha, by)

The mean is blind to rare disasters, the worst case sees nothing else. CVaR is the mean of the worst share
1 - α of the cases: the mean for α = 0, the worst case for α = 1, and in between it grows with α. The t that
attains the minimum is the α-quantile of the energy, the "value at risk".

Reference: Rockafellar & Uryasev (2000), "Optimization of conditional value-at-risk", theorem 1; (2002),
"Conditional value-at-risk for general loss distributions", proposition 8 (atoms).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.marginal import MarginalOver
from ebm.nodes import Nodes


class CVaR(Energy):
    """The mean of the worst share 1 - α of the energies on the nodes, min_t t + E[max(0, E - t)] / (1 - α).

    Exact for the measure that the nodes stand for: where its α-quantile lies on a node, a fraction of that
    node counts. Nodes are drawn once a bind, so a solve over `actions` meets the same cases at every step.
    It differentiates like the mean of the cases that count.

    Args:
        energy: an energy of the latent and other variables.
        latent: the name of the latent variable.
        level: α in [0, 1]; 0.9 is the mean of the worst tenth.
        by: how to integrate, with a normalized measure: `Finite`, `AllChoices`, `Grid`, or `Importance(...,
            normalized=True)` of `ebm.nodes`.
        max_rows: evaluate at most so many (row, node) pairs at once.

    Raises:
        TypeError: if the energy has no such variable, or `by` is no node set.
        ValueError: if the level lies outside [0, 1], or the measure isn't normalized.

    Reference:
        Rockafellar & Uryasev (2000), theorem 1.

    Example:
        >>> from ebm import energy
        >>> from ebm.nodes import Finite
        >>> @energy
        ... def price(y, z):
        ...     return y * z
        >>> costs = Finite(torch.arange(1.0, 11.0))
        >>> for level in (0.0, 0.75, 0.8, 1.0):
        ...     CVaR(price, "z", level, costs)(y=torch.ones(1))
        tensor([5.5000])
        tensor([9.2000])
        tensor([9.5000])
        tensor([10.])
    """

    def __init__(self, energy: Energy, latent: str, level: float, by: Nodes, *, max_rows: int | None = None):
        super().__init__()
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"the level of CVaR lies in [0, 1]; got {level}. The worst tenth is level 0.9.")
        if isinstance(by, Nodes) and not by.normalized:
            raise ValueError(
                "CVaR is a mean over cases, so its nodes need a normalized measure; got one that isn't: use "
                "normalized=True."
            )
        self.cases, self.level = MarginalOver(energy, latent, 0.0, by, max_rows), float(level)
        self.variables, self.options = self.cases.variables, self.cases.options

    @property
    def label(self) -> str:
        return f"CVaR of {self.cases.energy.label}"

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        return self.cases.prepare(binder, given)

    def forward(self, *, _bound: Bound, _drawn: Tensor | None, **variables: Any) -> Tensor:
        energies, _, log_weight = self.cases.on_nodes(_bound, _drawn, variables)
        return mean_of_worst(energies, log_weight.exp(), self.level)


def mean_of_worst(energies: Tensor, weight: Tensor, level: float) -> Tensor:
    """The mean of the greatest energies (B, K) that carry the share 1 - level of the weights (B, K), (B,).

    Sorted from the worst, Σ_k c_k e_k / Σ_k c_k with c_k = min(w_k, max(0, 1 - level - Σ_{j<k} w_j)).

    Example:
        >>> mean_of_worst(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([[0.5, 0.25, 0.25]]), level=0.6)
        tensor([4.2500])
    """
    if level == 1.0:
        return energies.amax(1)
    worst, order = energies.sort(dim=1, descending=True, stable=True)  # NaN counts as the worst
    weight = weight.gather(1, order)
    before = weight.cumsum(1) - weight
    share = (1.0 - level) * weight.sum(1, keepdim=True)
    counted = torch.minimum(weight, (share - before).clamp(min=0))
    return torch.where(counted > 0, counted * worst, 0.0).sum(1) / counted.sum(1)

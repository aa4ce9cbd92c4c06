"""Energy discrepancy: noise there and back again; the datum is to have lower energy than where that leads.

    y = x + σ ξ,        x'_j = y + σ ξ_j,        L = ⟨ log( w/M + (1/M) Σ_j exp(E(x) - E(x'_j)) ) ⟩

Blur the data and the model alike; how much information each loses is compared, and the part that would need Z
cancels. The M points x' are draws of what may have been x, seen from y alone: y is shared by them, and by x.
(Points drawn around x, with variance 2σ², make another loss, whose minimum is elsewhere.) w >= 0 bounds the
logarithm from below and steadies the estimate for small M.

What it costs: 1 + M energies a row, no gradient by y, no chain, no second derivative. It goes from score
matching (σ → 0) to maximum likelihood (σ → ∞). When it fails: a large σ needs a large M, since few x' fall
where the energy is low; with few dimensions and M moderate it is at its best.

For E = ½θx², data of variance v, w = 0, M → ∞: L = ½[θv - log(1 + θσ²) - θ(v + σ²)/(1 + θσ²)], smallest at
θ = 1/v. For a constant energy L = log((w + M)/M).

Reference: Schröder, Ou, Lim, Li, Vollmer, Duncan (2023), "Energy Discrepancies: A Score-Independent Loss for
Energy-Based Models".
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count, number
from ebm.loss import Loss, LossOutput


class EnergyDiscrepancy(Loss):
    """L = ⟨log(w/M + (1/M) Σ_j exp(E(x) - E(x'_j)))⟩; the energy off the data is that of the x'.

    Args:
        scale: σ > 0, a standard deviation in units of the data (the paper's t is its square).
        negatives: M >= 1, points x' for each row.
        stabilization: w >= 0.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: if a setting is out of range.
        TypeError: on a call, for discrete data.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def flat(y):
        ...     return 0 * y.sum(1)
        >>> EnergyDiscrepancy(0.5, negatives=4)(flat, y=torch.zeros(3, 2)).loss  # log(5/4)
        tensor(0.2231)
    """

    def __init__(self, scale: float, negatives: int = 16, stabilization: float = 1.0, *, variable: str = "y"):
        super().__init__()
        self.scale, self.variable = number("scale", scale), variable
        self.negatives = count("negatives", negatives)
        self.stabilization = number("stabilization", stabilization, zero=True)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        x = points.y.unsqueeze(1)  # (B, 1, *shape)
        noise = x.new_empty(len(x), 1 + self.negatives, *x.shape[2:]).normal_(generator=generator)
        between = x + self.scale * noise[:, :1]  # one for all M: the heart of it
        energies = points.energies(torch.cat([x, between + self.scale * noise[:, 1:]], 1))
        here, beyond = energies[:, :1], energies[:, 1:]
        exponents = here - beyond  # (B, M)
        if self.stabilization:
            w = torch.full_like(here, math.log(self.stabilization))
            exponents = torch.cat([exponents, w], 1)
        loss = exponents.logsumexp(1).mean() - math.log(self.negatives)
        return LossOutput(loss, on_and_off(here, beyond))

"""Pseudo-likelihood: predict each site from all others, which takes no partition function.

    L = -⟨Σ_d log p(y_d | y_{-d})⟩,        bits: -log p(y_d | y_{-d}) = log(1 + exp(E(y) - E(ȳ^d)))

with ȳ^d the point with bit d flipped; a one-hot site has a sum over its K - 1 other values in place of the
one exponential. It is consistent: with enough data, the best energy of a family that holds the true one is
the true one, up to a constant. For a single site it is the likelihood.

What it costs: D (K - 1) + 1 energies a row, in one batched call, or those of m random sites, times D/m, which
has the same mean. When it fails: strong couplings make each site certain given its neighbors, so the estimate
is noisy there, and far-apart modes are weighed badly.

Reference: Besag (1975), "Statistical Analysis of Non-Lattice Data".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.flips import neighbor_energies, refuse_continuous
from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import Loss, LossOutput
from ebm.rows import expand


class PseudoLikelihood(Loss):
    """L = -⟨Σ_d log p(y_d | y_{-d})⟩, a sum over sites and a mean over rows, in nats.

    The energy off the data is that of the neighbors of the data that were looked at.

    Args:
        sites: m, how many sites of a row to look at, different ones drawn for each row, weighted by D/m; all
            if None.
        one_hot: whether the last axis of the data holds one-hot sites, (B, *sites, K); else bits (B, *shape).
        max_rows: evaluate at most about so many points at once; all if None.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: for settings out of range; on a call, for data that are not zeros and ones, naming a row.

    Example:
        >>> from ebm import energy
        >>> flat = energy(lambda y: 0 * y.sum(1))  # knows nothing, so each bit costs log 2
        >>> output = PseudoLikelihood()(flat, y=torch.tensor([[0.0, 1.0, 1.0]]))
        >>> output.loss, PseudoLikelihood(sites=1)(flat, y=torch.tensor([[0.0, 1.0, 1.0]])).loss
        (tensor(2.0794), tensor(2.0794))
    """

    def __init__(
        self,
        sites: int | None = None,
        *,
        one_hot: bool = False,
        max_rows: int | None = None,
        variable: str = "y",
    ):
        super().__init__()
        self.sites = None if sites is None else count("sites", sites)
        self.max_rows = None if max_rows is None else count("max_rows", max_rows)
        self.one_hot, self.variable = one_hot, variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator, real=False)
        refuse_continuous(self.label, self.variable, points.y, self.one_hot)
        on_data = points.energy(points.y)  # (B,)
        total = points.y[0].numel() // (points.y.shape[-1] if self.one_hot else 1)
        sites = None if self.sites is None else random_sites(points.y, total, self.sites, generator)
        off_data = neighbor_energies(points, self.one_hot, sites, self.max_rows)  # (B, m, K - 1)
        odds = expand(on_data, off_data) - off_data  # log p(neighbor) / p(data)
        cost = torch.logsumexp(torch.cat([torch.zeros_like(odds[..., :1]), odds], 2), 2)  # (B, m)
        loss = total * cost.mean(1).mean()
        return LossOutput(loss, on_and_off(on_data, off_data))


def random_sites(y: Tensor, total: int, chosen: int, generator: torch.Generator | None) -> Tensor:
    """Different sites for each row, all equally likely, (B, chosen).

    Raises:
        ValueError: if more are asked for than there are.
    """
    if chosen > total:
        raise ValueError(f"a row has {total} sites, of which {chosen} were asked for; leave `sites` out.")
    home = y.device if generator is None else generator.device
    return torch.rand(len(y), total, generator=generator, device=home).argsort(1)[:, :chosen].to(y.device)

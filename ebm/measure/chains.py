"""Draws of several chains: what the diagnostics of convergence share.

    z = Φ⁻¹((r - 3/8) / (S + 1/4))        r the rank of a draw among all S draws

Equal draws share their mean rank. Ranks in place of values make a diagnostic right for heavy tails, too,
where means and variances do not exist.

Reference: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), "Rank-normalization, folding, and
localization: an improved R-hat for assessing convergence of MCMC", Bayesian Analysis 16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def as_chains(draws: Any) -> Tensor:
    """Draws (N, B, *shape) as a float64 tensor (N, B, C) of C scalars, after a check.

    Raises:
        TypeError: if it is no floating point tensor.
        ValueError: if there are fewer than 4 draws of a chain, or one is NaN or infinite.
    """
    if not isinstance(draws, Tensor) or not draws.is_floating_point():
        came = draws.dtype if isinstance(draws, Tensor) else type(draws).__name__
        raise TypeError(
            f"draws are a floating point tensor (N, B, *shape), such as the `value` of Samples, or one entry "
            f"of it where there are several variables; got {came}."
        )
    if draws.ndim < 2 or len(draws) < 4:
        raise ValueError(
            f"draws have the shape (N, B, *shape), N >= 4 draws of B chains; got {tuple(draws.shape)}."
        )
    chains = draws.detach().double().reshape(*draws.shape[:2], -1)
    if not bool(torch.isfinite(chains).all()):
        bad = (~torch.isfinite(chains)).any(2).any(0).nonzero().flatten().tolist()
        raise ValueError(
            f"chains {bad[:5]}{' and more' if len(bad) > 5 else ''} hold NaN or infinite draws; leave them "
            f"out (draws[:, good]), and find out why: `Samples.nonfinite` counts."
        )
    return chains


def split(chains: Tensor) -> Tensor:
    """Each chain as two, its first and its last half, (N, B, C) -> (N // 2, 2B, C)."""
    half = len(chains) // 2
    return torch.cat([chains[:half], chains[-half:]], 1)


def rank_normal(chains: Tensor) -> Tensor:
    """Normal scores of the ranks among all draws, for each scalar, (N, B, C) -> (N, B, C)."""
    pooled = chains.flatten(0, 1)  # (S, C)
    size = len(pooled)
    ordered, order = pooled.sort(0)
    place = torch.arange(1, size + 1, dtype=pooled.dtype, device=pooled.device).unsqueeze(1).expand_as(pooled)
    edge = ordered.new_ones((1, ordered.shape[1])).bool()
    begins = torch.cat([edge, ordered[1:] != ordered[:-1]])  # a run of equal draws begins, ends here
    ends = torch.cat([begins[1:], edge])
    first = place.where(begins, 0.0).cummax(0).values
    last = place.where(ends, size + 1.0).flip(0).cummin(0).values.flip(0)
    ranks = torch.empty_like(pooled).scatter_(0, order, (first + last) / 2)
    return torch.special.ndtri((ranks - 0.375) / (size + 0.25)).view_as(chains)


def quantile(chains: Tensor, q: float) -> Tensor:
    """The q-quantile of all draws, for each scalar, (C,), linear between neighbors."""
    ordered = chains.flatten(0, 1).sort(0).values  # `torch.quantile` has a limit on their number
    position = q * (len(ordered) - 1)
    low = int(position)
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], position - low)


def constant(chains: Tensor) -> Tensor:
    """Which scalars never change, (C,) bool; about them draws tell nothing."""
    return (chains == chains[0, 0]).flatten(0, 1).all(0)


def by_shape(numbers: Tensor, draws: Tensor) -> Tensor:
    """A number per scalar, (C,), in the shape and dtype of a draw of one chain, (*shape)."""
    return numbers.to(draws.dtype).reshape(draws.shape[2:])

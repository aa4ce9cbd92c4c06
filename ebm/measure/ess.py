"""Effective sample size: how many independent draws the draws of Markov chains are worth.

    ESS = S / τ,        τ = 1 + 2 Σ_{t>0} ρ_t = -1 + 2 Σ_k P_k,        P_k = ρ_{2k} + ρ_{2k+1}
    ρ_t = 1 - (W - mean of the chains' autocovariances at lag t) / V

S draws in all; W is the mean variance within a chain, and V = W (N - 1)/N + variance of the chains' means, so
that chains that disagree count as little as they should. For a reversible chain the P_k are positive and
fall: the sum stops where one is not positive, and each counts at most as much as those before it (Geyer's
initial monotone sequence). The standard error of a mean is √(variance / ESS).

Reference: Geyer (1992), "Practical Markov chain Monte Carlo", sect. 3.3; Vehtari et al. (2021)
(`ebm.measure.chains`), sect. 3 and 4.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ebm.measure.chains import as_chains, by_shape, constant, quantile, rank_normal, split

ENTRIES = 2**22  # of draws that are transformed at once, which bounds the memory

Kind = Literal["bulk", "tail", "mean"]


def ess(draws: Tensor, kind: Kind = "bulk") -> Tensor:
    """The effective sample size of all chains together, for each scalar of a draw.

    Every chain is split in two first. "bulk" is that of the rank-normalized draws: how well the center of the
    distribution is known, whatever its tails. "tail" is the smaller one of those of 1[u <= q] for the 5 % and
    the 95 % quantile q. "mean" is that of the draws as they are, for the standard error of their mean.

    Args:
        draws: (N, B, *shape), N >= 4 draws of B chains.
        kind: "bulk", "tail" or "mean".

    Returns:
        (*shape), at most S log₁₀ S for S = N·B draws; NaN for a scalar that never changes.

    Raises:
        TypeError, ValueError: for draws of another form, draws that are NaN or infinite, or an unknown kind.

    Reference: Vehtari et al. (2021), sect. 4.1 to 4.3.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x = [torch.randn(4, 2, generator=g)]
        >>> for _ in range(5000):  # x ← 0.6 x + ξ forgets: S draws are worth S (1 - 0.6) / (1 + 0.6) = S / 4
        ...     x.append(0.6 * x[-1] + torch.randn(4, 2, generator=g))
        >>> bool((ess(torch.stack(x)) / 20_000 - 0.25).abs().max() < 0.03)
        True
    """
    chains = as_chains(draws)
    if kind == "bulk":
        return by_shape(_ess(rank_normal(split(chains))), draws)
    if kind == "mean":
        return by_shape(_ess(split(chains)), draws)
    if kind == "tail":
        low, high = (_ess(split((chains <= quantile(chains, q)).double())) for q in (0.05, 0.95))
        return by_shape(torch.minimum(low, high), draws)
    raise ValueError(f"kind is 'bulk', 'tail' or 'mean'; got {kind!r}.")


def _ess(chains: Tensor) -> Tensor:
    n, m, _ = chains.shape
    covariance = autocovariance(chains)
    within = covariance[0] * n / (n - 1)
    variance = covariance[0] + chains.mean(0).var(0)
    rho = 1 - (within - covariance) / variance
    rho[0] = 1.0
    even, odd = rho[: 2 * max(1, (n - 1) // 2)].unflatten(0, (-1, 2)).unbind(1)
    pairs = even + odd  # (K, C)
    counted = (pairs > 0).long().cumprod(0)
    counted[-1] = 0
    last = counted.sum(0, keepdim=True)  # the first pair that does not count
    # Of that pair ρ_{2k} still counts, once: that is better where ρ alternates in sign (and what Stan does).
    rest = even.gather(0, last).squeeze(0).clamp(min=0)
    tau = -1 + 2 * (pairs.cummin(0).values * counted).sum(0) + rest
    size = n * m
    return (size / tau.clamp(min=1 / math.log10(size))).masked_fill(constant(chains), torch.nan)


def autocovariance(chains: Tensor) -> Tensor:
    """The chains' mean autocovariance at lags 0 to N - 1, divided by N, (N, B, C) -> (N, C), by FFT."""
    n, m, c = chains.shape
    total = chains.new_zeros(n + 1, c)
    for part in (chains - chains.mean(0)).split(max(1, ENTRIES // (2 * n * c)), 1):
        total = total + torch.fft.rfft(part, 2 * n, dim=0).abs().square().sum(1)
    return torch.fft.irfft(total, 2 * n, dim=0)[:n] / (n * m)

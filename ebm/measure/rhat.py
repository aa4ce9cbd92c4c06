"""R-hat: whether chains agree, by comparing the variance between them with the variance within.

    R̂ = √(V / W),        V = W (N - 1)/N + variance of the chains' means,        W the mean variance within

1 once the chains have forgotten where they began; Vehtari et al. ask for less than 1.01, of at least four
chains.

Reference: Gelman & Rubin (1992), "Inference from iterative simulation using multiple sequences"; Vehtari et
al. (2021) (`ebm.measure.chains`), sect. 4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ebm.measure.chains import as_chains, by_shape, constant, quantile, rank_normal, split


def rhat(draws: Tensor, kind: Literal["rank", "split"] = "rank") -> Tensor:
    """R-hat of each scalar of a draw; every chain is split in two, so one that drifts disagrees with itself.

    Args:
        draws: (N, B, *shape), N >= 4 draws of B chains.
        kind: "split" compares means of the draws; "rank" those of their normal scores, and of the normal
            scores of |u - median|, which shows chains that differ in spread alone, and returns the larger.

    Returns:
        (*shape); NaN for a scalar that never changes, huge for one that changes from chain to chain alone.

    Raises:
        TypeError, ValueError: for draws of another form, draws that are NaN or infinite, or an unknown kind.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = torch.randn(500, 4, generator=g)
        >>> bool(rhat(draws) < 1.01)
        True
        >>> draws[:, 3] *= 3  # the same mean: only the folded draws tell
        >>> bool(rhat(draws, "split") < 1.01), bool(rhat(draws) > 1.1)
        (True, True)
    """
    chains = split(as_chains(draws))
    if kind == "split":
        return by_shape(_rhat(chains), draws)
    if kind == "rank":
        folded = (chains - quantile(chains, 0.5)).abs()
        return by_shape(torch.maximum(_rhat(rank_normal(chains)), _rhat(rank_normal(folded))), draws)
    raise ValueError(f"kind is 'rank' or 'split'; got {kind!r}.")


def _rhat(chains: Tensor) -> Tensor:
    n = len(chains)
    within, between = chains.var(0).mean(0), chains.mean(0).var(0)
    return (between / within + (n - 1) / n).sqrt().masked_fill(constant(chains), torch.nan)

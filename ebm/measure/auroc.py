"""AUROC: how often a point of the one kind has a higher score than one of the other, and how sure that is.

    A = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)        over all pairs of M positive and N negative scores
    V_i = the share of s⁻ below s⁺_i (ties half),   W_j = the share of s⁺ above s⁻_j
    A = ⟨V⟩ = ⟨W⟩,        variance = var(V) / M + var(W) / N

½ is chance, 1 is perfect. It is the area under the curve of true against false positives as the threshold
moves, and Mann-Whitney's statistic over MN; no threshold has to be chosen, and any increasing function of the
scores has the same. Energies as scores: data are the negatives, what is unlike them the positives. At A = 1
the variance is 0, which says that more pairs are needed to see an error, not that there is none.

Reference: Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic
(ROC) curve"; DeLong, DeLong, Clarke-Pearson (1988), "Comparing the areas under two or more correlated
receiver operating characteristic curves" (the variance).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class AUROC(NamedTuple):
    """An area under the curve.

    Attributes:
        value: A, in [0, 1].
        standard_error: of A, by DeLong; NaN for a single score of a kind.
    """

    value: float
    standard_error: float


def auroc(on: Tensor, off: Tensor) -> float:
    """P(off > on) + ½ P(off = on) over all pairs of two samples of scores, (N,) and (M,).

    Example:
        >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
        0.875
    """
    return float(placements(on, off).mean())


def auroc_report(on: Tensor, off: Tensor) -> AUROC:
    """AUROC with its standard error.

    Args:
        on: the lower scores, energies of data for instance, (N,).
        off: the higher ones, energies of points unlike the data, (M,).

    Raises:
        ValueError: if one of them is empty or no vector, or holds NaN.

    Example:
        >>> report = auroc_report(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 5.0]))
        >>> report.value, round(report.standard_error, 4)
        (0.875, 0.1483)
    """
    for name, scores in (("on", on), ("off", off)):
        if scores.ndim != 1 or len(scores) == 0 or bool(scores.isnan().any()):
            raise ValueError(
                f"{name} is a vector of scores, at least one and none of them NaN; got "
                f"{tuple(scores.shape)}, {int(scores.isnan().sum())} NaN."
            )
    above, below = placements(on, off), 1 - placements(off, on)
    value = float(above.mean())
    if min(len(on), len(off)) < 2:
        return AUROC(value, math.nan)
    return AUROC(value, math.sqrt(float(above.var() / len(off) + below.var() / len(on))))


def placements(on: Tensor, off: Tensor) -> Tensor:
    """For each of the second scores the share of the first ones below it, ties half, (M,) float64."""
    order = on.sort().values
    below = torch.searchsorted(order, off, right=False)
    up_to = torch.searchsorted(order, off, right=True)
    return (below + up_to).double() / (2 * len(on))

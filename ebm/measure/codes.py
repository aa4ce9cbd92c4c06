"""Codes at a glance: are they alive, all alike, or confined to few directions?

    spread = √⟨|z - z̄|²⟩ / √⟨|z|²⟩            complete collapse: spread <= 3 %
    directions = (Σ_k λ_k)² / Σ_k λ_k²         dimensional collapse: directions < 1 + (n(M) - 1) / 5
    n(M) = (Σ_j 1/j)² / Σ_j 1/j²               λ the eigenvalues of Cov(z), M = min(D, N - 1) of them

Neither changes if codes are scaled or rotated, and both forgive noise. Equal codes that are rounded to
bfloat16 spread by about 0.2 % of their length; 3 %, a cosine of 0.999 between any two, is what no
arithmetic makes of nothing, and what a training that pulls all codes together comes to in some hundred
steps. K equal directions count as K (the participation ratio); noise enters squared, so that a single
direction of 64, with noise of a tenth of its width along all of them, counts as 2.7. n(M) is what a
spectrum λ_j ∝ 1/j has, the decay that was found where codes serve well, in brains and in networks: 14 of 64
directions, 28 of 512. A fifth of the way to it from a single direction is 3.6 of 64 and 6.4 of 512, about
half or less of what untrained networks make of plain images.

Rank is not quality: an untrained network has some, and two-dimensional data won't fill 64 dimensions.

Reference: Jing, Vincent, LeCun & Tian (2022), "Understanding dimensional collapse in contrastive
self-supervised learning", for the two kinds; Stringer et al. (2019) and Agrawal et al. (2022)
(`ebm.measure.alpha_req`) for the spectrum 1/j.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.measure.alignment import uniformity
from ebm.measure.spectrum import check_codes, effective_number, triangle, uncentered_values

ALIKE = 0.03  # of the codes' length: a smaller spread is complete collapse
COMPARED = 2048  # codes at most whose pairs enter uniformity
COMPLETE, DIMENSIONAL, ALIVE = "complete collapse", "dimensional collapse", "alive"


class CollapseWarning(UserWarning):
    """A representation does not tell its examples apart."""


def constant(z: Tensor) -> bool:
    """Whether all rows of codes (N, D) are the same; of codes that aren't, it looks at two rows only."""
    return len(z) > 1 and bool(torch.equal(z[0], z[-1])) and bool((z == z[0]).all())


@dataclass(frozen=True)
class CodeReport:
    """What `code_report` measured; `print` it for a table.

    Attributes:
        rows, dimensions: N and D.
        length: √⟨|z|²⟩, how long a code is.
        std, std_min: the standard deviation of each dimension, its mean and its least.
        spread: √⟨|z - z̄|²⟩ as a share of `length`, or of the `scale` that was given.
        correlation: mean of |correlation| over pairs of dimensions that vary; about 0.8 / √N where they are
            independent.
        rankme: the paper's (`ebm.measure.rankme`).
        directions: (Σ λ)² / Σ λ², how many directions hold the variance; 0 if there is none.
        share: `directions` as a share of the M = min(D, N - 1) that there could be.
        uniformity: `ebm.measure.uniformity`, of at most 2,048 codes.
        alike, few: the thresholds of `spread` and of `directions`.
    """

    rows: int
    dimensions: int
    length: float
    std: float
    std_min: float
    spread: float
    correlation: float
    rankme: float
    directions: float
    share: float
    uniformity: float
    alike: float
    few: float

    @property
    def verdict(self) -> str:
        """ "complete collapse", "dimensional collapse" or "alive"."""
        if self.spread <= self.alike:
            return COMPLETE
        return DIMENSIONAL if self.directions < self.few else ALIVE

    @property
    def finding(self) -> str:
        """The verdict in a sentence, with the numbers it rests on."""
        if self.verdict == COMPLETE:
            return (
                f"complete collapse: the codes of {self.rows} examples spread by {self.spread:.2g} of their "
                f"length (alive: more than {self.alike:g}), mean standard deviation {self.std:.2g}"
            )
        alive = "alive" if self.verdict == ALIVE else "dimensional collapse"
        return (
            f"{alive}: the codes of {self.rows} examples span {self.directions:.1f} of {self.dimensions} "
            f"directions (collapsed: fewer than {self.few:.1f}), RankMe {self.rankme:.1f}, mean "
            f"|correlation| {self.correlation:.2f}"
        )

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {**vars(self), "verdict": self.verdict}

    def __str__(self) -> str:
        return "\n".join(
            [
                f"codes: {self.rows} rows, {self.dimensions} dimensions, length {self.length:.4g}",
                f"standard deviation of a dimension: mean {self.std:.3g}, least {self.std_min:.3g}",
                f"spread {self.spread:.3g} of the length, uniformity {self.uniformity:.3f}",
                f"directions {self.directions:.1f} ({self.share:.1%}), RankMe {self.rankme:.1f}, "
                f"mean |correlation| {self.correlation:.3f}",
                f"verdict: {self.verdict}",
            ]
        )


def code_report(
    z: Tensor, *, scale: float | None = None, alike: float = ALIKE, few: float | None = None
) -> CodeReport:
    """Measure codes, and say whether they collapsed.

    Args:
        z: codes of N different examples, (N, D), N >= 2, better several times D.
        scale: the length that codes should have, with which `spread` is compared; if None, the length that
            they have, so codes that shrink to 0 all together are not found to be alike.
        alike: complete collapse if `spread` is at most this, in (0, 1).
        few: dimensional collapse if `directions` are fewer; 1 + (n(M) - 1) / 5 if None.

    Raises:
        TypeError: if the codes are no floating-point tensor.
        ValueError: for another shape, codes that are NaN or infinite, or a setting out of range.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> codes = torch.randn(500, 16, generator=g)
        >>> code_report(codes).verdict, code_report(codes[:, :1].expand(-1, 16)).verdict
        ('alive', 'dimensional collapse')
        >>> report = code_report(3 + 0.001 * codes)
        >>> report.verdict, round(report.spread, 4)
        ('complete collapse', 0.0003)
    """
    if not 0 < alike < 1:
        raise ValueError(f"alike is a share of the codes' length, between 0 and 1; got {alike}.")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale is a length, positive and finite; got {scale}.")
    if few is not None and not few > 0:
        raise ValueError(f"few is a number of directions, positive; got {few}.")
    z = check_codes(z)
    rows, dim = z.shape
    most = min(dim, rows - 1)
    mean, r = triangle(z)
    covariance = r.T @ r / (rows - 1)
    std, total = covariance.diagonal().sqrt(), float(covariance.trace())
    variance = total * (rows - 1) / rows
    length = math.sqrt(variance + float(mean.square().sum()))
    directions = total**2 / float(covariance.square().sum()) if total > 0 else 0.0
    return CodeReport(
        rows=rows,
        dimensions=dim,
        length=length,
        std=float(std.mean()),
        std_min=float(std.min()),
        spread=math.sqrt(variance) / (scale or length or 1.0),
        correlation=_correlation(covariance),
        rankme=effective_number(uncentered_values(mean, r, rows), 1e-7),
        directions=directions,
        share=directions / most,
        uniformity=float(uniformity(z[:: math.ceil(rows / COMPARED)])),
        alike=alike,
        few=_few(most) if few is None else few,
    )


def _few(most: int) -> float:
    """A fifth of the way from 1 to n(M), the directions of the spectrum 1, 1/2, ..., 1/M."""
    if most == 1:
        return 0.0  # a single direction is all there could be
    shares = [1 / j for j in range(1, most + 1)]
    return 1 + (sum(shares) ** 2 / sum(share**2 for share in shares) - 1) / 5


def _correlation(covariance: Tensor) -> float:
    """The mean of |correlation| over pairs of different dimensions that vary; 0 if there is no such pair."""
    varying = covariance.diagonal() > 0
    covariance = covariance[varying][:, varying]
    count, std = len(covariance), covariance.diagonal().sqrt()
    if count < 2:
        return 0.0
    return float(((covariance / (std * std.unsqueeze(1))).abs().sum() - count) / (count * (count - 1)))

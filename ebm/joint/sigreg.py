"""SIGReg, the criterion of LeJEPA: views agree, and codes are distributed as N(0, I) on every line.

    L = (1 - λ) s + λ S,    s = ⟨|z^v - z̄|²⟩ / D,    S = ⟨T(⟨a_m, z^v⟩)⟩_{v,m}

s is the mean squared distance of the views to the mean of (the global) views. S, the sketched isotropic
Gaussian regularization, is the mean of a test of numbers against N(0, 1) over random directions a_m and
views; Epps and Pulley's by default. Isotropic Gaussian codes can't collapse, and the paper argues that of all
distributions with one trace of the covariance they serve tasks best that aren't known yet.

Directions are drawn anew on each call, from `generator`, by process 0 for all. S equals the official package;
it has the factor N of a test statistic (see `ebm.joint.univariate`), which λ has to be chosen with. λ = 0.02
is the official minimal example's, for 4 views of 256 examples.

Reference: Balestriero & LeCun (2025), "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import count
from ebm.joint.centering import to_center
from ebm.joint.criterion import Criterion
from ebm.joint.slices import directions, sliced
from ebm.joint.univariate import EppsPulley, UnivariateTest
from ebm.loss import LossOutput


class SIGReg(Criterion):
    """L = (1 - λ) invariance + λ normality, of the codes of one or more views, (N, D) each.

    The terms are "invariance" and "normality", S. With one view, invariance is 0.

    Args:
        univariate: T, a test of samples of numbers; `EppsPulley()` if None.
        slices: M >= 1, directions for each call.
        weight: λ, 0 to 1; with 1, L is S alone.
        global_views: the views whose mean the others should equal are the first so many; all if None.

    Raises:
        TypeError: if `univariate` is no test.
        ValueError: if a setting is out of its range; on a call, if there are fewer views than global ones.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> z = torch.randn(500, 8, generator=generator)
        >>> float(SIGReg(weight=1.0)(z, generator=generator).loss) < 1.5  # 1.05 on average
        True
        >>> float(SIGReg(weight=1.0)(0.5 * z, generator=generator).loss) > 15
        True
    """

    views = (1, None)

    def __init__(
        self,
        univariate: UnivariateTest | None = None,
        slices: int = 1024,
        weight: float = 0.02,
        global_views: int | None = None,
    ):
        super().__init__()
        univariate = EppsPulley() if univariate is None else univariate
        if not isinstance(univariate, UnivariateTest):
            raise TypeError(f"univariate is a test such as EppsPulley(); got {univariate!r}.")
        self.univariate, self.slices = univariate, count("slices", slices)
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is between 0 (only invariance) and 1 (only normality); got {weight}.")
        self.weight = weight
        self.global_views = None if global_views is None else count("global_views", global_views)

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        invariance = to_center(codes, self.global_views)
        normality = sliced(self.univariate, list(codes), directions(self.slices, codes[0], generator))
        loss = (1 - self.weight) * invariance + self.weight * normality
        return LossOutput(loss, {"invariance": invariance.detach(), "normality": normality.detach()})

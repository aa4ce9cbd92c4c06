"""Sliced score matching: compare scores along random directions, at the price of one pass each.

    SSM:     J = ⟨½(vᵀ∇E)² - vᵀ∇²E v⟩        over data and directions with ⟨vvᵀ⟩ = I
    SSM-VR:  J = ⟨½|∇E|² - vᵀ∇²E v⟩          the first average done in closed form: less variance

Both have the mean of exact score matching, whatever D, for one product with the Hessian. Sliced, the
densities are compared as their projections are; SSM-VR is Hutchinson's estimate of the trace.

The unit of J hangs on the length of v. Here ⟨vvᵀ⟩ = I always, so J is that of Hyvärinen (2005), a sum over
entries. The authors' code draws v on the unit sphere in one of its functions, which gives J/D, and signs, a
sphere of radius √D or normal entries in others: same name, factor D apart.

When it fails: as score matching does; and in high dimensions the directions make it noisy. It needs smooth
networks (no ReLU).

Reference: Song, Garg, Shi, Ermon (2019), "Sliced Score Matching: A Scalable Approach to Density and Score
Estimation", sect. 3.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.points import Points
from ebm.contrastive.score_matching import normal, refuse_flat, signs
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.rows import dot, expand, half_mean_square, mean_dot, norm

DIRECTIONS = ("rademacher", "gaussian", "sphere")


class SlicedScoreMatching(Loss):
    """J = ⟨½(vᵀ∇E)² - vᵀ∇²Ev⟩, or with |∇E|² in place of (vᵀ∇E)².

    Terms: "energy on data", "slope" and "curvature", with J = slope - curvature; as in `ScoreMatching`.

    Args:
        variance_reduced: SSM-VR; if False, SSM.
        directions: "rademacher": entries ±1; "gaussian": entries N(0, 1); "sphere": of length √D.
        projections: directions a row.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: for other directions, or on a call if the energy has slopes and no curvature (ReLU).
        TypeError: on a call, for discrete data.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> loss = SlicedScoreMatching(directions="sphere")
        >>> round(loss(bowl, torch.Generator().manual_seed(0), y=torch.ones(3, 2)).loss.item(), 4)  # ½·2 - 2
        -1.0
    """

    def __init__(
        self,
        variance_reduced: bool = True,
        directions: str = "rademacher",
        projections: int = 1,
        *,
        variable: str = "y",
    ):
        super().__init__()
        if directions not in DIRECTIONS:
            raise ValueError(f"directions are one of {', '.join(DIRECTIONS)}; got {directions!r}.")
        self.variance_reduced, self.directions, self.variable = variance_reduced, directions, variable
        self.projections = count("projections", projections)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        here = Slopes(points, points.y)
        draws = [self._draw(points.y, generator) for _ in range(self.projections)]
        products = [here.product(v) for v in draws]
        curvature = average([mean_dot(v, product) for v, product in zip(draws, products, strict=True)])
        refuse_flat(energy, here.gradient, products[0], curvature)
        if self.variance_reduced:
            slope = half_mean_square(here.gradient)
        else:
            slope = average([0.5 * dot(v, here.gradient).square().mean() for v in draws])
        loss = slope - curvature
        terms = {ON_DATA: here.value.detach().mean(), "slope": slope, "curvature": curvature}
        return LossOutput(loss, {name: value.detach() for name, value in terms.items()})

    def _draw(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.directions == "rademacher":
            return signs(y, generator)
        v = normal(y, generator)
        return v if self.directions == "gaussian" else v * expand(math.sqrt(y[0].numel()) / norm(v), v)


def average(numbers: list[Tensor]) -> Tensor:
    """The mean of numbers with a graph; of one, itself."""
    return numbers[0] if len(numbers) == 1 else torch.stack(numbers).mean()

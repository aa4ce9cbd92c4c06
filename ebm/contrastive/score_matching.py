"""Score matching: fit the slope of the log-density, which knows nothing of Z.

    J = ⟨½|∇E|² - ΔE⟩_data,        ψ = -∇E = ∇ log p, the score;  in its terms ⟨½|ψ|² + tr ∇ψ⟩

The distance of two scores, ½⟨|∇E - ∇E_data|²⟩, holds the unknown slope of the data's own density. Integration
by parts turns the mixed term into the curvature, which data alone can average, so J differs from the distance
by a constant: data are to lie where the energy is flat (|∇E|² small) and curved upward (ΔE large).

What it costs: ΔE is a trace of D second derivatives, exactly D passes backward; a random direction estimates
it in one, vᵀ∇²Ev with ⟨vvᵀ⟩ = I (Hutchinson 1990). When it fails: the density must be smooth and vanish at
the borders of its domain; networks need two derivatives (SiLU, tanh, softplus: a ReLU has no curvature); and
only slopes where there are data count, so the weights of well separated modes are not learned.

For E = ½ yᵀΛy and data of covariance S: J = ½ tr ΛSΛ - tr Λ, smallest at Λ = S⁻¹, where it is -½ tr S⁻¹.

Reference: Hyvärinen (2005), "Estimation of Non-Normalized Statistical Models by Score Matching", theorem 1;
Hutchinson (1990), "A Stochastic Estimator of the Trace of the Influence Matrix".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.points import Points
from ebm.contrastive.slopes import Slopes
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.rows import half_mean_square

TRACES = ("exact", "rademacher", "gaussian")


class ScoreMatching(Loss):
    """J = ⟨½|∇E|² - ΔE⟩, a sum over the D entries of a row and a mean over rows.

    There are no points off the data here, so the terms are "energy on data", "slope", the mean of ½|∇E|², and
    "curvature", that of ΔE: J = slope - curvature.

    Args:
        trace: how to find ΔE. "exact": D passes backward, right for small D. "rademacher": along random signs
            (the least noise of all directions with independent entries; none where ∇²E is diagonal).
            "gaussian": along normal directions; the same loss is called SSM-VR.
        probes: directions a row, for a random trace.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        ValueError: for another trace, or on a call if the energy has slopes and no curvature at all, as a
            network of ReLUs has.
        TypeError: on a call, for discrete data.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> y = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> [ScoreMatching(t)(bowl, y=y).loss.item() for t in ("exact", "rademacher")]  # ½·2 - 2
        [-1.0, -1.0]
    """

    def __init__(self, trace: str = "exact", probes: int = 1, *, variable: str = "y"):
        super().__init__()
        if trace not in TRACES:
            raise ValueError(f"trace is one of {', '.join(TRACES)}; got {trace!r}.")
        self.trace, self.probes, self.variable = trace, count("probes", probes), variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        here = Slopes(points, points.y)
        if self.trace == "exact":
            curvature = here.laplacian()
        else:
            draw = signs if self.trace == "rademacher" else normal
            total = sum(here.along(draw(points.y, generator)) for _ in range(self.probes))
            curvature = torch.as_tensor(total) / self.probes
        slope, mean = half_mean_square(here.gradient), curvature.mean()
        refuse_flat(energy, here.gradient, curvature, mean)
        terms = {ON_DATA: here.value.detach().mean(), "slope": slope, "curvature": mean}
        loss = slope - mean
        return LossOutput(loss, {name: value.detach() for name, value in terms.items()})


def signs(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Directions with entries ±1, each with probability ½ (Rademacher)."""
    return torch.empty_like(like).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)


def normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Directions from N(0, I)."""
    return torch.empty_like(like).normal_(generator=generator)


def refuse_flat(energy: Energy, gradient: Tensor, curvature: Tensor, mean: Tensor) -> None:
    """Refuse an energy that has slopes and no curvature: its loss would only flatten it.

    Args:
        energy: it is named in the error.
        gradient: its slopes at the data.
        curvature: what was found of its curvature there.
        mean: of that, which is looked at first.

    Raises:
        ValueError: saying which activations to take.
    """
    if mean.item() != 0:  # nearly always
        return
    with torch.no_grad():
        if not bool(curvature.any()) and bool(gradient.any()):
            raise ValueError(
                f"{energy.label} has slopes and no curvature at any row, so score matching would only "
                f"flatten it. Piecewise linear networks (ReLU) are such: take SiLU, tanh or softplus, or a "
                f"loss of first derivatives, DenoisingScoreMatching."
            )

"""VISReg: views agree, and codes are centered, as wide as N(0, I), and shaped like it on every line.

    L = (1 - λ) s + λ (w_s scale + w_h shape + w_c center),    each of the three the mean over views

    center = ⟨μ_d²⟩_d,    scale = ⟨(σ_d - 1)²⟩_d,    shape = ⟨(x_(n) - q_n)²⟩_{n,m},    x = ⟨a_m, (z-μ)/sg(σ)⟩

s is the mean squared distance of the views to the mean of (the global) views; μ and σ are the mean and the
biased standard deviation of each dimension over the batch; x_(1) <= ... <= x_(N) are sorted projections on M
random directions a_m, and q_n = Φ⁻¹(n/(N+1)). Scale and shape are decoupled: σ is a constant in shape, and
scale pulls with full force where the codes have collapsed, where the gradient of a characteristic function
vanishes.

Equals the official code. It is two-sided, unlike VICReg's hinge. The q have a mean square below 1 (0.57 for 8
rows), so shape and scale can't both be 0 for few rows.

Reference: Wu, Balestriero, Levine (2026), "VISReg", eq. 1 to 8; official code, HaiyuWu/visreg.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import count, positive
from ebm.joint.centering import to_center
from ebm.joint.criterion import Criterion
from ebm.joint.slices import directions, sliced
from ebm.joint.univariate import Quantiles
from ebm.loss import LossOutput

LEAST = 1e-6  # standard deviation


class VISReg(Criterion):
    """L = (1 - λ) invariance + λ (w_s scale + w_h shape + w_c center), of one or more views (N, D) each.

    The terms are "invariance", "scale", "shape" and "center". With one view, invariance is 0.

    Args:
        slices: M >= 1, directions for each call; 4096 in the paper's runs.
        weight: λ, 0 to 1.
        scale: w_s >= 0.
        shape: w_h >= 0.
        center: w_c >= 0.
        global_views: the views whose mean the others should equal are the first so many; all if None. The
            paper has 4 global views and 6 local ones.

    Raises:
        ValueError: if a setting is out of its range; on a call, if there are fewer views than global ones.

    Example:
        >>> z = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
        >>> list(VISReg(slices=64)(z, z).terms)
        ['invariance', 'scale', 'shape', 'center']
    """

    views = (1, None)

    def __init__(
        self,
        slices: int = 4096,
        weight: float = 0.9,
        scale: float = 1.0,
        shape: float = 1.0,
        center: float = 1.0,
        global_views: int | None = None,
    ):
        super().__init__()
        for name, value in {"scale": scale, "shape": shape, "center": center}.items():
            positive(name, value, zero=True)
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is between 0 (only invariance) and 1 (only the others); got {weight}.")
        self.slices, self.weight = count("slices", slices), weight
        self.scale, self.shape, self.center = scale, shape, center
        self.global_views = None if global_views is None else count("global_views", global_views)
        self.univariate = Quantiles()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        means = [z.mean(0) for z in codes]
        centered = [z - mean for z, mean in zip(codes, means, strict=True)]
        stds = [(torch.linalg.vector_norm(z, dim=0) / len(z) ** 0.5).clamp(min=LEAST) for z in centered]
        standard = [z / std.detach() for z, std in zip(centered, stds, strict=True)]
        terms = {
            "invariance": to_center(codes, self.global_views),
            "scale": torch.stack([(std - 1).square().mean() for std in stds]).mean(),
            "shape": sliced(self.univariate, standard, directions(self.slices, codes[0], generator)),
            "center": torch.stack([mean.square().mean() for mean in means]).mean(),
        }
        regularizer = (
            self.scale * terms["scale"] + self.shape * terms["shape"] + self.center * terms["center"]
        )
        loss = (1 - self.weight) * terms["invariance"] + self.weight * regularizer
        return LossOutput(loss, {name: value.detach() for name, value in terms.items()})

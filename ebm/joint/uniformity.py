"""Alignment and uniformity: views of an example together, all examples spread over the sphere.

    L = a + w ½ [u(X) + u(Y)],    a = ⟨|x_i - y_i|^α⟩_i,    u(Z) = log ⟨exp(-t |z_i - z_j|²)⟩_{i<j}

of codes of length 1. u is the log of a Gaussian potential, smallest for the uniform distribution; it is 0
where all codes are one. Minimizing NT-Xent comes to the same for many negatives: its numerator aligns, its
denominator spreads. As |z_i - z_j|² = 2 - 2 cos, the sum over pairs is that over the crowding of all codes
(`ebm.joint.crowding`) at temperature 1/(2t): u = -2t + log Σ_i exp(c_i) - log N(N-1).

Equals the loss of the authors' code with its defaults, on codes of length 1. `ebm.measure` has a and u as
measures of codes that were learned otherwise.

Reference: Wang & Isola (2020), "Understanding Contrastive Representation Learning through Alignment and
Uniformity on the Hypersphere", sect. 4.1 and theorem 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.crowding import crowding
from ebm.joint.pair import CosineDistance
from ebm.joint.sphere import on_sphere
from ebm.loss import LossOutput


class AlignmentUniformity(Criterion):
    """L = ⟨|x_i - y_i|^α⟩ + w ½ [u(X) + u(Y)] of the codes of two views, (N, D) each.

    The terms "invariance" and "uniformity" are a >= 0 and ½ [u(X) + u(Y)] <= 0.

    Args:
        weight: w >= 0, of uniformity.
        alpha: α >= 1, the power of the distance; below 1 the pull on a pair would grow without bound as it
            closes.
        t: t > 0, of the potential exp(-t |z_i - z_j|²).
        normalize: bring codes to length 1; if False, they must come so.

    Raises:
        ValueError: if a setting is out of its range; on a call, if codes that aren't normalized here don't
            have length 1.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # a distance of 2, t = 2
        >>> AlignmentUniformity()(z, z).loss
        tensor(-8.)
    """

    def __init__(self, weight: float = 1.0, alpha: float = 2.0, t: float = 2.0, normalize: bool = True):
        super().__init__()
        positive("weight", weight, zero=True)
        positive("t", t)
        if not alpha >= 1:
            raise ValueError(f"alpha is a power of the distance, at least 1; got {alpha}.")
        self.weight, self.alpha, self.t, self.normalize = weight, alpha, t, normalize

    @property
    def energy(self) -> Energy:
        return CosineDistance()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = (on_sphere(z, self.normalize, self.label) for z in codes)
        alignment = torch.linalg.vector_norm(x - y, dim=1).pow(self.alpha).mean()
        uniformity = 0.5 * (self._potential(x) + self._potential(y))
        terms = {"invariance": alignment.detach(), "uniformity": uniformity.detach()}
        return LossOutput(alignment + self.weight * uniformity, terms)

    def _potential(self, z: Tensor) -> Tensor:
        crowded = crowding(z, 1 / (2 * self.t))
        return crowded.logsumexp(0) - 2 * self.t - math.log(len(z) * (len(z) - 1))

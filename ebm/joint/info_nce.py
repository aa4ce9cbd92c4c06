"""InfoNCE: which of the N codes of the other view belongs to this one?

    L = (1/N) Σ_i -log [ exp(s_ii/τ) / Σ_k exp(s_ik/τ) ],        s_ik = cos(x_i, y_k)

N-way classification with the pair energy E = 1 - cos and β = 1/τ. Only pairs across the views are compared;
NT-Xent also pushes codes of one view apart. L + I(X; Y) >= log N: minimizing L raises a lower bound, log N -
L, of the mutual information of the codes. One-way is CPC's loss with its batch as negatives; the mean of both
ways is CLIP's.

Reference: van den Oord, Li, Vinyals (2018), "Representation Learning with Contrastive Predictive Coding",
eq. 4 and sect. 2.3; Radford et al. (2021), "Learning Transferable Visual Models From Natural Language
Supervision", fig. 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.pair import CosineDistance
from ebm.joint.sphere import on_sphere
from ebm.loss import LossOutput


class InfoNCE(Criterion):
    """The cross-entropy of finding y_i, given x_i, among all codes y; and the other way round.

    L = (1/N) Σ_i [ -s_ii/τ + log Σ_k exp(s_ik/τ) ], or its mean with x and y exchanged. Terms: "invariance",
    the mean of 1 - s_ii; and "repulsion", so that L = invariance/τ + repulsion. If all codes are one, L = log
    N.

    Args:
        temperature: τ > 0.
        two_way: the mean of both directions, as CLIP has it; else from the first view to the second only.
        normalize: bring codes to length 1; if False, they must come so.

    Raises:
        ValueError: if the temperature isn't positive; on a call, if codes that aren't normalized here don't
            have length 1.

    Example:
        >>> z = torch.eye(4)
        >>> InfoNCE(temperature=0.5)(z, z).loss  # log(1 + 3 exp(-2))
        tensor(0.3408)
    """

    def __init__(self, temperature: float = 0.1, two_way: bool = True, normalize: bool = True):
        super().__init__()
        positive("temperature", temperature)
        self.temperature, self.two_way, self.normalize = temperature, two_way, normalize

    @property
    def energy(self) -> Energy:
        return CosineDistance()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = (on_sphere(z, self.normalize, self.label) for z in codes)
        logits = x @ y.T / self.temperature  # (N, N)
        own = torch.arange(len(x), device=x.device)
        loss = cross_entropy(logits, own)
        if self.two_way:
            loss = 0.5 * (loss + cross_entropy(logits.T, own))
        invariance = 1 - self.temperature * logits.detach().diagonal().mean()
        repulsion = loss.detach() - invariance / self.temperature
        return LossOutput(loss, {"invariance": invariance, "repulsion": repulsion})

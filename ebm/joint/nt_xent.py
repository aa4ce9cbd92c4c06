"""NT-Xent, the criterion of SimCLR: recognize the other view of an example among all codes of the batch.

    L = (1/2N) Σ_i -log [ exp(s_ip/τ) / Σ_{k≠i} exp(s_ik/τ) ],        s_ik = cos(z_i, z_k),  i = 1 ... 2N

p is the other view of i. With E = 1 - cos and β = 1/τ the fraction is the Boltzmann probability of the
partner among all other codes: the energy of positive pairs is pushed down, that of all other pairs up, each
as much as its probability. In terms of the crowding c_i by other examples (`ebm.joint.crowding`),

    L = (1/2N) Σ_i softplus(c_i - s_ip/τ)

Reference: Chen, Kornblith, Norouzi, Hinton (2020), "A Simple Framework for Contrastive Learning of Visual
Representations", eq. 1 and algorithm 1; Sohn (2016), "Improved Deep Metric Learning with Multi-class N-pair
Loss Objective".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.crowding import crowding
from ebm.joint.pair import CosineDistance
from ebm.joint.sphere import on_sphere
from ebm.loss import LossOutput


class NTXent(Criterion):
    """The normalized, temperature-scaled cross-entropy of two views (N, D).

    L = (1/2N) Σ_i [ -s_ip/τ + log Σ_{k≠i} exp(s_ik/τ) ]. Terms: "invariance", the mean of 1 - s_ip; and
    "repulsion", the mean of log Σ_{k≠i} exp((s_ik - 1)/τ), so that L = invariance/τ + repulsion.
    If all codes are one, L = log(2N - 1) for every τ.

    Args:
        temperature: τ > 0. SimCLR is trained with 0.1 to 0.5.
        normalize: bring codes to length 1; if False, they must come so.

    Raises:
        ValueError: if the temperature isn't positive; on a call, if codes that aren't normalized here don't
            have length 1.

    Example:
        >>> z = torch.eye(4)
        >>> output = NTXent(temperature=0.5)(z, z)
        >>> output.loss  # log(1 + 6 exp(-2))
        tensor(0.5944)
    """

    def __init__(self, temperature: float = 0.1, normalize: bool = True):
        super().__init__()
        positive("temperature", temperature)
        self.temperature, self.normalize = temperature, normalize

    @property
    def energy(self) -> Energy:
        return CosineDistance()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = (on_sphere(z, self.normalize, self.label) for z in codes)
        cosine = (x * y).sum(1)  # (N,)
        crowded = crowding(torch.cat([x, y]), self.temperature, views=2).view(2, -1)
        loss = softplus(crowded - cosine / self.temperature).mean()
        invariance = 1 - cosine.detach().mean()
        repulsion = loss.detach() - invariance / self.temperature
        return LossOutput(loss, {"invariance": invariance, "repulsion": repulsion})

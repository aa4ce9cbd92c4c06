"""Decoupled contrastive learning: NT-Xent without the positive pair among those that are pushed apart.

    L = (1/2N) Σ_i [ -w_i s_ip/τ + log Σ_k exp(s_ik/τ) ],        s_ik = cos(z_i, z_k)

k runs over the 2N - 2 codes of other examples; p is the other view of i. NT-Xent's ℓ_i is softplus(DCL's
ℓ_i), so its gradient is that of DCL times q_i = 1 - p(partner | i), which is small once the positives are
close; DCL takes this factor out, and so learns from small batches too. DCL has w = 1; in DCLW pairs that
agree weigh less:

    w_i = 2 - N exp(s_ip/σ) / Σ_j exp(s_jp/σ)        1 on average

Equals the paper's loss as the mean over examples and views, as lightly has it; the authors' code adds up the
two directions, which is twice as much, and its DCLW, in the version we read, lacks the factor N. The paper
writes w = 2 - exp(s/σ) / E[exp(s/σ)], as here.

Reference: Yeh, Hong, Hsu, Liu, Chen, LeCun (2021), "Decoupled Contrastive Learning", eq. 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.joint.criterion import Criterion
from ebm.joint.crowding import crowding
from ebm.joint.pair import CosineDistance
from ebm.joint.sphere import on_sphere
from ebm.loss import LossOutput


class DCL(Criterion):
    """The decoupled contrastive loss of two views, (N, D) each, with w = 1.

    L = (1/2N) Σ_i [ -s_ip/τ + log Σ_k exp(s_ik/τ) ], k over other examples. Terms: "invariance", the mean of
    1 - s_ip; and "repulsion", the mean of log Σ_k exp((s_ik - 1)/τ), so that L = invariance/τ + repulsion.
    If all codes are one, L = log(2N - 2) for every τ. It can be negative, log(2N - 2) - 2/τ at the least.

    Args:
        temperature: τ > 0.
        normalize: bring codes to length 1; if False, they must come so.

    Raises:
        ValueError: if the temperature isn't positive; on a call, if codes that aren't normalized here don't
            have length 1.

    Example:
        >>> z = torch.eye(4)
        >>> DCL(temperature=0.5)(z, z).loss  # -2 + log 6
        tensor(-0.2082)
    """

    def __init__(self, temperature: float = 0.1, normalize: bool = True):
        super().__init__()
        positive("temperature", temperature)
        self.temperature, self.normalize = temperature, normalize

    @property
    def energy(self) -> Energy:
        return CosineDistance()

    def weight(self, cosine: Tensor) -> Tensor:
        """The weight of each positive pair, (N,), given their cosines."""
        return torch.ones_like(cosine)

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        x, y = (on_sphere(z, self.normalize, self.label) for z in codes)
        cosine = (x * y).sum(1)  # (N,)
        crowded = crowding(torch.cat([x, y]), self.temperature, views=2).mean()
        loss = crowded - (self.weight(cosine) * cosine).mean() / self.temperature
        invariance = 1 - cosine.detach().mean()
        return LossOutput(
            loss, {"invariance": invariance, "repulsion": crowded.detach() - 1 / self.temperature}
        )


class DCLW(DCL):
    """The weighted decoupled contrastive loss: positive pairs that agree already are pulled less.

    w_i = 2 - N softmax(s_p/σ)_i; L and the terms are as in `DCL`, except that the weight stands before s_ip
    in L.

    Args:
        temperature: τ > 0.
        sigma: σ > 0, the temperature of the weights; lower makes them differ more.
        normalize: bring codes to length 1; if False, they must come so.
        detach: take the weights as constants, as lightly does; else L is differentiated through them too, as
            in the authors' code.

    Raises:
        ValueError: if τ or σ isn't positive; on a call, if codes that aren't normalized here don't have
            length 1.

    Example:
        >>> z = torch.eye(4)
        >>> DCLW(temperature=0.5)(z, z).loss  # pairs that agree all alike weigh 1
        tensor(-0.2082)
    """

    def __init__(
        self, temperature: float = 0.1, sigma: float = 0.5, normalize: bool = True, detach: bool = False
    ):
        super().__init__(temperature, normalize)
        positive("sigma", sigma)
        self.sigma, self.detach = sigma, detach

    def weight(self, cosine: Tensor) -> Tensor:
        weight = 2 - len(cosine) * torch.softmax(cosine / self.sigma, 0)
        return weight.detach() if self.detach else weight

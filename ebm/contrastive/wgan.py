"""The Wasserstein critic: an energy whose slope is held at 1 tells how far made points are from data.

    L_E = ⟨E(y)⟩ - ⟨E(G(ε))⟩ + λ ⟨(|∇E(ŷ)| - 1)²⟩,        L_G = ⟨E(G(ε))⟩
    ŷ = u y + (1 - u) G(ε),   u ~ U[0, 1]

Among energies whose slope is at most 1, the largest gap ⟨E(G(ε))⟩ - ⟨E(y)⟩ is the Wasserstein-1 distance of
the two sets: how far points have to be moved, on average, to turn one into the other. It falls smoothly as
they approach, even while they do not overlap. The penalty asks for slope 1 on lines between the two, where
that of the best critic is 1. (The paper's critic is -E, high on data.)

Reference: Arjovsky, Chintala, Bottou (2017), "Wasserstein GAN"; Gulrajani, Ahmed, Arjovsky, Dumoulin,
Courville (2017), "Improved Training of Wasserstein GANs", eq. 3, λ = 10, 5 steps of the critic to one of the
network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ebm.contrastive.adversarial import Adversarial
from ebm.contrastive.points import Points
from ebm.contrastive.slopes import Slopes
from ebm.infer.method import number
from ebm.infer.starts import Start
from ebm.rows import expand, norm


class WGAN(Adversarial):
    """WGAN-GP's losses, for an energy that is smooth in the data (no batch normalization in it).

    The energy gap that it reports is what the critic believes the Wasserstein-1 distance to be.

    Args:
        network, noise, variable, reads: as in `Adversarial`.
        penalty: λ >= 0, of slopes other than 1.
        every: the network learns at every so-many-th call, the energy at all of them.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer.starts import Normal
        >>> @energy
        ... def steep(y):
        ...     return 3 * y.sum(1)
        >>> loss = WGAN(nn.Linear(2, 1), Normal(2), penalty=10.0)
        >>> output = loss(steep, y=torch.ones(4, 1))
        >>> (output.terms["energy's loss"] + output.gap).round(decimals=3)  # 10 (3 - 1)²
        tensor(40.)
    """

    def __init__(
        self,
        network: nn.Module,
        noise: Start,
        penalty: float = 10.0,
        *,
        variable: str = "y",
        reads: Sequence[str] = (),
        every: int = 5,
    ):
        super().__init__(network, noise, variable=variable, reads=reads, every=every)
        self.penalty = number("penalty", penalty, zero=True)

    def critic(
        self,
        points: Points,
        made: Tensor,
        on_data: Tensor,
        off_data: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        loss = on_data.mean() - off_data.mean()
        if not self.penalty:
            return loss
        u = torch.rand(len(made), generator=generator, dtype=made.dtype, device=made.device)
        slopes = Slopes(points, torch.lerp(made, points.y, expand(u, made)))
        return loss + self.penalty * (norm(slopes.gradient) - 1).square().mean()

"""The affine coupling: the moved coordinates are scaled and shifted.

    τ(y; s, t) = y exp(ŝ) + t,   ŝ = c tanh(s / c),        log |∂τ/∂y| = ŝ

The bound |ŝ| < c keeps one layer from stretching space beyond e^c, where training would go astray.

Reference: Dinh, Sohl-Dickstein & Bengio (2017), "Density Estimation using Real NVP", eq. 4-8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ebm.nets.coupling import Coupling


class AffineCoupling(Coupling):
    """A coupling with τ(y) = y exp(ŝ) + t.

    Args:
        kept: mask of the coordinates that are kept, (D,) bool, as `checkerboard` makes it.
        hidden: widths of the network's hidden layers.
        bound: c > 0, no layer stretches by more than e^c.
        generator: source of the network's weights; the global one if None.

    Raises:
        ValueError: if the mask keeps all coordinates or none, or the bound isn't positive.

    Example:
        >>> layer = AffineCoupling(torch.tensor([True, False]), hidden=(8,))
        >>> u, log_det = layer(torch.ones(1, 2))
        >>> u.detach(), log_det.detach()  # the identity, before it has learned
        (tensor([[1., 1.]]), tensor([0.]))
    """

    def __init__(
        self,
        kept: Tensor,
        hidden: Sequence[int] = (64, 64),
        bound: float = 2.0,
        *,
        generator: Generator | None = None,
    ):
        if not bound > 0:
            raise ValueError(f"bound is the greatest |log scale|, above 0; got {bound}.")
        super().__init__(kept, hidden, 2, generator)
        self.bound = float(bound)

    def move(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parts(theta)
        return y * torch.exp(log_scale) + shift, log_scale

    def move_back(self, u: Tensor, theta: Tensor) -> Tensor:
        log_scale, shift = self._parts(theta)
        return (u - shift) * torch.exp(-log_scale)

    def _parts(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = theta.unbind(2)
        return self.bound * torch.tanh(raw / self.bound), shift

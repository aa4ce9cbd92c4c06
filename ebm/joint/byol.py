"""BYOL: predict the code that a slow copy of the encoder gives to another view.

    E(x, y) = |q̄(x) - z̄'(y)|² + |q̄(y) - z̄'(x)|²,        |q̄ - z̄'|² = 2 - 2 cos(q, z')

    q = h(f_θ(x)),    z' = f_ξ(y),    a bar for length 1
    ξ ← τ_k ξ + (1 - τ_k) θ,    τ_k = 1 - (1 - τ) (cos(πk/K) + 1) / 2

The energy can be low everywhere, at equal codes, and nothing pushes up. Yet the averaged energy of the data
shapes it without collapse, in networks with batch normalization. Take the predictor h away, or let gradients
into the target, and it collapses.

Value and order of updates equal the official code, but for its target, which starts from weights of its own
(it says that this makes no difference).

Reference: Grill et al. (2020), "Bootstrap Your Own Latent", eq. 1-2 and sect. 3.3; official code,
google-deepmind/deepmind-research.
"""

from __future__ import annotations

from torch import nn

from ebm.joint.pair import CosineDistance
from ebm.joint.schedules import cosine
from ebm.joint.siamese import Siamese
from ebm.joint.target import EMA, Branch


class BYOL(Siamese):
    """E(x, y) = 2 - 2 cos(h(f(x)), t(y)) + 2 - 2 cos(h(f(y)), t(x)), from 0 to 8.

    Learned by `AverageEnergy`, with the callback `update_targets(E, steps)`.

    Args:
        encoder: f, with its projector.
        predictor: h, from code to code; None takes it away.
        target: t; `EMA(encoder, cosine(0.996))` if None.

    Example:
        >>> import torch
        >>> E = BYOL(torch.nn.Linear(3, 2, bias=False), predictor=torch.nn.Identity())
        >>> x = torch.eye(3)
        >>> bool(((E(x=x, y=-x) - 8).abs() < 1e-5).all())
        True
    """

    def __init__(self, encoder: nn.Module, predictor: nn.Module | None, target: Branch | None = None):
        slow = EMA(encoder, cosine(0.996)) if target is None else target
        super().__init__(4.0 * CosineDistance(), encoder, predictor, slow)  # 4: two directions of 2 - 2 cos

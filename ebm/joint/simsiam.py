"""SimSiam: predict the code of another view; the encoder learns from the side of the prediction alone.

    E(x, y) = 1 - ½ cos(h(z_x), sg z_y) - ½ cos(h(z_y), sg z_x),        z = f(·)

It is 1 more than the paper's loss, so that it is 0 where it is least. Without the stop-gradient the codes
collapse at once: their standard deviation on the unit sphere goes from about 1/√D to 0.

Value and gradient equal the official code's: each view is encoded once, and the codes of the target side are
those of the other, cut from the graph.

Reference: Chen & He (2021), "Exploring Simple Siamese Representation Learning", eq. 1-4; official code,
facebookresearch/simsiam.
"""

from __future__ import annotations

from torch import nn

from ebm.joint.pair import CosineDistance
from ebm.joint.siamese import Siamese
from ebm.joint.target import Branch, StopGradient


class SimSiam(Siamese):
    """E(x, y) = the mean of 1 - cos(h(f(x)), sg f(y)) over both directions, from 0 to 2.

    Learned by `AverageEnergy`. In the paper f ends with `ebm.nets.simsiam_projector` and h is
    `ebm.nets.simsiam_predictor`.

    Args:
        encoder: f, with its projector.
        predictor: h, from code to code; None takes it away.
        target: `StopGradient(encoder)` if None; `Shared(encoder)` takes the stop-gradient away.

    Example:
        >>> import torch
        >>> f = torch.nn.Linear(3, 2, bias=False)
        >>> E, x = SimSiam(f, predictor=torch.nn.Identity()), torch.eye(3)
        >>> bool(((E(x=x, y=-x) - 2).abs() < 1e-5).all())
        True
    """

    def __init__(self, encoder: nn.Module, predictor: nn.Module | None, target: Branch | None = None):
        super().__init__(
            CosineDistance(), encoder, predictor, StopGradient(encoder) if target is None else target
        )

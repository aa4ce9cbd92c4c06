"""V-JEPA: predict the codes of the hidden tubes of a clip from what is left of it.

    E(x, (C_k, T_k)) = (1/K) Σ_k (1/|T_k|) Σ_{q ∈ T_k} |h(f(x at C_k), C_k, q) - LN(f_ξ(x))_q|_1 / D
    ξ ← τ_k ξ + (1 - τ_k) θ,    τ_k from 0.998 towards 1, linear in the step, 0.9996 at the end

K = 2 masks, of short and long range (`vjepa_masks`). The L1 distance asks for the median of what a code may
be, which the paper found steadier than the mean.

Reference: Bardes, Garrido, Ponce, Chen, Rabbat, LeCun, Assran, Ballas (2024), "Revisiting Feature Prediction
for Learning Visual Representations from Video", eq. 1-2, sect. 3 and table 8; official code,
facebookresearch/jepa.
"""

from __future__ import annotations

from torch import nn

from ebm.jepa.masked_jepa import MaskedJEPA
from ebm.joint.schedules import linear
from ebm.joint.target import EMA, Branch


class VJEPA(MaskedJEPA):
    """E(x, contexts, targets) for clips, with the distance and the target of V-JEPA.

    Learned by `Masked(AverageEnergy(), vjepa_masks(encoder.grid))` and the callback `update_targets(E,
    steps)`.

    Args:
        encoder: f, e.g. `PatchViT((16, 224, 224), (2, 16))`.
        predictor: h, e.g. `PatchPredictor(encoder.grid, encoder.width)`.
        target: t; `EMA(encoder, linear(0.998, stretch=1.25))` if None.

    Example:
        >>> import torch
        >>> from ebm.jepa import vjepa_masks
        >>> from ebm.nets import PatchPredictor, PatchViT
        >>> f = PatchViT((4, 24, 24), (2, 4), channels=1, width=18, depth=1, heads=2)
        >>> E = VJEPA(f, PatchPredictor(f.grid, f.width, width=12, depth=1, heads=2))
        >>> context, targets = vjepa_masks(f.grid).draw(3)
        >>> E(x=torch.zeros(3, 1, 4, 24, 24), context=context, targets=targets).shape
        torch.Size([3])
    """

    def __init__(self, encoder: nn.Module, predictor: nn.Module, target: Branch | None = None):
        slow = EMA(encoder, linear(0.998, stretch=1.25)) if target is None else target
        super().__init__(encoder, predictor, slow, "l1")

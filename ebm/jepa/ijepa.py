"""I-JEPA: predict the codes of a few large blocks of an image from a spread-out context.

    E(x, C, T_1..T_M) = (1/M) Σ_m (1/L) Σ_{q ∈ T_m} ρ(h(f(x at C), C, q) - LN(f_ξ(x))_q)
    ξ ← τ_k ξ + (1 - τ_k) θ,    τ_k from 0.996 to 1, linear in the step

No views are made by hand: what the codes keep is what can be predicted across a block. The paper writes a
squared distance; the official code has the smooth L1 distance, the mean over dimensions, which is used here.

Nothing but the slow target stands against collapse, and with small nets and short trainings that may not be
enough: codes then tell little but the place of a patch. `benchmarks.recipes.masked_prediction` compares it
with the same and a criterion that keeps codes apart.

Reference: Assran, Duval, Misra, Bojanowski, Vincent, Rabbat, LeCun, Ballas (2023), "Self-Supervised Learning
from Images with a Joint-Embedding Predictive Architecture", eq. 1 and app. A.1; official code,
facebookresearch/ijepa.
"""

from __future__ import annotations

from torch import nn

from ebm.jepa.masked_jepa import MaskedJEPA
from ebm.joint.schedules import linear
from ebm.joint.target import EMA, Branch


class IJEPA(MaskedJEPA):
    """E(x, context, targets) for images, with the distance and the target of I-JEPA.

    Learned by `Masked(AverageEnergy(), MultiBlock(encoder.grid))` and the callback `update_targets(E,
    steps)`. The codes to use afterwards are those of the target, `E.target(x)`, or of the encoder,
    `E.encoder(x)`.

    Args:
        encoder: f, e.g. `PatchViT(224, 16)`.
        predictor: h, e.g. `PatchPredictor(encoder.grid, encoder.width)`.
        target: t; `EMA(encoder, linear(0.996))` if None.

    Example:
        >>> import torch
        >>> from ebm.nets import PatchPredictor, PatchViT
        >>> f = PatchViT(28, 4, channels=1, width=16, depth=1, heads=2)
        >>> E = IJEPA(f, PatchPredictor(f.grid, f.width, width=8, depth=1, heads=2))
        >>> E.target(torch.zeros(2, 1, 28, 28)).shape  # one code a patch
        torch.Size([2, 49, 16])
    """

    def __init__(self, encoder: nn.Module, predictor: nn.Module, target: Branch | None = None):
        slow = EMA(encoder, linear(0.996)) if target is None else target
        super().__init__(encoder, predictor, slow, "smooth_l1")

"""Masked prediction in the space of codes: what is hidden is predicted as a code, not as pixels.

    E(x, C, T) = mean of ρ(ŝ_q - s̄_q)  over all patches q in T and dimensions of a code
    ŝ_q = h(f(x at C), C, q),        s̄ = LN(t(x)),    LN without scale and shift

f encodes the context patches C alone, the target branch t all of x, and only then are the targets T taken out
of its codes: they have seen their surroundings. h predicts each from its position. With several masks (C_k,
T_k) the energy is the mean over them, and x is encoded by t once. I-JEPA and V-JEPA are choices of ρ, t and
masks; with t the pixels themselves it is the masked auto-encoder.

    smooth_l1   ρ(d) = d²/2 where |d| < 1, else |d| - 1/2        l1   ρ(d) = |d|        squared   ρ(d) = d²

Reference: Assran et al. (2023), I-JEPA, eq. 1 and sect. 3; Bardes et al. (2024), V-JEPA, eq. 1-2. The layer
normalization is in the official code of both.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, smooth_l1_loss

from ebm.binder import Binder, Expression, Term
from ebm.energy import Energy, Scope, Weight
from ebm.joint.target import Branch
from ebm.nets.patch_vit import taken

Distance = Literal["smooth_l1", "l1", "squared"]
Several = Tensor | tuple[Tensor, ...]


class MaskedPrediction(Energy):
    """E(s_x, s_y, context, targets) = the mean distance of predictions from the targets' normalized codes.

    Args:
        predictor: h, from codes (B, K, D), context (B, K) and targets (B, M, L) to predictions
            (B, M, L, D'), e.g. `PatchPredictor`.
        distance: ρ, "smooth_l1", "l1" or "squared".

    Variables (of a call):
        s_x: codes of the context patches, (B, K, D).
        s_y: codes of all patches, (B, P, D').
        context, targets: indices of patches, (B, K) and (B, M, L).
        s_x, context and targets may be tuples, one entry for each of several masks.

    Raises:
        ValueError: if the distance is unknown; on a call, if predictions have another shape than targets, or
            there are not as many contexts as targets.

    Example:
        >>> E = MaskedPrediction(lambda s_x, context, targets: torch.ones(1, 1, 2, 2), distance="l1")
        >>> s_y = torch.tensor([[[0.0, 2.0], [0.0, 4.0], [5.0, 7.0]]])  # each one is (-1, 1), normalized
        >>> context, targets = torch.tensor([[0]]), torch.tensor([[[1, 2]]])
        >>> E(s_x=torch.zeros(1, 1, 2), s_y=s_y, context=context, targets=targets)
        tensor([1.])
    """

    def __init__(self, predictor: nn.Module, distance: Distance = "smooth_l1"):
        super().__init__()
        if distance not in ("smooth_l1", "l1", "squared"):
            raise ValueError(f'the distance is "smooth_l1", "l1" or "squared"; got {distance!r}.')
        self.predictor, self.distance = predictor, distance

    def forward(self, s_x: Several, s_y: Tensor, context: Several, targets: Several) -> Tensor:
        codes, contexts, blocks = (v if isinstance(v, tuple) else (v,) for v in (s_x, context, targets))
        if not len(codes) == len(contexts) == len(blocks):
            raise ValueError(
                f"there is one context for each target; got {len(contexts)} contexts and {len(blocks)} "
                f"targets."
            )
        s_y = layer_norm(s_y, s_y.shape[-1:])
        parts = [
            self._distance(self.predictor(code, seen, hidden), taken(s_y, hidden))
            for code, seen, hidden in zip(codes, contexts, blocks, strict=True)
        ]
        return torch.stack(parts).mean(0)

    def _distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        if predicted.shape != target.shape:
            raise ValueError(
                f"the predictor returned {tuple(predicted.shape)} where targets are {tuple(target.shape)}: "
                f"(B, M, L, D') with D' the width of the target's codes."
            )
        if self.distance == "smooth_l1":
            off = smooth_l1_loss(predicted, target, reduction="none")
        else:
            off = (predicted - target).abs() if self.distance == "l1" else (predicted - target).square()
        return off.flatten(1).mean(1)


class MaskedJEPA(Energy):
    """E(x, context, targets): how far codes predicted from the context are from those of the target branch.

    Learned by `Masked(AverageEnergy(), masks)`, and with a target that moves by the callback
    `update_targets`.

    Args:
        encoder: f, from x and the context's indices (B, K) to its codes (B, K, D), e.g. `PatchViT`.
        predictor: h, as for `MaskedPrediction`.
        target: t, from x to the codes of all patches (B, P, D'): `EMA(encoder, linear(0.996))`; or
            `Shared(Patchify(4))` for a masked auto-encoder.
        distance: ρ, "smooth_l1", "l1" or "squared".

    Raises:
        TypeError: if the target is no branch.
        ValueError: if the distance is unknown; on a call, as for `MaskedPrediction`.

    Example:
        >>> from ebm.joint import EMA, linear
        >>> from ebm.nets import PatchPredictor, PatchViT
        >>> f = PatchViT(16, 4, channels=1, width=16, depth=1, heads=2)
        >>> h = PatchPredictor(f.grid, 16, width=8, depth=1, heads=2)
        >>> E = MaskedJEPA(f, h, EMA(f, linear(0.996)))
        >>> E.variables
        ('x', 'context', 'targets')
        >>> context, targets = torch.arange(8).expand(3, 8), torch.arange(8, 16).view(1, 2, 4).expand(3, 2, 4)
        >>> E(x=torch.zeros(3, 1, 16, 16), context=context, targets=targets).shape
        torch.Size([3])
    """

    variables = ("x", "context", "targets")

    def __init__(
        self, encoder: nn.Module, predictor: nn.Module, target: Branch, distance: Distance = "smooth_l1"
    ):
        super().__init__()
        if not isinstance(target, Branch):
            raise TypeError(
                f"{type(self).__name__} needs a target such as EMA(encoder, linear(0.996)); got {target!r}."
            )
        self.encoder, self.target = encoder, target
        self.prediction = MaskedPrediction(predictor, distance)

    def _summands(self, binder: Binder, scope: Scope, weight: Weight, label: str | None) -> list[Term]:
        codes: dict[str, Expression] = {
            "s_x": binder.apply(self.encoder, (scope["x"], scope["context"])),
            "s_y": self.target.bind(binder, scope["x"]),
        }
        masks = {name: scope[name] for name in ("context", "targets")}
        return self.prediction._summands(binder, {**codes, **masks}, weight, label or self.label)

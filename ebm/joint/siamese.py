"""Siamese: two branches with one encoder; the code of one view is predicted from that of another.

    E(x, y) = (1/P) Σ_{a → b} D(h(f(a)), t(b)),        a ∈ online views, b ∈ target views, a ≠ b

P is the number of such pairs; with views x and y on both sides it is 2, x → y and y → x. D is an energy of a
pair of codes, f the encoder, h a predictor that only the online branch has, t the target branch. Every view
is encoded once, however many pairs it is part of. BYOL, SimSiam, DINO and MoCo are choices of D, h and t.

Reference: Bromley et al. (1993), "Signature Verification using a 'Siamese' Time Delay Neural Network"; Chen &
He (2021), "Exploring Simple Siamese Representation Learning".
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ebm.binder import Binder, Expression, Term
from ebm.energy import Energy, Scope, Weight
from ebm.joint.target import Branch


class Siamese(Energy):
    """E = the mean of D(h(f(a)), t(b)) over pairs of different views a and b.

    Args:
        pair: D, an energy of (s_x, s_y): `SquaredDistance()`, `CosineDistance()`, `CrossEntropy()`.
        encoder: f, from a view to its code; a projector is part of it.
        predictor: h, from code to code; None for none.
        target: t; `Shared(encoder)`, `StopGradient(encoder)` or `EMA(encoder, 0.996)`.
        online: names of the views from which is predicted.
        targets: names of the views whose codes are predicted. Views may differ in shape.

    Raises:
        TypeError: if the pair is no energy of (s_x, s_y), or the target no branch.
        ValueError: if there are no two different views.

    Example:
        >>> import torch
        >>> from ebm.joint import Shared, SquaredDistance
        >>> f = torch.nn.Identity()
        >>> E = Siamese(SquaredDistance(), f, predictor=None, target=Shared(f))
        >>> E(x=torch.zeros(1, 3), y=torch.ones(1, 3))
        tensor([3.])
    """

    pair: Energy
    encoder: nn.Module
    predictor: nn.Module | None
    target: Branch

    def __init__(
        self,
        pair: Energy,
        encoder: nn.Module,
        predictor: nn.Module | None,
        target: Branch,
        online: Sequence[str] = ("x", "y"),
        targets: Sequence[str] = ("x", "y"),
    ):
        super().__init__()
        who = type(self).__name__
        if not isinstance(pair, Energy) or set(pair.variables) != {"s_x", "s_y"}:
            raise TypeError(f"{who} compares two codes by an energy of s_x and s_y; got {pair!r}.")
        if not isinstance(target, Branch):
            raise TypeError(
                f"{who} needs a target such as StopGradient(encoder) or EMA(encoder, 0.996); got {target!r}."
            )
        self.pairs = tuple((a, b) for b in targets for a in online if a != b)
        if not self.pairs:
            raise ValueError(f"{who} predicts one view from another; got {tuple(online)} → {tuple(targets)}.")
        self.pair, self.encoder, self.predictor, self.target = pair, encoder, predictor, target
        self.variables = tuple(dict.fromkeys([*online, *targets]))

    def _summands(self, binder: Binder, scope: Scope, weight: Weight, label: str | None) -> list[Term]:
        share, label = weight / len(self.pairs), label or self.label
        online, targets = (set(views) for views in zip(*self.pairs, strict=True))
        s_x = {a: self._prediction(binder, scope[a]) for a in self.variables if a in online}
        s_y = {b: self.target.bind(binder, scope[b]) for b in self.variables if b in targets}
        return [
            term
            for a, b in self.pairs
            for term in self.pair._summands(binder, {"s_x": s_x[a], "s_y": s_y[b]}, share, label)
        ]

    def _prediction(self, binder: Binder, view: Expression) -> Expression:
        code = binder.apply(self.encoder, (view,))
        return code if self.predictor is None else binder.apply(self.predictor, (code,))

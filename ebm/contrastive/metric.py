"""Metric learning: an energy of pairs that is low for those that belong together, learned from labels.

    E(x, y) = |f(x) - f(y)|² = D²

    pairs       ℓ = ½ D²  if they belong together,  ½ max(0, m - D)²  if not
    triplets    ℓ = [m + E(x, y) - E(x, n)]₊,        y belongs to x, and n does not

Two networks with shared weights, `SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))`, make such an
energy; any other one of two variables that is never below 0 will do. The first loss says how far is far; the
second one compares, and leaves the scale to the energy. Both have a margin, so a constant f isn't their
minimum: it costs ½m² a dissimilar pair, and m a triplet.

Reference: Hadsell, Chopra, LeCun (2006), "Dimensionality Reduction by Learning an Invariant Mapping", eq. 4;
Chopra, Hadsell, LeCun (2005); Schroff, Kalenichenko, Philbin (2015), "FaceNet: A Unified Embedding for Face
Recognition and Clustering", sect. 3.1; Weinberger & Saul (2009).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.points import Points, on_and_off
from ebm.contrastive.square_losses import refuse_negative
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.joint.margin import pair_loss
from ebm.loss import OFF_DATA, ON_DATA, Loss, LossOutput, energy_of

SIMILAR, NEGATIVE = "similar", "negative"


class PairLoss(Loss):
    """The contrastive loss of labeled pairs: similar ones together, the others a margin apart.

    L = (1/B) Σ_i ½ E_i if pair i is similar, ½ max(0, m - √E_i)² if it isn't. Called with the energy's
    variables and `similar`, (B,) boolean: `loss(E, x=x, y=y, similar=label_x == label_y)`. The energies on
    and off the data that it reports are those of similar and of dissimilar pairs, 0 where there are none.

    Args:
        margin: m > 0, in units of D = √E.

    Raises:
        TypeError: on a call, if `similar` is missing or not boolean.
        ValueError: if the margin is not positive; on a call, for an energy below 0.

    Reference: Hadsell, Chopra, LeCun (2006), eq. 4, whose label Y is `~similar`.

    Example:
        >>> from ebm.joint import SquaredDistance
        >>> s_x, s_y = torch.zeros(2, 1), torch.tensor([[0.4], [0.4]])
        >>> output = PairLoss()(SquaredDistance(), s_x=s_x, s_y=s_y, similar=torch.tensor([True, False]))
        >>> output.loss  # (0.08 + 0.18) / 2
        tensor(0.1300)
    """

    def __init__(self, margin: float = 1.0):
        super().__init__()
        self.margin = number("margin", margin)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if SIMILAR not in data:
            raise TypeError(
                f"PairLoss needs `similar`, (B,) boolean, beside the energy's variables; got "
                f"{', '.join(data)}."
            )
        similar = data.pop(SIMILAR)
        if not isinstance(similar, Tensor):
            raise TypeError(f"similar is a tensor, (B,) boolean; got {type(similar).__name__}.")
        e = energy_of(energy, data, generator)
        refuse_negative(e, self.label)
        near = e == 0
        distance = torch.where(near, 0.0, torch.where(near, 1.0, e).sqrt())  # with slope 0 at 0
        pairs = torch.where(similar, 0.5 * e, pair_loss(distance, similar, self.margin))
        low, high = (_mean(e.detach(), which) for which in (similar, ~similar))
        return LossOutput(pairs.mean(), {ON_DATA: low, OFF_DATA: high})


class TripletLoss(Loss):
    """The triplet loss, L = (1/B) Σ_i [m + E(x_i, y_i) - E(x_i, n_i)]₊.

    Called with the energy's variables and `negative`, n, shaped like y: `loss(E, x=x, y=y, negative=n)`. It
    is the hinge loss with one wrong answer to each row, which the data names.

    Args:
        margin: m > 0, in units of energy (with E = D², of squared distance, as in the paper).
        variable: the variable of the energy for which n stands in.

    Raises:
        TypeError: on a call, if `negative` is missing.
        ValueError: if the margin is not positive; on a call, if `negative` is shaped otherwise than y.

    Reference: Schroff, Kalenichenko, Philbin (2015), eq. 2; its default m is 0.2.

    Example:
        >>> from ebm.joint import SquaredDistance
        >>> E = SquaredDistance().compose(s_x=(torch.nn.Identity(), "x"), s_y=(torch.nn.Identity(), "y"))
        >>> x = torch.zeros(1, 1)
        >>> TripletLoss(0.5)(E, x=x, y=x + 1, negative=x + 1.1).loss
        tensor(0.2900)
    """

    def __init__(self, margin: float = 0.2, *, variable: str = "y"):
        super().__init__()
        self.margin, self.variable = number("margin", margin), variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if NEGATIVE not in data:
            raise TypeError(
                f"TripletLoss needs `negative`, which is shaped like {self.variable!r}; got "
                f"{', '.join(data)}. MinedTripletLoss finds negatives by labels."
            )
        negative = data.pop(NEGATIVE)
        points = Points(self, energy, self.variable, data, generator, real=False)
        came = negative.shape if isinstance(negative, Tensor) else type(negative).__name__
        if came != points.y.shape:
            raise ValueError(
                f"`negative` stands in for {self.variable!r} and is shaped alike, {tuple(points.y.shape)}; "
                f"got {came if isinstance(came, str) else tuple(came)}."
            )
        low, high = points.energy(points.y), points.energy(negative)
        return LossOutput(torch.relu(self.margin + low - high).mean(), on_and_off(low, high))


def _mean(values: Tensor, which: Tensor) -> Tensor:
    """The mean of the chosen values, 0-dimensional; 0 if none is chosen."""
    return values.masked_fill(~which, 0.0).sum() / which.sum().clamp(min=1)

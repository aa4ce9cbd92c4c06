"""Triplets whose negatives are found in the batch, by labels.

    E_ij = E(x_i, y_j) for all pairs of the batch        ℓ_i = [m + E_ii - E_ij(i)]₊,   label_j(i) ≠ label_i

    hard         j(i): the lowest E_ij of another label
    semi-hard    j(i): the lowest above E_ii; the lowest of all where there is none above
    all          the mean of [m + E_ii - E_ij]₊ over the j of another label, of those that aren't 0

x_i and y_i are two examples of one label, or two views of one example. Most triplets are soon easy and teach
nothing; the hardest ones teach most, and a young network, or labels with mistakes, can be crushed by them:
all codes fall onto one point, where ℓ = m. Semi-hard negatives are those that have not been confused yet.
What depends on x or on y alone, an encoding, is computed once a row (`ebm.contrastive.pairs`).

Reference: Schroff, Kalenichenko, Philbin (2015), "FaceNet", sect. 3.2 (hard and semi-hard); Hermans, Beyer,
Leibe (2017), "In Defense of the Triplet Loss for Person Re-Identification", sect. 2 (batch hard, batch all).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ebm.contrastive.pairs import all_pairs
from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.loss import Loss, LossOutput

LABEL = "label"
MINING = ("hard", "semi-hard", "all")


class MinedTripletLoss(Loss):
    """The triplet loss with negatives from the batch; called with the energy's variables and `label`, (B,).

    Args:
        margin: m > 0, in units of energy.
        mining: which negatives: "hard", "semi-hard" or "all".
        variable: the variable of the energy for which that of other rows stands in.

    Raises:
        ValueError: for another way of mining, or a margin that isn't positive; on a call, if all rows have
            one label, or there is not one label a row.
        TypeError: on a call, if the label is missing, or the energy is of one variable alone.

    Example:
        >>> from ebm.joint import SquaredDistance
        >>> E = SquaredDistance().compose(s_x=(torch.nn.Identity(), "x"), s_y=(torch.nn.Identity(), "y"))
        >>> x = torch.tensor([[0.0], [0.3], [5.0]])
        >>> MinedTripletLoss(1.0, "hard")(E, x=x, y=x, label=torch.tensor([0, 1, 2])).loss  # 2 (1 - 0.3²) / 3
        tensor(0.6067)
    """

    def __init__(
        self,
        margin: float = 0.2,
        mining: Literal["hard", "semi-hard", "all"] = "semi-hard",
        *,
        variable: str = "y",
    ):
        super().__init__()
        if mining not in MINING:
            raise ValueError(f"mining is one of {', '.join(map(repr, MINING))}; got {mining!r}.")
        self.margin, self.mining, self.variable = number("margin", margin), mining, variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if LABEL not in data:
            raise TypeError(f"MinedTripletLoss finds negatives by `label`, (B,); got {', '.join(data)}.")
        label = data.pop(LABEL)
        if len(energy.variables) < 2:
            raise TypeError(
                f"MinedTripletLoss asks which {self.variable!r} belongs to which of the other variables, and "
                f"{energy.label} has no other; it shapes an energy of pairs, E(x, y)."
            )
        y = Points(self, energy, self.variable, data, generator, real=False).y
        given = {name: value for name, value in data.items() if name != self.variable}
        if not isinstance(label, Tensor) or label.shape != y.shape[:1]:
            came = tuple(label.shape) if isinstance(label, Tensor) else type(label).__name__
            raise ValueError(f"there is one label a row, a tensor ({len(y)},); `label` is {came}.")
        pairs = all_pairs(energy, self.variable, y, given, generator)  # (B, B)
        other = label.unsqueeze(1) != label
        if not bool(other.any(1).all()):
            raise ValueError(f"all {len(label)} rows have one label, so there is no negative to be found.")
        own = pairs.diagonal().unsqueeze(1)
        if self.mining == "all":
            cost = torch.relu(self.margin + own - pairs).masked_fill(~other, 0.0)
            loss = cost.sum() / (cost > 0).sum().clamp(min=1)
            high = pairs[other]
        else:
            high = pairs.gather(1, self._choose(pairs.detach(), own.detach(), other).unsqueeze(1))
            loss = torch.relu(self.margin + own - high).mean()
        return LossOutput(loss, on_and_off(own, high))

    def _choose(self, pairs: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """The negative of each row, (B,)."""
        hard = pairs.masked_fill(~other, torch.inf)
        if self.mining == "hard":
            return hard.argmin(1)
        beyond = hard.masked_fill(pairs <= own, torch.inf)
        return torch.where(beyond.isfinite().any(1), beyond.argmin(1), hard.argmin(1))

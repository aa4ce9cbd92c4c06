"""Losses that pull the right answer's energy to 0 and push the most offending one's away from it.

                          ℓ                              margin    a flat energy costs at least
    square-square         E_C² + [m - E_I]₊²             m         m²/2, at E = m/2
    square-exponential    E_C² + γ exp(-E_I)             > 0       e² + γ e^{-e} where 2e = γ e^{-e}

They are stated for E >= 0, a distance for instance, and for such energies neither can collapse: 0 = E_C is
as low as it gets, and E_I must stay away from it. An energy below 0 they would pull up to it, so one is
refused here. Table 1 of the paper, as widely copied, has a minus in front of the second square; the text has
the plus, and with a minus the loss would pull wrong answers below m without end.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.contrastive.answer_loss import AnswerLoss, Contrast
from ebm.contrastive.answers import Answers
from ebm.infer.method import number


class SquareSquareLoss(AnswerLoss):
    """The square-square loss, ℓ = E_C² + [m - E_I]₊², for energies that are never below 0.

    Margin m.

    Args:
        answers, variable: as in `AnswerLoss`.
        margin: m > 0, in units of energy.

    Raises:
        ValueError: if the margin is not positive; on a call, for an energy below 0.

    Reference: LeCun et al. (2006), sect. 2.2; LeCun & Huang (2005).

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> energies = Contrast(torch.tensor([0.5]), torch.tensor([[0.5, 4.0]]))
        >>> SquareSquareLoss(AllAnswers(3), margin=2.0).each(energies)
        tensor([2.5000])
    """

    def __init__(self, answers: Answers, margin: float = 1.0, *, variable: str = "y"):
        super().__init__(answers, variable=variable)
        self.margin = number("margin", margin)

    def each(self, contrast: Contrast) -> Tensor:
        refuse_negative(contrast.every.amin(1), self.label)
        return contrast.correct.square() + torch.relu(self.margin - contrast.offending).square()


class SquareExponentialLoss(AnswerLoss):
    """The square-exponential loss, ℓ = E_C² + γ exp(-E_I), for energies that are never below 0.

    Its margin is as large as the energies allow: the push falls off, and never ends.

    Args:
        answers, variable: as in `AnswerLoss`.
        weight: γ > 0, of the push.

    Raises:
        ValueError: if the weight is not positive; on a call, for an energy below 0.

    Reference: LeCun et al. (2006), sect. 2.2, table 1.

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> energies = Contrast(torch.tensor([0.5]), torch.tensor([[0.0, 4.0]]))
        >>> SquareExponentialLoss(AllAnswers(3), weight=2.0).each(energies)
        tensor([2.2500])
    """

    def __init__(self, answers: Answers, weight: float = 1.0, *, variable: str = "y"):
        super().__init__(answers, variable=variable)
        self.weight = number("weight", weight)

    def each(self, contrast: Contrast) -> Tensor:
        refuse_negative(contrast.every.amin(1), self.label)
        return contrast.correct.square() + self.weight * (-contrast.offending).exp()


def refuse_negative(energy: Tensor, who: str) -> None:
    """Raise ValueError if an energy, (B,), is below 0, naming the row."""
    lowest = energy.detach()
    below = (lowest < 0).nonzero().flatten().tolist()
    if below:
        raise ValueError(
            f"{who} is meant for energies that are never below 0, as distances are; row {below[0]} "
            f"({len(below)} of {len(lowest)}) has one of {float(lowest[below[0]]):.4g}. Take an energy that "
            f"is a distance, or a loss of the difference alone, such as HingeLoss or TripletLoss."
        )

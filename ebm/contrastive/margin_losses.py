"""Losses of an answer's energy beside that of the most offending wrong one, as functions of their difference.

    L = (1/B) Σ_i ℓ(d_i),        d = E_C - E_I,        right where d < 0

                  ℓ(d)                margin    an energy that is flat (d = 0)
    perceptron    [d]₊                0         has the least loss: can collapse
    LVQ2          min(M, [d]₊)        0         has the least loss: can collapse
    hinge         [m + d]₊            m         costs m
    log           log(1 + e^d)        > 0       costs log 2
    MCE           1 / (1 + e^{-d})    > 0       costs 1/2

The loss of the energy itself, E_C, is `ebm.loss.AverageEnergy`: no margin, and whatever can be low everywhere
collapses under it. A loss is fit for learning if some energies with d < -m cost less than all with d > -m
(sect. 5), for a margin m > 0; a flat energy is then never the best one.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2,
table 1, sect. 5.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebm.contrastive.answer_loss import AnswerLoss, Contrast
from ebm.contrastive.answers import Answers
from ebm.infer.method import number


class PerceptronLoss(AnswerLoss):
    """The generalized perceptron, ℓ = E_C - min_y E = [E_C - E_I]₊: pushes where the answer is wrong.

    No margin: 0 for a flat energy, and for one that holds the right answer an inch below the others.

    Args:
        answers, variable: as in `AnswerLoss`. For real answers the minimum is over all of them, so take
            `MostOffending` with radius=0.

    Reference: LeCun et al. (2006), sect. 2.2.

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> PerceptronLoss(AllAnswers(3)).each(Contrast(torch.tensor([2.0]), torch.tensor([[1.0, 4.0]])))
        tensor([1.])
    """

    def each(self, contrast: Contrast) -> Tensor:
        return torch.relu(contrast.correct - contrast.offending)


class HingeLoss(AnswerLoss):
    """The hinge loss, ℓ = [m + E_C - E_I]₊: pushes until the wrong answers are m above the right one.

    Margin m. A flat energy costs m, and every separating one less.

    Args:
        answers, variable: as in `AnswerLoss`.
        margin: m > 0, in units of energy.

    Raises:
        ValueError: if the margin is not positive.

    Reference: LeCun et al. (2006), sect. 2.2; Taskar, Guestrin, Koller (2003); Altun, Tsochantaridis, Hofmann
    (2003).

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> HingeLoss(AllAnswers(3), 2.0).each(Contrast(torch.tensor([2.0]), torch.tensor([[3.0, 4.0]])))
        tensor([1.])
    """

    def __init__(self, answers: Answers, margin: float = 1.0, *, variable: str = "y"):
        super().__init__(answers, variable=variable)
        self.margin = number("margin", margin)

    def each(self, contrast: Contrast) -> Tensor:
        return torch.relu(self.margin + contrast.correct - contrast.offending)


class LogLoss(AnswerLoss):
    """The log loss, ℓ = log(1 + exp(E_C - E_I)): a soft hinge that never stops pushing.

    Its margin is as large as the energies allow. With two answers it is the likelihood's at β = 1.

    Args:
        answers, variable: as in `AnswerLoss`.

    Reference: LeCun et al. (2006), sect. 2.2.

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> LogLoss(AllAnswers(3)).each(Contrast(torch.tensor([2.0]), torch.tensor([[2.0, 4.0]])))
        tensor([0.6931])
    """

    def each(self, contrast: Contrast) -> Tensor:
        return softplus(contrast.correct - contrast.offending)


class LVQ2Loss(AnswerLoss):
    """That of learning vector quantization, ℓ = min(M, [E_C - E_I]₊): a perceptron deaf to outliers.

    No margin: 0 for a flat energy. Beyond M an example is given up, without a gradient. (The text has the
    difference divided by δ E_I, for energies above 0; the table has it as here.)

    Args:
        answers, variable: as in `AnswerLoss`.
        most: M > 0, in units of energy.

    Raises:
        ValueError: if M is not positive.

    Reference: LeCun et al. (2006), table 1; Kohonen, Barna, Chrisley (1988); Driancourt, Bottou, Gallinari
    (1991).

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> energies = Contrast(torch.tensor([1.5, 9.0]), torch.tensor([[1.0, 4.0], [1.0, 4.0]]))
        >>> LVQ2Loss(AllAnswers(3), most=2.0).each(energies)
        tensor([0.5000, 2.0000])
    """

    def __init__(self, answers: Answers, most: float = 1.0, *, variable: str = "y"):
        super().__init__(answers, variable=variable)
        self.most = number("most", most)

    def each(self, contrast: Contrast) -> Tensor:
        return torch.relu(contrast.correct - contrast.offending).clamp(max=self.most)


class MCELoss(AnswerLoss):
    """Minimum classification error, ℓ = 1 / (1 + exp(E_I - E_C)): a smooth count of the wrong rows.

    It has a margin above 0, yet hardly a gradient where a row is very wrong: it gives up outliers.

    Args:
        answers, variable: as in `AnswerLoss`.

    Reference: LeCun et al. (2006), sect. 2.2; Juang, Hou, Lee (1997).

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> MCELoss(AllAnswers(3)).each(Contrast(torch.tensor([2.0]), torch.tensor([[2.0, 4.0]])))
        tensor([0.5000])
    """

    def each(self, contrast: Contrast) -> Tensor:
        return torch.sigmoid(contrast.correct - contrast.offending)

"""The empirical error: how often an answer that is drawn from the model is wrong.

    ℓ = 1 - p(y_i | x) = 1 - e^{-βE(x, y_i)} / Σ_y e^{-βE(x, y)}

As β → ∞ it counts the rows whose lowest answer is wrong. It has a margin above 0: with K answers a flat
energy costs 1 - 1/K, and every one that holds the right answer lower costs less.

The other loss of table 1 that is made of all answers, the negative log-likelihood E_C + (1/β) log Σ_y
e^{-βE(x, y)}, is `MaximumLikelihood(AllChoices(n, normalized=False), beta=β)` of this package, divided by β.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", table 1
(MEE); Ljolje, Ephraim, Rabiner (1990).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.contrastive.answer_loss import AnswerLoss, Contrast
from ebm.contrastive.answers import Answers
from ebm.infer.method import number


class EmpiricalErrorLoss(AnswerLoss):
    """Minimum empirical error, ℓ = 1 - p(y_i | x), for a finite set of answers.

    Like `MCELoss`, which it is for two answers at β = 1, it hardly has a gradient where a row is very wrong.

    Args:
        answers: all of them, `AllAnswers(n)` or `AnswerSet(values)`.
        beta: β > 0, the inverse temperature.
        variable: as in `AnswerLoss`.

    Raises:
        TypeError: if the answers are not all that there are.
        ValueError: if β is not positive.

    Reference: LeCun et al. (2006), table 1.

    Example:
        >>> from ebm.contrastive import AllAnswers
        >>> EmpiricalErrorLoss(AllAnswers(2)).each(Contrast(torch.tensor([0.0]), torch.tensor([[0.0]])))
        tensor([0.5000])
    """

    def __init__(self, answers: Answers, beta: float = 1.0, *, variable: str = "y"):
        super().__init__(answers, variable=variable)
        if not answers.complete:
            raise TypeError(
                f"{self.label} is made of probabilities, so it needs all answers: AllAnswers(n) or "
                f"AnswerSet(values); got {type(answers).__name__}, which finds one."
            )
        self.beta = number("beta", beta)

    def each(self, contrast: Contrast) -> Tensor:
        probability = torch.softmax(-self.beta * contrast.every, 1)
        return probability[:, 1:].sum(1)  # 1 - p would lose its digits

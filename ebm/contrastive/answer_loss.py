"""Losses that compare the energy of the right answer with those of wrong ones, row by row.

    L = (1/B) Σ_i ℓ(E(x_i, y_i); E(x_i, y) over the wrong answers y)

The energies of all answers come from one batched call, with what depends on x alone computed once.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm.contrastive.answers import Answers
from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.loss import Loss, LossOutput

WRONG = "wrong answers"


class Contrast(NamedTuple):
    """The energies of the answers to each row.

    Attributes:
        correct: E_C of the right one, (B,).
        incorrect: of K other ones, (B, K); +inf where one of them is not wrong, which is never all of a row.
    """

    correct: Tensor
    incorrect: Tensor

    @property
    def offending(self) -> Tensor:
        """E_I, the lowest energy of a wrong answer, (B,); equally low ones share its gradient."""
        return self.incorrect.amin(1)

    @property
    def every(self) -> Tensor:
        """The right answer and the others side by side, (B, 1 + K)."""
        return torch.cat([self.correct.unsqueeze(1), self.incorrect], 1)


class AnswerLoss(Loss, ABC):
    """L = (1/B) Σ_i ℓ(right answer to row i, wrong answers to it); subclasses write ℓ.

    Reports the mean energy of the right answer ("on data"), that of the most offending one ("off data"), and
    the share of rows in which the latter is not the higher one ("wrong answers").

    Args:
        answers: which answers are wrong: `AllAnswers(n)`, `AnswerSet(values)`, `MostOffending(...)`.
        variable: the variable of the energy that is the answer; all others are given.

    Raises:
        TypeError: if `answers` is no such object.
        ValueError: on a call, if a row has no wrong answer.
    """

    def __init__(self, answers: Answers, *, variable: str = "y"):
        super().__init__()
        if not isinstance(answers, Answers):
            raise TypeError(
                f"{self.label} needs to know the wrong answers, AllAnswers(10) for instance; got {answers!r}."
            )
        self.answers, self.variable = answers, variable

    @abstractmethod
    def each(self, contrast: Contrast) -> Tensor:
        """ℓ of every row, (B,), from the energies of its answers."""

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        contrast = self.contrast(energy, generator, **data)
        low, high = contrast.correct, contrast.offending
        wrong = (high <= low).to(low.dtype).mean()
        return LossOutput(self.each(contrast).mean(), {**on_and_off(low, high), WRONG: wrong})

    def contrast(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> Contrast:
        """The energies that ℓ compares; called as the loss is."""
        points = Points(self, energy, self.variable, data, generator, real=False)
        given = {name: value for name, value in data.items() if name != self.variable}
        others, wrong = self.answers.wrong(energy, self.variable, points.y, given, generator)
        alone = (~wrong.any(1)).nonzero().flatten().tolist()
        if alone:
            raise ValueError(
                f"row {alone[0]} ({len(alone)} of {len(points.y)} rows) has no wrong answer to be told from: "
                f"offer answers that differ from its own, by more than the radius where there is one."
            )
        energies = points.energies(torch.cat([points.y.unsqueeze(1), others], 1))  # (B, 1 + K)
        return Contrast(energies[:, 0], energies[:, 1:].masked_fill(~wrong, torch.inf))

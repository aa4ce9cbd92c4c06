"""Answers to x, the right one and the wrong ones, as the losses of supervised learning compare them.

    E_C = E(x, y_i),        E_I = min E(x, y) over the wrong answers y,        y_i the answer in the data

What counts as a wrong answer is said by an object: all other members of a finite set (`AllAnswers` for
choices, `AnswerSet` for real y), or the lowest y that is far enough from y_i, found by a minimizer
(`MostOffending`).

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2
(the most offending incorrect answer).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.nodes import AllChoices
from ebm.rows import flat


class Answers(nn.Module, ABC):
    """Says which answers are wrong; `complete` where it lists all of them, so that p(y | x) is known."""

    complete: ClassVar[bool] = True

    @abstractmethod
    def wrong(
        self,
        energy: Energy,
        variable: str,
        y: Tensor,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """K answers to each row, and which of them are wrong.

        Args:
            energy: an energy of `variable` and of what is given.
            variable: the name of the answer.
            y: the right answers, (B, *shape).
            given: the values of all other variables, B rows first.
            generator: source of all randomness of a search.

        Returns:
            Answers (B, K, *shape) and (B, K), True where one is wrong.

        Raises:
            TypeError, ValueError: for answers of another kind or shape.
        """


class AllAnswers(Answers):
    """Every choice but the right one: y is int64, its entries in [0, n).

    Args:
        n: how many values an entry has, at least 2.
        shape: of an answer, without the batch; () for one choice a row. All n^entries are tried.

    Raises:
        ValueError: if there are fewer than two answers, or too many to try.

    Example:
        >>> from ebm.targets import Himmelblau
        >>> AllAnswers(3).wrong(Himmelblau(), "y", torch.tensor([1, 2]), {})
        (tensor([[0, 1, 2],
                [0, 1, 2]]), tensor([[ True, False,  True],
                [ True,  True, False]]))
    """

    values: Tensor

    def __init__(self, n: int, *shape: int):
        super().__init__()
        if not isinstance(n, int) or n < 2:
            raise ValueError(f"there is a wrong answer only among two or more, a whole number; got n={n!r}.")
        self.n, self.shape = n, shape
        self.register_buffer("values", AllChoices(n, *shape).values, persistent=False)

    def wrong(
        self,
        energy: Energy,
        variable: str,
        y: Tensor,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        refuse_no_choice(variable, y, self.n)
        if y.shape[1:] != self.shape:
            raise ValueError(
                f"an answer has the shape {self.shape or '() of one choice a row'}; {variable!r} is "
                f"{tuple(y.shape)}. For structured answers say AllAnswers(n, *shape)."
            )
        others = self.values.to(y.device).expand(len(y), *self.values.shape)
        return others, (others != y.unsqueeze(1)).flatten(2).any(2) if self.shape else others != y[:, None]

    def extra_repr(self) -> str:
        return ", ".join(map(str, (self.n, *self.shape)))


class AnswerSet(Answers):
    """The members of a finite set of real answers that are more than `radius` from the right one.

    Args:
        values: (K, *shape), the same for all rows. The right answer need not be among them.
        radius: in units of y, at least 0; Euclidean.

    Raises:
        ValueError: if there are no values, or the radius is negative.

    Example:
        >>> from ebm.targets import Himmelblau
        >>> answers = AnswerSet(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), radius=1.5)
        >>> answers.wrong(Himmelblau(), "y", torch.tensor([[1.0, 0.0]]), {})
        (tensor([[[0., 0.],
                 [3., 0.]]]), tensor([[False,  True]]))
    """

    values: Tensor

    def __init__(self, values: Tensor, radius: float = 0.0):
        super().__init__()
        if not isinstance(values, Tensor):
            raise TypeError(f"AnswerSet needs a tensor, (K, *shape); got {type(values).__name__}.")
        if values.ndim == 0 or len(values) == 0 or not values.is_floating_point():
            raise ValueError(
                f"AnswerSet needs real values, (K, *shape) with K >= 1; got {tuple(values.shape)}, "
                f"{values.dtype}. For choices say AllAnswers(n)."
            )
        self.radius = checked_radius(radius)
        self.register_buffer("values", values)

    def wrong(
        self,
        energy: Energy,
        variable: str,
        y: Tensor,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        refuse_choices(type(self).__name__, variable, y)
        values = self.values.to(y)
        if values.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"answers have the shape {tuple(values.shape[1:])}; {variable!r} is {tuple(y.shape)}."
            )
        others = values.expand(len(y), *values.shape)
        distance = torch.linalg.vector_norm(flat(y).unsqueeze(1) - flat(values), dim=2)  # (B, K)
        return others, ~(distance <= self.radius)  # NaN is nobody's right answer


def refuse_choices(who: str, variable: str, y: Tensor) -> None:
    """Raise TypeError for answers that are no real numbers."""
    if not y.is_floating_point():
        raise TypeError(
            f"{who} is of real answers, and {variable!r} is discrete, {y.dtype}; choices take AllAnswers(n)."
        )


def refuse_no_choice(variable: str, y: Tensor, n: int) -> None:
    """Raise for what is none of n choices, TypeError for its dtype, ValueError for a row out of range."""
    if y.dtype != torch.int64:
        raise TypeError(
            f"answers are choices, int64 in [0, {n}); {variable!r} is {y.dtype}. Convert it: "
            f"{variable}.long(); real answers take AnswerSet(values)."
        )
    outside = ((y < 0) | (y >= n)).reshape(len(y), -1).any(1)
    if bool(outside.any()):
        row = int(outside.nonzero()[0])
        raise ValueError(
            f"answers lie in [0, {n}); row {row} of {variable!r} ({int(outside.sum())} of {len(y)} rows are "
            f"out of range) holds {y[row].tolist()}. Count from 0, and say how many there are: AllAnswers(n)."
        )


def checked_radius(radius: float) -> float:
    """The distance within which an answer is right, finite and at least 0."""
    if not 0 <= radius < float("inf"):
        raise ValueError(f"radius is a distance from the right answer, at least 0; got {radius}.")
    return float(radius)

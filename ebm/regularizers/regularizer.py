"""A regularizer: an energy of one variable, whose name is chosen when it is made.

    R("z") : z ↦ ℝ ∪ {+∞},        (B, *shape) -> (B,)

So that it can be added to any energy of that variable: `Reconstruction(D) + 0.1 * L1("z")` is sparse coding.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.energy import Energy


class Shrinkage(NamedTuple):
    """A prox that softens and clips each coordinate: v ↦ clip(sign(v) max(|v| - t·threshold, 0), low, high).

    Attributes:
        threshold: >= 0; one number, or one that broadcasts against a row of the variable.
        low, high: -inf and +inf where there is no bound; likewise.
    """

    threshold: float | Tensor
    low: float | Tensor
    high: float | Tensor


class Regularizer(Energy):
    """An energy of one variable; subclasses say what it costs in `cost`.

    Those whose prox is a `Shrinkage` also offer `shrinkage()`, from which coordinate descent works.

    Args:
        variable: the name of the variable.
    """

    def __init__(self, variable: str):
        super().__init__()
        if not isinstance(variable, str) or not variable.isidentifier():
            who = type(self).__name__
            raise TypeError(f'{who} needs the name of its variable, as in {who}("z"); got {variable!r}.')
        self.variables = (variable,)

    def forward(self, **variables: Tensor) -> Tensor:
        return self.cost(variables[self.variables[0]])

    @abstractmethod
    def cost(self, v: Tensor) -> Tensor:
        """The energy of the variable's value v, (B, *shape) -> (B,)."""

    def dual_norm(self, v: Tensor) -> Tensor:
        """The least s >= 0 for which v / s is a subgradient at 0, (B,); only norms have one.

        Raises:
            TypeError: if this regularizer is no norm.
        """
        raise TypeError(f"a duality gap needs a regularizer with a dual_norm; {self.label} has none.")

    def extra_repr(self) -> str:
        return ", ".join(self.variables)


def allowed(inside: Tensor, v: Tensor) -> Tensor:
    """0 for rows whose every entry of `inside` (B, ...) is true, +inf for others, (B,), in the dtype of v."""
    rows = inside.flatten(1).all(1) if inside.ndim > 1 else inside
    return torch.where(rows, 0.0, torch.inf).to(v.dtype)


def slack(v: Tensor) -> float:
    """How far rounding may carry a point out of its set: 100 units in the last place of a number near 1."""
    return 100 * torch.finfo(v.dtype).eps

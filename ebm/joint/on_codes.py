"""A criterion as a loss: the codes are those that the energy itself computes.

    L(E, data) = L_criterion(s_x(data), s_y(data), ...)

`E = SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))` computes s_x and s_y once, when it is bound
to data; `OnCodes(VICReg(), "s_x", "s_y")` takes them from there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.binder import Held
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.joint.criterion import Criterion
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.signature import refuse_missing


class OnCodes(Loss):
    """A criterion of the codes that an energy compares.

    Args:
        criterion: e.g. `VICReg()`.
        names: the variables of the energy's terms that are codes, one for each view.

    Raises:
        TypeError: on a call, if no term of the energy has such a variable, naming those that there are.

    Example:
        >>> from ebm.joint import SquaredDistance, VICReg
        >>> E = SquaredDistance().compose(s_x=(torch.nn.Tanh(), "x"), s_y=(torch.nn.Tanh(), "y"))
        >>> x = torch.zeros(4, 2)
        >>> output = OnCodes(VICReg(), "s_x", "s_y")(E, x=x + torch.eye(4, 2), y=x + torch.eye(4, 2))
        >>> sorted(output.terms)
        ['VICReg covariance', 'VICReg invariance', 'VICReg variance', 'energy on data']
    """

    def __init__(self, criterion: Criterion, *names: str):
        super().__init__()
        if not isinstance(criterion, Criterion):
            raise TypeError(f"OnCodes lifts a criterion such as VICReg(); got {criterion!r}.")
        self.criterion, self.names = criterion, names or ("s_x", "s_y")

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        refuse_missing(energy, data)
        bound = energy.bind(data, generator)
        output = self.criterion(*(code_of(bound, name) for name in self.names), generator=generator)
        with torch.no_grad():
            mean = bound().mean()
        terms = {f"{self.label} {name}": value for name, value in output.terms.items()}
        return LossOutput(output.loss, {ON_DATA: mean.detach(), **terms})

    @property
    def label(self) -> str:
        return self.criterion.label


def code_of(bound: Bound, name: str) -> Tensor:
    """The value that the variable `name` of a term has in an energy that is bound to all its variables.

    Raises:
        TypeError: if no term has such a variable.
        ValueError: if two terms have it and it stands for different things in them.
    """
    found = {e.key for term in bound.summands for n, e in term.arguments if n == name and isinstance(e, Held)}
    if len(found) > 1:
        raise ValueError(f"{name!r} means different things in different terms of the energy; name one apart.")
    if not found:
        there = dict.fromkeys(n for term in bound.summands for n, _ in term.arguments)
        raise TypeError(
            f"no term of the energy has a variable {name!r}; its terms have {', '.join(there)}. Compose it: "
            f'SquaredDistance().compose(s_x=(encoder, "x"), s_y=(encoder, "y")).'
        )
    value = bound.held[found.pop()]
    if not isinstance(value, Tensor):
        raise TypeError(f"codes are tensors; {name!r} is a {type(value).__name__}.")
    return value

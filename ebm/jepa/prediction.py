"""Prediction in representation space: the energy of a joint embedding predictive architecture.

    E(s_x, s_y, z, a) = D(p(s_x, z, a), s_y)

D is an energy of a pair of codes, p the predictor, z what x doesn't tell of y, a what was done in between.
What can't be predicted need not be: it is left out of s_y, which a generative model can't do with y.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.4, fig. 12.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ebm.energy import Energy
from ebm.joint.pair import SquaredDistance


class Prediction(Energy):
    """E = D(p(s_x, *conditions), s_y), an energy of s_x, s_y and the conditions.

    Args:
        predictor: p, a module of s_x and of the conditions in their order.
        conditions: names of what the predictor is told beside s_x: "z", "a", both or none.
        pair: D, an energy of (s_x, s_y); `SquaredDistance()` if None.

    Raises:
        TypeError: if the pair is no energy of (s_x, s_y).
        ValueError: if a condition is named twice, or like a code.

    Example:
        >>> import torch
        >>> class Push(nn.Module):
        ...     def forward(self, s, a):
        ...         return s + a
        >>> E = Prediction(Push(), conditions=("a",))
        >>> E.variables
        ('s_x', 'a', 's_y')
        >>> E(s_x=torch.zeros(1, 2), a=torch.ones(1, 2), s_y=torch.tensor([[1.0, 3.0]]))
        tensor([4.])
    """

    def __init__(self, predictor: nn.Module, conditions: tuple[str, ...] = (), pair: Energy | None = None):
        super().__init__()
        pair = SquaredDistance() if pair is None else pair
        if not isinstance(pair, Energy) or set(pair.variables) != {"s_x", "s_y"}:
            raise TypeError(f"a prediction is compared by an energy of s_x and s_y; got {pair!r}.")
        if len({"s_x", "s_y", *conditions}) < 2 + len(conditions):
            raise ValueError(f"conditions have names of their own, beside s_x and s_y; got {conditions}.")
        self.predictor, self.pair, self.conditions = predictor, pair, tuple(conditions)
        self.variables = ("s_x", *self.conditions, "s_y")

    def forward(self, **variables: Any) -> Tensor:
        told = (variables[name] for name in self.conditions)
        predicted = self.predictor(variables["s_x"], *told)
        return self.pair.forward(s_x=predicted, s_y=variables["s_y"])

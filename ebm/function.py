"""A plain function of named tensors as an energy.

E(x, y, ...) = function(x=x, y=y, ...),        (B, *shape) each -> (B,)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ebm.energy import Energy
from ebm.signature import read_signature


class FunctionEnergy(Energy):
    """A plain function of named tensors as an energy; made by the `energy` decorator."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function
        self.variables, self.options = read_signature(function)
        if not self.variables:
            raise TypeError(
                f"{function!r} has no parameter without a default, so it is an energy of nothing."
            )
        functools.update_wrapper(self, function, assigned=("__doc__", "__name__"), updated=())

    def forward(self, **variables: Any) -> Tensor:
        return self.function(**variables)

    @property
    def label(self) -> str:
        return getattr(self.function, "__name__", "energy")


def energy(function: Callable[..., Tensor]) -> Energy:
    """Turn a plain function of named tensors into an `Energy`; parameters with a default are its options.

    Example:
        >>> import torch
        >>> @energy
        ... def bowl(y, depth=1.0):
        ...     return depth * (y**2).sum(1)
        >>> (bowl + 0.5 * bowl)(y=torch.ones(2, 2))
        tensor([3., 3.])
    """
    return FunctionEnergy(function)

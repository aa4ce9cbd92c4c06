"""The order of candidates: first what violates the constraints less, then what has the lower energy.

    (v, E) < (v', E')   if and only if   v < v', or v = v' and E < E'

Without constraints the energy decides alone. An energy or a violation that is NaN is worse than any number.
Methods that compare candidates and the record of best points share this order.

Reference: Deb (2000), "An efficient constraint handling method for genetic algorithms", sect. 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def without_nan(energy: Tensor, violation: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The same with +inf for NaN; where the energy is NaN the violation is +inf too."""
    if violation is not None:
        violation = torch.where(energy.isnan() | violation.isnan(), torch.inf, violation)
    return torch.where(energy.isnan(), torch.inf, energy), violation


def lower(energy: Tensor, violation: Tensor | None, than: Tensor, than_violation: Tensor | None) -> Tensor:
    """Whether (violation, energy) < (than_violation, than), (B,) bool; a NaN is lower than nothing."""
    if violation is None or than_violation is None:
        return energy < than
    return (energy < than) & (violation == than_violation) | (violation < than_violation) & ~energy.isnan()


def ranked(energy: Tensor, violation: Tensor | None) -> Tensor:
    """The candidates of each row from best to worst, (B, K) -> (B, K) indices; equals keep their order."""
    energy, violation = without_nan(energy, violation)
    order = energy.argsort(dim=1, stable=True)
    if violation is None:
        return order
    return order.gather(1, violation.gather(1, order).argsort(dim=1, stable=True))


def best(energy: Tensor, violation: Tensor | None) -> Tensor:
    """The first of each row's best candidates, (B, K) -> (B,) indices."""
    if violation is None:
        return without_nan(energy, None)[0].argmin(1)
    return ranked(energy, violation)[:, 0]

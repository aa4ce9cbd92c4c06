"""All pairs of a batch: the energy of every given x_i with every y_j.

    E_ij = E(x_i, y_j),        (B, B)

x and y are encoded once a row, B times each; only what depends on both is computed B² times. An energy that
is a distance of two representations so costs 2B encodings and B² distances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Held, Term
from ebm.bound import Bound
from ebm.contrastive.points import in_full
from ebm.energy import Energy
from ebm.signature import check_output


def all_pairs(
    energy: Energy,
    variable: str,
    y: Tensor,
    given: Mapping[str, Any],
    generator: torch.Generator | None = None,
) -> Tensor:
    """E(x_i, y_j) as (B, B), i down and j across.

    Args:
        energy: an energy of the variable, and of others.
        variable: the name of y.
        y: (B, *shape).
        given: x, the values of all other variables, B rows first.
        generator: source of what the energy draws.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def distance(x, y):
        ...     return (x - y).square().sum(1)
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
        >>> all_pairs(distance, "y", y, {"x": x})
        tensor([[0., 9.],
                [1., 4.]])
    """
    batch = len(y)
    across = torch.arange(batch, device=y.device).repeat(batch)  # j of the pairs, row by row
    by_x = energy.bind(given, generator, like={variable: y}).repeat(batch)
    by_y = energy.bind({variable: y}, generator, like=given).rows(across)
    free = {variable: y.index_select(0, across)}
    cache: dict[int, Any] = {}
    total = y.new_zeros(batch * batch)
    for here, there in zip(by_x.summands, by_y.summands, strict=True):
        value = here.leaf.forward(**_arguments(here, there, by_x, by_y, free, cache))
        total = total + here.weight * in_full(value)
    check_output(total, batch * batch, energy.label)
    return total.view(batch, batch)


def _arguments(
    here: Term, there: Term, by_x: Bound, by_y: Bound, free: Mapping[str, Any], cache: dict[int, Any]
) -> dict[str, Any]:
    """A term's arguments at the pairs; what y alone decides comes from where y was encoded once."""
    alone = type(here.leaf).prepare is Energy.prepare  # else it has prepared something of x, or of y
    encoded = {name: e for name, e in there.arguments if alone and isinstance(e, Held)}
    rest = here._replace(arguments=tuple((n, e) for n, e in here.arguments if n not in encoded))
    return by_x.arguments(rest, free, cache) | {name: by_y.held[e.key] for name, e in encoded.items()}

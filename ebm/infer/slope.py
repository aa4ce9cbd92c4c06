"""The slope of an energy in one of its free variables, the others as they are.

    E(u),  ∂E/∂v        v one of the free variables

For methods that move one variable at a time, and for losses that look at slopes. Terms that offer a closed
form in v are not differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.binder import Term
from ebm.bound import Bound
from ebm.derivative import product_with, recording
from ebm.signature import check_output
from ebm.split import closed_form_in, closed_forms


def slope_in(
    bound: Bound, variable: str, values: Mapping[str, Tensor], create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """E, (B,), and its gradient in one of the free variables, like that one's value.

    Args:
        bound: the energy.
        variable: the name of v.
        values: of all free variables.
        create_graph: whether both have a graph, which takes a v that wants a gradient; else neither has one.
    """
    names = [(term, closed_form_in(term, variable)) for term in bound.summands]
    known = [(term, name) for term, name in names if name is not None]
    if not known:
        found = _differentiated(bound, bound.summands, variable, values, create_graph)
    else:
        found = closed_forms(bound, known, values)
        if rest := tuple(term for term, name in names if name is None):
            more = _differentiated(bound, rest, variable, values, create_graph)
            found = found[0] + more[0], found[1] + more[1]
    return found if create_graph else (found[0].detach(), found[1].detach())


def _differentiated(
    bound: Bound, terms: tuple[Term, ...], variable: str, values: Mapping[str, Tensor], create_graph: bool
) -> tuple[Tensor, Tensor]:
    with recording():
        v = values[variable] if create_graph else values[variable].detach().requires_grad_()
        value = bound.evaluate({**values, variable: v}, terms)
        check_output(value, v.shape[0], "the energy")
        if not value.requires_grad:
            return value, torch.zeros_like(v)
        return value, product_with(value, v, torch.ones_like(value), create_graph)

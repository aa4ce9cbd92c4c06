"""The slope of an energy in one of several free variables, the others as they are.

    E(u),  ∂E/∂v        v one of the free variables

For methods that move one variable at a time. Terms that offer a closed form in v are not differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.binder import Free, Term, free_names
from ebm.derivative import product_with
from ebm.problem import Problem


def slope_in(problem: Problem, variable: str, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """E, (B,), and its gradient in one of the free variables, like that one's value; neither has a graph.

    Args:
        problem: the energy.
        variable: the name of v.
        values: of all free variables.
    """
    bound = problem.bound
    known = {id(t): name for t in bound.summands if (name := _known(t, variable)) is not None}
    rest = tuple(t for t in bound.summands if id(t) not in known)
    found: list[tuple[Tensor, Tensor]] = []
    for term in bound.summands:
        if id(term) in known:
            value, gradient = term.leaf.value_and_grad(known[id(term)], **bound.arguments(term, values, {}))
            plain = isinstance(term.weight, float) and term.weight == 1.0
            found.append((value, gradient) if plain else (term.weight * value, term.weight * gradient))
    if rest or not found:
        found.append(_differentiated(problem, rest, variable, values))
    (value, gradient), *others = found
    for other, other_gradient in others:
        value, gradient = value + other, gradient + other_gradient
    return value.detach(), gradient.detach()


def _known(term: Term, variable: str) -> str | None:
    """The leaf's own name of the variable in which it knows its gradient; None where it doesn't."""
    names = [name for name, e in term.arguments if variable in free_names(e)]
    alone = len(names) == 1 and isinstance(dict(term.arguments)[names[0]], Free)
    return names[0] if alone and names[0] in term.leaf.closed_form else None


def _differentiated(
    problem: Problem, terms: tuple[Term, ...], variable: str, values: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        v = values[variable].detach().requires_grad_()
        value = problem.bound.evaluate({**values, variable: v}, terms)
        if not value.requires_grad:
            return value, torch.zeros_like(v)
        return value, product_with(value, v, torch.ones_like(value))

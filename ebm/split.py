"""Which terms of an energy can be treated better than by autograd: those with a prox or a closed form.

E(u) = smooth(u) + Σ_i w_i h_i(u),        prox_{t w_i h_i} known for each h_i, at most one h_i on a variable
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from ebm.binder import Free, Term, free_names
from ebm.bound import Bound


def split_prox(terms: Iterable[Term]) -> tuple[tuple[Term, ...], dict[str, Term]]:
    """The terms without a prox, and for each variable the one term whose prox acts on it.

    A term whose variable is given is a constant; one whose variable is a function of others is smooth.

    Raises:
        ValueError: if two terms have a prox on the same variable, or one has a negative weight.
    """
    smooth: list[Term] = []
    proxes: dict[str, Term] = {}
    for term in terms:
        variable = _prox_variable(term)
        if variable is None:
            smooth.append(term)
        elif variable in proxes:
            raise ValueError(
                f"{proxes[variable].label!r} and {term.label!r} both have a prox on {variable!r}, and the "
                f"order of two proxes changes the answer: write one joint term with a prox of its own."
            )
        elif float(term.weight) < 0:
            raise ValueError(
                f"{term.label!r} has a prox and the negative weight {float(term.weight):g}; minus a prox "
                f"term is not a prox term. Use a positive weight."
            )
        else:
            proxes[variable] = term
    return tuple(smooth), proxes


def _prox_variable(term: Term) -> str | None:
    """The free variable on which a term's prox acts; None if it has no prox or acts on nothing free."""
    if not hasattr(type(term.leaf), "prox"):  # a module looks far and wide for what its type doesn't have
        return None
    (name,) = term.leaf.variables
    expression = dict(term.arguments)[name]
    return expression.name if isinstance(expression, Free) else None


def _own_name(term: Term, variable: str) -> str | None:
    """The leaf's own name of a free variable; None if it enters through a module, or in several places."""
    names = [name for name, e in term.arguments if variable in free_names(e)]
    alone = len(names) == 1 and isinstance(dict(term.arguments)[names[0]], Free)
    return names[0] if alone else None


def _sole_name(term: Term) -> str | None:
    """The leaf's own name of the one free variable that a term depends on; None where there is no such."""
    free = term.free()
    return _own_name(term, next(iter(free))) if len(free) == 1 else None


def closed_form_in(term: Term, variable: str) -> str | None:
    """The leaf's own name of a free variable in which it knows its gradient; None for autograd."""
    name = _own_name(term, variable) if term.leaf.closed_form else None
    return name if name in term.leaf.closed_form else None


def closed_form_of(term: Term) -> str | None:
    """The same for the one free variable that a term depends on; None also if it depends on several."""
    name = _sole_name(term) if term.leaf.closed_form else None
    return name if name in term.leaf.closed_form else None


def quadratic_form_of(term: Term) -> str | None:
    """Likewise the name of the variable in which a term may know its quadratic form."""
    return _sole_name(term) if hasattr(term.leaf, "quadratic") else None


def closed_forms(
    bound: Bound, terms: Iterable[tuple[Term, str]], free: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Σ_i w_i E_i, (B,), and its gradient, of terms that know theirs.

    Args:
        bound: the energy of the terms.
        terms: at least one, each with its leaf's own name of the variable.
        free: the values of all free variables.
    """
    found = []
    for term, name in terms:
        value, gradient = term.leaf.value_and_grad(name, **bound.arguments(term, free, {}))
        plain = isinstance(term.weight, float) and term.weight == 1.0
        found.append((value, gradient) if plain else (term.weight * value, term.weight * gradient))
    (value, gradient), *others = found
    for other, other_gradient in others:
        value, gradient = value + other, gradient + other_gradient
    return value, gradient

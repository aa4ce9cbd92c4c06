"""The staged energy in a problem: what searches along the stages ask for before they begin."""

from __future__ import annotations

from typing import Any

from ebm.binder import Free, Held
from ebm.problem import Problem
from ebm.staged import Staged


def staged_term(problem: Problem, who: str) -> tuple[Staged, dict[str, Any], float]:
    """The staged term of a problem that has no other.

    Args:
        problem: over the choices of one `Staged` energy, with all else given.
        who: the method that asks, for its errors.

    Returns:
        The term's energy, the values that its `start` is given, and the sign of its weight.

    Raises:
        TypeError: if there are constraints or other terms, or something else than the choices is free.
    """
    if problem.constraints:
        raise TypeError(
            f"{who} cannot keep to `subject_to`; forbid a choice by a cost of +inf in `stage`, "
            "or use Enumerate()."
        )
    terms = [term for term in problem.bound.summands if term.free()]  # the others are constants
    if len(terms) != 1 or not isinstance(terms[0].leaf, Staged):
        kinds = ", ".join(f"{term.label} ({type(term.leaf).__name__})" for term in terms)
        raise TypeError(
            f"{who} minimizes one Staged energy; the terms of this one are "
            f"{kinds or 'all constant'}. Add the other costs to its `stage` and `final`, or use Enumerate()."
        )
    leaf, arguments, weight, label = terms[0]
    given = dict(arguments)
    choice = given.pop(leaf.choice)
    if not isinstance(choice, Free) or not all(isinstance(e, Held) for e in given.values()):
        raise TypeError(
            f"{who} searches over {leaf.choice!r}, the choices of {label}, with all else given; "
            f"the free variables here are {', '.join(problem.shapes)}. Minimize over {leaf.choice!r} itself."
        )
    held = {name: problem.bound.held[e.key] for name, e in given.items() if isinstance(e, Held)}
    return leaf, held, float(weight > 0) - float(weight < 0)

"""Exercises as code: cells become functions, and a check takes the functions that it names.

A check is a function whose parameters are names that the exercises define, `check_free_energy(free_energy,
energy_table)`: as an energy's variables are the parameters of its `forward`.
"""

from __future__ import annotations

import inspect
import linecache
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

Check = Callable[..., None]


def define(answers: Mapping[str, str], scope: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the exercises' cells, in order, where `torch` and `math` are imported and nothing else is.

    Args:
        answers: the code of each cell by the name of its exercise.
        scope: the names to go on from; `torch` and `math` alone if None.

    Returns:
        The names that are defined then.

    Example:
        >>> scope = define({"half": "def half(y):\\n    return 0.5 * y"})
        >>> scope["half"](3.0)
        1.5
    """
    scope = {"__name__": "exercises", "torch": torch, "math": math} if scope is None else scope
    for name, code in answers.items():
        source = f"<exercise {name}>"
        linecache.cache[source] = (len(code), None, code.splitlines(keepends=True), source)
        exec(compile(code, source, "exec"), scope)
    return scope


def run_check(check: Check, scope: Mapping[str, Any]) -> None:
    """Run one check on the names it asks for, in float64, from a fixed seed; both are as before afterwards.

    Args:
        check: a function of names in the scope, which raises if an answer is wrong.
        scope: what the student defined.

    Raises:
        AssertionError: if an answer is wrong; the message names the slip.
        NotImplementedError: if an exercise is still blank.
        NameError: if a name is missing.

    Example:
        >>> def check_half(half):
        ...     assert half(4.0) == 2.0, "Half of it."
        >>> run_check(check_half, {"half": lambda y: y / 2})
    """
    names = list(inspect.signature(check).parameters)
    missing = [name for name in names if name not in scope]
    if missing:
        raise NameError(f"`{missing[0]}` is not defined: its cell is missing, failed, or names it otherwise.")
    before = torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.set_default_dtype(torch.float64)
            check(*(scope[name] for name in names))
    finally:
        torch.set_default_dtype(before)

"""The contract of binding: what is given early follows its rows, and changes nothing.

    E.bind(given)(free) = E(given, free),        .rows(i) takes rows of both,        .repeat(k) copies both

A tensor that the energy uses without being given it (captured by a closure, kept on `self`) does not follow:
it goes stale when rows are dropped. Here it is caught.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.testing.examples import Example, batch_size, choose, evaluate, is_random, leading, seeded
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal, rounding

STALE = (
    "It uses rows that it was not given, and which therefore do not follow (a tensor captured by a "
    "closure or kept "
    "on self), or it mixes rows. Make every row-wise tensor a variable."
)


def check_binding(energy: Energy, example: Example) -> None:
    """Check that an energy bound to any of its variables is the same energy, and that its rows can be moved.

    For every choice of given and free variables: the bound energy equals the plain call; rows turned, taken
    out and repeated have the energies they had; binding in two steps equals binding at once; `terms` add up.

    Args:
        energy: the energy.
        example: a value for each variable, B >= 2 rows that differ.

    Raises:
        EnergyContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm import energy
        >>> x = torch.arange(3.0).view(3, 1)
        >>> captured = energy(lambda y: (y - x).square().sum(1))  # x is not a variable
        >>> check_binding(captured, {"y": torch.zeros(3, 1)})
        Traceback (most recent call last):
        ValueError: all 3 rows of the example are equal; rows that differ tell more.
        >>> check_binding(captured, {"y": torch.tensor([[3.0], [5.0], [4.0]])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.EnergyContractError: with nothing given, rows [2, 0, 1] have the energies they
        had. It ...
    """
    batch_size(example)
    with torch.no_grad():
        whole, random = evaluate(energy, example), is_random(energy, example)
        for given in _subsets(energy.variables):
            _check_given(energy, example, given, whole, random)


def _subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every choice of given variables that leaves one free at least, and all of them given."""
    for count in range(len(names) + 1):
        yield from itertools.combinations(names, count)


def _check_given(
    energy: Energy, example: Example, given: tuple[str, ...], whole: Tensor, random: bool
) -> None:
    close, batch = rounding(whole.dtype), len(whole)
    known = {n: v for n, v in example.items() if n in given or n not in energy.variables}
    free = {n: example[n] for n in energy.variables if n not in given}
    what = f"with {', '.join(given) or 'nothing'} given"
    bound = energy.bind(known, seeded(leading(example)), like=free)
    if set(bound.variables) != set(free):
        raise Wrong(f"{what}, expected the free variables {tuple(free)}; came {bound.variables}.")
    value = bound(**free)
    if not random:  # a random energy may draw in another order when other variables are given
        require_equal(Wrong, value, whole, f"{what}, the bound energy equals the plain call", close)
    terms = bound.terms(**free)
    if terms:
        require_equal(
            Wrong,
            sum(terms.values(), torch.zeros_like(value)),
            value,
            f"{what}, terms add up to the energy",
            close,
        )
    for index in (torch.arange(batch).roll(1), torch.tensor([batch - 1]), torch.tensor([1, 0])):
        _check_rows_moved(bound, free, value, index.to(value.device), what)
    _check_repeated(bound, free, value, what)
    _check_two_steps(bound, free, value, what)


def _check_rows_moved(bound: Bound, free: Example, value: Tensor, index: Tensor, what: str) -> None:
    claim = f"{what}, rows {index.tolist()} have the energies they had"
    try:
        came = bound.rows(index)(**choose(free, index))
    except (RuntimeError, IndexError, ValueError) as problem:
        raise Wrong(f"{claim}: {problem} {STALE}") from problem
    if came.shape != index.shape:
        raise Wrong(f"{claim}: expected {len(index)} energies, came shape {tuple(came.shape)}. {STALE}")
    require_equal(Wrong, came, value[index], f"{claim}. {STALE}", rounding(value.dtype))


def _check_repeated(bound: Bound, free: Example, value: Tensor, what: str) -> None:
    copies = {n: map_rows(v, lambda t: t.repeat_interleave(3, 0)) for n, v in free.items()}
    claim = f"{what}, every row repeated 3 times has its energy 3 times"
    try:
        came = bound.repeat(3)(**copies)
    except (RuntimeError, IndexError, ValueError) as problem:
        raise Wrong(f"{claim}: {problem} {STALE}") from problem
    require_equal(Wrong, came, value.repeat_interleave(3), f"{claim}. {STALE}", rounding(value.dtype))


def _check_two_steps(bound: Bound, free: Example, value: Tensor, what: str) -> None:
    for name in free:
        rest = {n: v for n, v in free.items() if n != name}
        came = bound.bind({name: free[name]}, like=rest)(**rest)
        require_equal(
            Wrong, came, value, f"{what}, then {name}: the same energy as at once", rounding(value.dtype)
        )

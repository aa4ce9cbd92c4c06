"""The contract of rows in a solve: each is solved as if it were alone.

    minimize(E, u_0)_i depends on (u_0)_i and given_i alone        neighbors changed, done early, NaN, or not
    there

At fixed B a changed neighbor changes no bit, whatever it does to who is dropped when; methods that draw do so
for all B rows. Across batch sizes deterministic methods agree to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.choices import Choices
from ebm.infer.method import Method
from ebm.solution import Solution, Stop
from ebm.testing.examples import choose
from ebm.testing.posed import Over, Posed, as_dict
from ebm.testing.verdict import MinimizerContractError as Wrong
from ebm.testing.verdict import require_equal


def check_neighbors(method: Method, problem: Posed, *, tolerance: float = 0.0, alone: float = 1e-9) -> None:
    """Check that every row's solution is its own.

    Held to: the same generator gives the same answer; a row replaced by another, or by one that is solved
    already and so is dropped at once, changes no other; a deterministic method finds the same for a row
    alone.

    Args:
        method: the minimizer.
        problem: B >= 3 rows that differ.
        tolerance: of a neighbor's influence at fixed B; 0 asks for the same bits, which holds where an
            energy's arithmetic for a row does not depend on B (a matrix product's does, in its last bits).
        alone: the tolerance across batch sizes.

    Raises:
        MinimizerContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm.infer import GradientDescent
        >>> from ebm.testing.posed import bowl
        >>> check_neighbors(GradientDescent(0.3), bowl(2, 3))
    """
    who = f"{type(method).__name__} on {problem}"
    solution = problem.solve(method)
    _same(problem.solve(method), solution, f"{who}: the same generator gives the same answer", 0.0)
    batch = problem.batch
    for row in range(batch):
        index = torch.arange(batch)
        index[row] = (row + 1) % batch
        others = torch.arange(batch) != row
        claim = f"{who}: replacing row {row} changes no other row"
        _same(problem.rows(index).solve(method), solution, claim, tolerance, others)
    if not isinstance(problem.over, Choices):
        _check_dropping(method, problem, solution, tolerance, who)
    if not is_stochastic(method, problem):
        for row in range(batch):
            single = problem.rows(torch.tensor([row])).solve(method)
            claim = f"{who}: row {row} alone (B = 1) has the answer that it had among others"
            _same(single, _only(solution, row), claim, alone, steps=False)


def check_poison(method: Method, problem: Posed, *, tolerance: float = 0.0) -> None:
    """Check that a row which is NaN, or infinite, is reported and does not touch the others.

    The poison is written into a row of everything given that is floating (of the start, where nothing is
    given).

    Args:
        method: the minimizer.
        problem: B >= 3 rows.
        tolerance: of the influence on the other rows; see `check_neighbors`.

    Raises:
        MinimizerContractError: saying what was expected, what came and in which row.
    """
    problem = problem.rows(torch.arange(problem.batch).repeat(2))  # so many rows that one alone is not dropped
    solution, batch = problem.solve(method), problem.batch
    for poison in (torch.nan, torch.inf):
        row = batch // 2
        who = f"{type(method).__name__} on {problem}, row {row} {poison}"
        poisoned = _poisoned(problem, row, poison).solve(method)
        others = torch.arange(batch) != row
        _same(poisoned, solution, f"{who}: no other row feels it", tolerance, others)
        if bool(poisoned.converged[row]):
            raise Wrong(
                f"{who}: expected a row that is not converged; came one stopped by {poisoned.reasons[row]}."
            )
        if poison != poison and poisoned.stopped_by[row] != Stop.NON_FINITE:
            raise Wrong(f"{who}: expected to be stopped by non finite; came {poisoned.reasons[row]}.")


def is_stochastic(method: Method, problem: Posed) -> bool:
    """Whether another seed gives another answer after a few steps."""
    one, two = (problem.solve(method, seed=seed, max_steps=3) for seed in (0, 1))
    return any(not torch.equal(as_dict(one.value)[n], v) for n, v in as_dict(two.value).items())


def _check_dropping(method: Method, problem: Posed, solution: Solution, tolerance: float, who: str) -> None:
    """Begin all rows but one at their answers: these stop at once, and are dropped."""
    for row in (0, problem.batch - 1):
        done = torch.arange(problem.batch) != row
        over = _mixed(problem.over, solution.value, done)
        came = replace(problem, over=over).solve(method)
        _same(
            came,
            solution,
            f"{who}: neighbors that are done early change nothing in row {row}",
            tolerance,
            ~done,
        )


def _mixed(start: Over, answer: Tensor | dict[str, Tensor], done: Tensor) -> Over:
    if isinstance(start, Mapping) and isinstance(answer, dict):
        return {name: _where(done, answer[name], value) for name, value in start.items()}
    return _where(done, as_dict(answer)["value"], as_dict(start)["value"])


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition.to(no.device).view(-1, *(1,) * (no.ndim - 1)), yes, no)


def _poisoned(problem: Posed, row: int, poison: float) -> Posed:
    def write(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        out = value.clone()
        out[row] = poison
        return out

    if problem.given:
        return replace(problem, given={n: map_rows(v, write) for n, v in problem.given.items()})
    if isinstance(problem.over, Choices):
        raise ValueError(
            "the poison goes into what is given, and this problem over Choices is given nothing."
        )
    over = problem.over
    return replace(
        problem, over=write(over) if isinstance(over, Tensor) else {n: write(v) for n, v in over.items()}
    )


def _only(solution: Solution, row: int) -> Solution:
    index = torch.tensor([row])
    whole = solution.value
    value = choose(whole, index) if isinstance(whole, dict) else whole.index_select(0, index.to(whole.device))
    pick = slice(row, row + 1)
    return replace(
        solution,
        value=value,
        energy=solution.energy[pick],
        converged=solution.converged[pick],
        steps=solution.steps[pick],
        stopped_by=solution.stopped_by[pick],
    )


def _same(
    came: Solution,
    expected: Solution,
    claim: str,
    tolerance: float,
    rows: Tensor | None = None,
    steps: bool = True,
) -> None:
    """Both solutions agree in the given rows (all, if None)."""

    def only(t: Tensor, like: Tensor) -> Tensor:
        return t if rows is None else _where(rows, t, like)

    for name, value in as_dict(expected.value).items():
        require_equal(Wrong, only(as_dict(came.value)[name], value), value, f"{claim} ({name})", tolerance)
    require_equal(Wrong, only(came.energy, expected.energy), expected.energy, f"{claim} (energy)", tolerance)
    if steps and not tolerance:
        require_equal(Wrong, only(came.steps, expected.steps), expected.steps, f"{claim} (steps)")
        codes = expected.stopped_by
        require_equal(Wrong, only(came.stopped_by, codes), codes, f"{claim} (stopped_by)")

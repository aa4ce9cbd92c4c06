"""The contract of rows in a solve: each is solved as if it were alone.

    minimize(E, u_0)_i depends on (u_0)_i and given_i alone        neighbors changed, done early, or not there

At fixed B a changed neighbor changes no bit, whatever it does to who is dropped when; methods that draw do so
for all B rows. Across batch sizes deterministic methods agree to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ebm.choices import Choices
from ebm.infer.method import Method
from ebm.solution import Solution
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
    same_solution(problem.solve(method), solution, f"{who}: the same generator gives the same answer", 0.0)
    batch = problem.batch
    for row in range(batch):
        index = torch.arange(batch)
        index[row] = (row + 1) % batch
        others = torch.arange(batch) != row
        claim = f"{who}: replacing row {row} changes no other row"
        same_solution(problem.rows(index).solve(method), solution, claim, tolerance, others)
    if not isinstance(problem.over, Choices):
        _check_dropping(method, problem, solution, tolerance, who)
    if not is_stochastic(method, problem):
        for row in range(batch):
            single = problem.rows(torch.tensor([row])).solve(method)
            claim = f"{who}: row {row} alone (B = 1) has the answer that it had among others"
            same_solution(single, _only(solution, row), claim, alone, steps=False)


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
        same_solution(
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


def same_solution(
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

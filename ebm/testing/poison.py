"""The contract of lost rows: a row that is NaN or infinite is reported, and touches no other.

    E(u)_i = NaN        =>  row i is not converged, and every other row is what it would have been

The poison lies at the start, where a solver sees it at once, or one step away, where it comes upon the row
while the others are on their way.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.method import Method
from ebm.rows import flat
from ebm.solution import Solution, Stop
from ebm.testing.neighbors import same_solution
from ebm.testing.posed import Posed, first_tensor
from ebm.testing.verdict import MinimizerContractError as Wrong


def check_poison(method: Method, problem: Posed, *, tolerance: float = 0.0) -> None:
    """Check that a row which is NaN, or infinite, is reported and does not touch the others.

    The poison is written into a row of everything given that is floating (of the start, where nothing is
    given); then, for one free variable, a row becomes NaN as soon as it leaves its start.

    Args:
        method: the minimizer.
        problem: B >= 3 rows.
        tolerance: of the influence on the other rows; see `check_neighbors`.

    Raises:
        MinimizerContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm.infer import GradientDescent
        >>> from ebm.testing.posed import bowl
        >>> check_poison(GradientDescent(0.3), bowl(2, 3))
    """
    # so many rows that one done alone is not dropped
    problem = problem.rows(torch.arange(problem.batch).repeat(2))
    row = problem.batch // 2
    expected = problem.solve(method)
    for poison in (torch.nan, torch.inf):
        who = f"{type(method).__name__} on {problem}, row {row} {poison}"
        came = _poisoned(problem, row, poison).solve(method)
        _check_alone(came, expected, row, tolerance, who)
        if bool(came.converged[row]):
            raise Wrong(
                f"{who}: expected a row that is not converged; came one stopped by {came.reasons[row]}."
            )
        if math.isnan(poison) and came.stopped_by[row] != Stop.NON_FINITE:
            raise Wrong(f"{who}: expected to be stopped by non finite; came {came.reasons[row]}.")
    if not isinstance(problem.over, Tensor):
        return
    who = f"{type(method).__name__} on {problem}, row {row} NaN off its start"
    came = _trapped(problem, row).solve(method)
    _check_alone(came, _trapped(problem, None).solve(method), row, tolerance, who)
    if not method.population and bool(came.converged[row]):
        raise Wrong(f"{who}: expected a row that is not converged; came one stopped by {came.reasons[row]}.")
    if not bool(torch.isfinite(came.energy[row])) and came.stopped_by[row] != Stop.NON_FINITE:
        raise Wrong(f"{who}: its energy came as {float(came.energy[row])}, stopped by {came.reasons[row]}.")


def _check_alone(came: Solution, expected: Solution, row: int, tolerance: float, who: str) -> None:
    others = torch.arange(len(expected.energy)) != row
    same_solution(came, expected, f"{who}: no other row feels it", tolerance, others)


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


class _Trap(Energy):
    """0, but NaN where a row that is trapped has left where it began."""

    def __init__(self, name: str):
        super().__init__()
        self.name, self.variables = name, (name, "begun", "trapped")

    def forward(self, *, begun: Tensor, trapped: Tensor, **free: Tensor) -> Tensor:
        u = free[self.name]
        left = trapped & flat(u != begun).any(1)
        return 0.0 * flat(u).sum(1) * torch.where(left, math.nan, 0.0).to(u.dtype)  # its gradient is NaN, too


def _trapped(problem: Posed, row: int | None) -> Posed:
    (name,) = (v for v in problem.energy.variables if v not in problem.given)
    start = first_tensor(problem.over)
    trapped = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    if row is not None:
        trapped[row] = True
    given = {**problem.given, "begun": start, "trapped": trapped}
    return replace(problem, energy=problem.energy + _Trap(name), given=given)

"""The contract of a minimizer's report: it found what it says, and nothing worse than the start.

E(value) = energy <= E(start),        steps <= max_steps,        converged = a test fired, at the answer
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method
from ebm.solution import CONVERGED, Solution, Stop
from ebm.testing.posed import Posed, as_dict
from ebm.testing.verdict import MinimizerContractError as Wrong
from ebm.testing.verdict import require_equal, require_rows, rounding

FEW = (0, 1, 2, 7)  # step limits that end a solve early


def check_reaches(method: Method, problem: Posed) -> None:
    """Check that every row converges, to a minimum that is known.

    Args:
        method: the minimizer.
        problem: a minimization with a known answer.

    Raises:
        MinimizerContractError: with the rows that did not.

    Example:
        >>> from ebm.infer import GradientDescent
        >>> from ebm.testing.posed import bowl
        >>> check_reaches(GradientDescent(0.5), bowl(3))
        >>> check_reaches(GradientDescent(1e-4), bowl(3, max_steps=10))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.MinimizerContractError: GradientDescent converges on Bowl over (4, 3) in ...
    """
    solution = problem.solve(method)
    who = f"{type(method).__name__} converges on {problem}"
    open_rows = (~solution.converged).nonzero().flatten().tolist()
    if open_rows:
        reasons = ", ".join(f"{row} stopped by {solution.reasons[row]}" for row in open_rows[:5])
        raise Wrong(
            f"{who} in every row within {problem.max_steps} steps; of {problem.batch}, row {reasons}."
        )
    if problem.distance is not None:
        distance = problem.distance(solution.value)
        near = distance <= problem.reach
        require_rows(Wrong, near, f"{who} to within {problem.reach:g} of a known minimum", distance)


def check_report(method: Method, problem: Posed) -> None:
    """Check that what a solve reports is true, converged or not, and never worse than its start.

    Args:
        method: the minimizer.
        problem: what to minimize; its answer need not be known.

    Raises:
        MinimizerContractError: saying what was expected, what came and in which row.
    """
    for limit in (*FEW, problem.max_steps):
        solution = problem.solve(method, max_steps=limit)
        who = f"{type(method).__name__} on {problem} with max_steps={limit}"
        _check_shape(solution, problem, who)
        _check_energy(solution, problem, who)
        _check_stops(solution, problem, limit, who)
        if limit == 0 and not method.discrete:
            for name, start in as_dict(problem.over).items():
                require_equal(
                    Wrong, as_dict(solution.value)[name], start, f"{who}: no step leaves the start {name}"
                )


def _check_shape(solution: Solution, problem: Posed, who: str) -> None:
    came, start = as_dict(solution.value), as_dict(problem.over)
    if isinstance(solution.value, Tensor) != (not isinstance(problem.over, dict)) or set(came) != set(start):
        raise Wrong(f"{who}: expected a value like `over`, {list(start)}; came {list(came)}.")
    for name, tensor in start.items():
        other = came[name]
        if other.shape != tensor.shape or other.dtype != tensor.dtype or other.device != tensor.device:
            raise Wrong(
                f"{who}: expected {name} {tuple(tensor.shape)}, {tensor.dtype} on {tensor.device}; came "
                f"{tuple(other.shape)}, {other.dtype} on {other.device}."
            )
    batch = problem.batch
    for name in ("energy", "converged", "steps", "stopped_by", "gradient_norm"):
        entry = getattr(solution, name)
        if entry is not None and entry.shape != (batch,):
            raise Wrong(f"{who}: expected one {name} a row, ({batch},); came {tuple(entry.shape)}.")


def _check_energy(solution: Solution, problem: Posed, who: str) -> None:
    names = list(problem.over) if isinstance(problem.over, dict) else [_free(problem)]
    at = dict(zip(names, as_dict(solution.value).values(), strict=True))
    start = dict(zip(names, as_dict(problem.over).values(), strict=True))
    with torch.no_grad():
        here = problem.energy(**problem.given, **at)
        before = problem.energy(**problem.given, **start)
    close = rounding(here.dtype)
    require_equal(Wrong, solution.energy, here, f"{who}: `energy` is E at `value`", close)
    slack = close * (1 + before.abs())
    no_worse = (here <= before + slack) | ~torch.isfinite(before)
    require_rows(Wrong, no_worse, f"{who}: never worse than the start", here - before)


def _check_stops(solution: Solution, problem: Posed, limit: int, who: str) -> None:
    codes, steps = solution.stopped_by, solution.steps
    settled = torch.isin(codes, torch.tensor(CONVERGED, dtype=torch.uint8, device=codes.device))
    require_rows(Wrong, codes != Stop.RUNNING, f"{who}: every row says what stopped it", codes)
    require_rows(
        Wrong, solution.converged == settled, f"{who}: `converged` where a stopping test fired", codes
    )
    require_rows(Wrong, (steps >= 0) & (steps <= limit), f"{who}: between 0 and max_steps steps", steps)
    out_of_steps = (codes != Stop.MAX_STEPS) | (steps == limit)
    require_rows(Wrong, out_of_steps, f"{who}: a row that ran out of steps took all of them", steps)
    if solution.gradient_norm is not None:
        small = (codes != Stop.GRADIENT) | (solution.gradient_norm <= problem.tol)
        require_rows(
            Wrong,
            small,
            f"{who}: stopped by the gradient, its norm is at most {problem.tol:g}",
            solution.gradient_norm,
        )


def _free(problem: Posed) -> str:
    (name,) = (v for v in problem.energy.variables if v not in problem.given)
    return name

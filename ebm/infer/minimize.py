"""Minimization: the loop that every method shares, with a verdict for each row.

    u* = argmin_u E(u, given),    state_0 = init(u_0),  state_{k+1} = step(state_k)  until every row stopped

The loop keeps each row's best point, records a row the moment its test fires, drops rows that are done where
that pays, and reports rows that became NaN or infinite. What it returns is never worse than the start.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.compiled import with_compiled_gradient
from ebm.infer.differentiate import newton_correction
from ebm.infer.method import Method, count, positive
from ebm.infer.pose import Over, pose
from ebm.infer.record import Record
from ebm.problem import Problem
from ebm.solution import Solution, UnconvergedError, one_tensor

FINITE_EVERY = 20  # steps between two tests for NaN and infinity
ELSEWHERE_EVERY = 10  # steps between two looks at the verdict where a look waits for an accelerator

Differentiate = Literal["no", "unroll", "implicit"]


def minimize(
    energy: Energy | Bound,
    over: Over,
    method: Method,
    *,
    given: Mapping[str, Any] | None = None,
    subject_to: Sequence[Energy] = (),
    max_steps: int = 1000,
    tol: float = 1e-5,
    differentiate: Differentiate = "no",
    trace: bool = False,
    generator: torch.Generator | None = None,
    raise_unconverged: bool = False,
    compile: bool = False,
    max_rows: int | None = None,
) -> Solution:
    """Find the free variables that minimize an energy, for every row on its own: argmin_u E(u, given).

    Args:
        energy: an energy, or one that is already bound.
        over: the free variables' starting values {name: (B, *shape)}; a bare value where there is one
            variable. A value is a tensor, a start object (`ebm.infer.starts`) or `Choices`.
        method: how to search, e.g. `GradientDescent(0.1)`, `LBFGS()`, `FISTA()`, `Enumerate()`, `CEM()`.
        given: the values of all other variables, B rows first; options of the energy may stand here too.
        subject_to: constraints, energies that are allowed where they are <= 0.
        max_steps: steps at most.
        tol: what the method's test compares with; for gradient methods ‖∇E‖₂ <= tol.
        differentiate: "no" detaches the solution; "unroll" differentiates through the steps; "implicit"
            through the condition ∇E(u*) = 0 (one differentiable Newton step at u*), at a memory independent
            of the steps.
        trace: keep every step's energy and point (memory grows with the steps).
        generator: source of all randomness.
        raise_unconverged: raise `UnconvergedError` if a row did not converge.
        compile: run the energy's gradient through torch.compile; if that fails, says so and goes on without.
        max_rows: evaluate at most so many candidates at once (methods that try several a row).

    Returns:
        A `Solution`; every entry of it is per row.

    Raises:
        TypeError, ValueError: for input that does not fit together, saying what was expected and what came.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import GradientDescent
        >>> @energy
        ... def bowl(y, center):
        ...     return ((y - center) ** 2).sum(1)
        >>> start, given = torch.zeros(1, 2), {"center": torch.ones(1, 2)}
        >>> solution = minimize(bowl, start, GradientDescent(0.4), given=given)
        >>> solution.value.round(decimals=3), solution.reasons
        (tensor([[1., 1.]]), ['gradient'])
    """
    _check_options(method, max_steps, tol, differentiate)
    with torch.set_grad_enabled(differentiate != "no" and torch.is_grad_enabled()):
        unroll = differentiate == "unroll"
        problem, u = pose(energy, over, given, subject_to, generator, max_rows, unroll)
        check_suits(method, problem, differentiate)
        if differentiate == "implicit":
            with torch.no_grad():
                solution = solve(
                    _prepared(problem.detach(), u.detach(), compile), u.detach(), method, max_steps, tol
                )
        else:
            solution = solve(_prepared(problem, u, compile), u, method, max_steps, tol, trace, unroll)
        found = one_tensor(solution.value)
        if differentiate == "implicit":
            found = newton_correction(problem, found)
            solution.energy = problem.value(found)
        solution.violation = problem.violation(found)
        solution.value = problem.unpack(found) if isinstance(over, Mapping) else found
        if solution.trace is not None and isinstance(over, Mapping):
            solution.trace.value = problem.unpack(one_tensor(solution.trace.value))
    if raise_unconverged and not bool(solution.converged.all()):
        raise UnconvergedError(solution)
    return solution


def _prepared(problem: Problem, u: Tensor, compile: bool) -> Problem:
    if compile and problem.create_graph:
        raise ValueError(
            "compile=True cannot keep the graph that differentiate='unroll' needs; use 'implicit', or "
            "compile=False."
        )
    return with_compiled_gradient(problem, u.device) if compile else problem


def solve(
    problem: Problem,
    u: Tensor,
    method: Method,
    max_steps: int = 1000,
    tol: float = 1e-5,
    trace: bool = False,
    unroll: bool = False,
) -> Solution:
    """The loop of `minimize` for a problem and its start u; `value` comes back as laid out by the problem."""
    record = Record(problem, method, max_steps, trace, unroll)
    # a population's step is long
    every = 1 if method.population or u.device.type == "cpu" else ELSEWHERE_EVERY
    state = method.init(problem, u)
    record.start(u, state)
    for step in range(max_steps + 1):
        record.observe(state)
        last = step == max_steps
        if last or step % every == 0:
            codes = method.verdict(state, tol)
            everywhere = last or step % FINITE_EVERY == 0
            if everywhere or bool(codes.any()):
                if last or step or not method.population:  # a search may start at NaN
                    # (tested where a row stops too: where E is NaN, ∇E = 0 is no minimum)
                    codes = record.mark_nonfinite(codes, state, everywhere)
                problem, state = record.stop(problem, state, codes, step)
        if last or record.finished:
            break
        proposed = method.step(problem, state)
        state = record.freeze(state, proposed) if unroll else proposed
    return record.solution()


def _check_options(method: Method, max_steps: int, tol: float, differentiate: str) -> None:
    if not isinstance(method, Method):
        raise TypeError(f"method must be a minimizer such as GradientDescent(0.1); got {method!r}.")
    count("max_steps", max_steps, 0)
    positive("tol", tol, zero=True)
    if differentiate not in ("no", "unroll", "implicit"):
        raise ValueError(f"differentiate is 'no', 'unroll' or 'implicit'; got {differentiate!r}.")


def check_suits(method: Method, problem: Problem, differentiate: str = "no") -> None:
    """Refuse a method that cannot take this problem, naming one that can."""
    name = type(method).__name__
    if problem.choices and not method.discrete:
        raise TypeError(
            f"{name} moves along a gradient or in a continuous space, and {', '.join(problem.choices)} holds "
            f"Choices; use Enumerate(), CategoricalCEM() where there are too many to enumerate, or "
            f"DynamicProgramming() on a Staged energy."
        )
    if problem.choices and len(problem.choices) < len(problem.shapes):
        raise TypeError(
            f"{', '.join(problem.choices)} holds Choices and "
            f"{', '.join(set(problem.shapes) - set(problem.choices))} real numbers; no method searches both "
            "at once. Minimize one of them first: min_over(E, name, method)."
        )
    if problem.constraints and not (method.population or method.constrained):
        raise TypeError(
            f"{name} cannot keep to `subject_to`; use AugmentedLagrangian({name}(...)), CEM or Enumerate, or "
            f"add the constraint as a term with a prox (Box, Ball, Simplex, Sphere) and a proximal method."
        )
    if problem.constraints and differentiate == "implicit":
        raise TypeError(
            "differentiate='implicit' solves ∇E = 0, which does not hold where a constraint is active; use "
            "differentiate='no'."
        )
    walls = [t.label for t in problem.prox_terms.values() if t.leaf.indicator]
    if walls and not (method.proximal or method.population):
        raise TypeError(
            f"{', '.join(walls)} is +inf outside a set, which a gradient cannot see; {name} would leave it. "
            f"Use a proximal method: ProximalGradient, FISTA, SpaRSA."
        )
    if differentiate == "implicit" and method.discrete:
        raise TypeError(
            f"{name} searches a discrete set, whose minimizer has no derivative; use differentiate='no'."
        )
    if differentiate == "unroll" and not method.differentiable:
        raise TypeError(f"the steps of {name} have no derivative; use differentiate='implicit' or 'no'.")


def warn_unconverged(solution: Solution, where: str) -> None:
    """Say aloud that an inner solve, whose solution nobody sees, left rows unconverged."""
    open_rows = int((~solution.converged).sum())
    if open_rows:
        warnings.warn(
            f"{where}: {open_rows} of {len(solution.energy)} rows did not converge ({solution}).",
            stacklevel=3,
        )

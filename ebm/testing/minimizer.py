"""All that is asked of a minimizer, in one call; each part is a function of its own.

protocol, report, reach, neighbors, poison, derivatives
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ebm.infer.method import Method
from ebm.testing.examples import copied
from ebm.testing.neighbors import check_neighbors
from ebm.testing.poison import check_poison
from ebm.testing.posed import Posed, as_dict, bowl, springs
from ebm.testing.protocol import check_protocol
from ebm.testing.solutions import check_reaches, check_report
from ebm.testing.verdict import MinimizerContractError as Wrong
from ebm.testing.verdict import require_equal


def check_minimizer(
    method: Method,
    problems: Sequence[Posed] | None = None,
    *,
    tolerance: float = 0.0,
    device: torch.device | str = "cpu",
    bowls: bool = True,
) -> None:
    """Check every contract of a minimizer.

    Args:
        method: the minimizer.
        problems: what it should solve, rows that differ; by default bowls of shapes (B,), (B, 4) and (B, 2,
            3), and two variables at once. A method for discrete variables needs problems of its own.
        tolerance: of a neighbor's influence; 0 asks for the same bits.
        device: where the default problems lie.
        bowls: whether the method takes a bowl, whose solution's derivative is known; False for one that needs
            an energy of some kind.

    Raises:
        MinimizerContractError: an AssertionError saying what was expected, what came and in which row.

    Example:
        >>> from ebm.infer import GradientDescent
        >>> check_minimizer(GradientDescent(0.3))
    """
    if problems is None:
        if method.discrete:
            raise ValueError(
                f"{type(method).__name__} searches a discrete set; pass problems=[Posed(...)] that suit it."
            )
        problems = [problem.to(device=device) for problem in (bowl(), bowl(4), bowl(2, 3), springs())]
    for problem in problems:
        check_protocol(method, problem)
        check_report(method, problem)
        check_reaches(method, problem)
        check_neighbors(method, problem, tolerance=tolerance)
        check_poison(method, problem, tolerance=tolerance)
        check_dtype(method, problem)
    if bowls and not method.discrete:
        check_solution_derivative(method, device)


def check_dtype(method: Method, problem: Posed) -> None:
    """Check that a method keeps float32 where everything is float32.

    Raises:
        MinimizerContractError: naming what came out in another dtype.
    """
    single = replace(problem, energy=copied(problem.energy)).to(dtype=torch.float32)
    try:
        solution = single.solve(method, max_steps=5)
    except (RuntimeError, TypeError) as mixed:
        raise Wrong(f"{type(method).__name__} on {problem} in float32: {mixed}") from mixed
    entries = {"energy": solution.energy, "gradient_norm": solution.gradient_norm, **as_dict(solution.value)}
    for name, tensor in entries.items():
        if tensor is not None and tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise Wrong(f"{type(method).__name__} on {problem} in float32: {name} came as {tensor.dtype}.")


def check_solution_derivative(method: Method, device: torch.device | str = "cpu") -> None:
    """Check a solution's derivative by what is given, on a bowl: ∂y*/∂center = 1 and ∂y*/∂depth = 0.

    Held to it are `differentiate="implicit"` and, for a method whose steps have a derivative, `"unroll"`.

    Raises:
        MinimizerContractError: saying what was expected, what came and in which row.
    """
    for how in ("implicit", "unroll") if method.differentiable else ("implicit",):
        problem = bowl(3, tol=1e-10).to(device=device)
        given = {name: value.clone().requires_grad_() for name, value in problem.given.items()}
        value = as_dict(replace(problem, given=given).solve(method, differentiate=how).value)["value"]
        if not value.requires_grad:
            raise Wrong(
                f"{type(method).__name__} with differentiate={how!r}: the solution carries no derivative; if "
                f"its steps have none, say so with differentiable = False."
            )
        weights = torch.arange(1.0, 1.0 + value.numel(), dtype=value.dtype, device=value.device).view_as(
            value
        )
        slopes = torch.autograd.grad((weights * value).sum(), list(given.values()), materialize_grads=True)
        for name, slope, expected in zip(given, slopes, (weights, 0 * weights), strict=True):
            claim = f"{type(method).__name__} with differentiate={how!r}: ∂y*/∂{name} of a bowl"
            require_equal(Wrong, slope, expected, claim, 1e-6)

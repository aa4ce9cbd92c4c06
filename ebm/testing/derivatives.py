"""The second contract of an energy: its derivatives, by autograd and in closed form, are those of its values.

∇E by autograd = ∇E by finite differences = `value_and_grad`
E(v) = ½ vᵀAv - bᵀv + c                   for (A, b, c) from `quadratic`
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.problem import Problem
from ebm.rows import flat
from ebm.testing.examples import Example, converted, copied, float_variables, seeded
from ebm.testing.verdict import EnergyContractError as Wrong
from ebm.testing.verdict import require_equal

CLOSED = 1e-10  # two formulas for one number, in float64
FAST_ABOVE = 64  # entries of a variable above which gradcheck compares one random direction, not all


def check_derivatives(energy: Energy, example: Example) -> None:
    """Check an energy's derivatives with respect to every floating variable, in float64.

    Held to: gradients by autograd equal finite differences; the gradient that a solver uses, which takes
    closed forms where the energy offers them, equals autograd's, and so does its own derivative along a
    random direction (`unroll` needs it); `quadratic` equals the energy at the example and away from it.

    Args:
        energy: the energy; a copy of it is converted to float64.
        example: a value for each variable, B >= 2 rows, away from kinks.

    Raises:
        EnergyContractError: saying what was expected, what came and in which row.

    Example:
        >>> from ebm import Energy
        >>> class Bowl(Energy):
        ...     closed_form = ("y",)
        ...     def forward(self, y):
        ...         return (y**2).sum(1)
        ...     def value_and_grad(self, name, y):
        ...         return (y**2).sum(1), y  # wrong: the gradient is 2y
        >>> check_derivatives(Bowl(), {"y": torch.tensor([[1.0], [3.0]])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.EnergyContractError: Bowl.value_and_grad('y') equals autograd: row 0 of 2:
        expected 2.0, ...
    """
    energy, example = copied(energy, torch.float64), converted(example, torch.float64)
    for name in float_variables(energy, example):
        others = {n: v for n, v in example.items() if n != name}
        _check_finite_differences(energy, name, example[name], others)
        _check_solver_gradient(energy, name, example[name], others)
        if hasattr(energy, "quadratic"):
            _check_quadratic(energy, name, example[name], others)


def _check_finite_differences(energy: Energy, name: str, v: Tensor, others: dict[str, Any]) -> None:
    if energy.indicator or not len(v):
        return

    def function(u: Tensor) -> Tensor:
        return energy.bind(others, seeded(u), like={name: u})(**{name: u})

    start = v.detach().clone().requires_grad_()
    if not function(start).requires_grad:
        return  # the energy does not depend on this variable
    try:
        torch.autograd.gradcheck(
            function, start, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=v.numel() > FAST_ABOVE
        )
    except (RuntimeError, AssertionError) as problem:
        raise Wrong(
            f"the gradient of {energy.label} with respect to {name!r} by autograd equals finite differences: "
            f"{problem}"
        ) from problem


def _check_solver_gradient(energy: Energy, name: str, v: Tensor, others: dict[str, Any]) -> None:
    if energy.indicator:
        return
    who = f"{energy.label}.value_and_grad({name!r})"
    bound = energy.bind(others, seeded(v), like={name: v})
    problem = Problem(bound, {name: v.shape[1:]}, batch=len(v))
    value, gradient = problem.value_and_grad(v)
    u = v.detach().clone().requires_grad_()
    expected_value = bound(**{name: u})
    if not expected_value.requires_grad:
        expected = torch.zeros_like(v)
    else:
        (expected,) = torch.autograd.grad(expected_value.sum(), u, create_graph=True)
    require_equal(
        Wrong, value.detach(), expected_value.detach(), f"the value of {who} equals the energy", CLOSED
    )
    require_equal(Wrong, gradient.detach(), expected.detach(), f"{who} equals autograd", CLOSED)
    if not expected.requires_grad:
        return
    w = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=seeded(v, 1))
    try:
        (curved,) = torch.autograd.grad(expected, u, w, materialize_grads=True)
    except RuntimeError:
        return  # it refuses a second derivative aloud, as a free energy does whose minimizer is detached
    t = v.detach().clone().requires_grad_()
    _, slope = problem.with_graph().value_and_grad(t)
    if not slope.requires_grad:
        require_equal(
            Wrong,
            torch.zeros_like(v),
            curved,
            f"{who} keeps the graph, so that it can be differentiated",
            CLOSED,
        )
        return
    (came,) = torch.autograd.grad(slope, t, w, materialize_grads=True)
    require_equal(
        Wrong, came, curved, f"the derivative of {who} equals autograd's second derivative", 1e3 * CLOSED
    )


def _check_quadratic(energy: Energy, name: str, v: Tensor, others: dict[str, Any]) -> None:
    parts = energy.quadratic(name, **others)  # type: ignore[operator]
    if parts is None:
        return
    matrix, linear, constant = parts
    batch, dimensions = flat(v).shape
    if matrix.ndim == 0:  # a multiple of the identity
        matrix = matrix * torch.eye(dimensions, dtype=v.dtype, device=v.device)
    claim = f"{energy.label}.quadratic({name!r})"
    if matrix.shape not in ((dimensions, dimensions), (batch, dimensions, dimensions)):
        raise Wrong(
            f"{claim} gives A of shape {(dimensions, dimensions)} or {(batch, dimensions, dimensions)}; came "
            f"{tuple(matrix.shape)}."
        )
    if not torch.allclose(matrix, matrix.mT, rtol=CLOSED, atol=CLOSED):
        raise Wrong(
            f"{claim} gives a symmetric A; came one with |A - Aᵀ| of {(matrix - matrix.mT).abs().max():.1e}."
        )
    noise = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=seeded(v, 2))
    for u in (v, v + noise, torch.zeros_like(v)):
        w = flat(u)
        product = torch.matmul(w.unsqueeze(1), matrix).squeeze(1)
        came = 0.5 * (product * w).sum(1) - (linear * w).sum(1) + constant
        expected = energy(**others, **{name: u}).detach()
        require_equal(
            Wrong, came.detach(), expected, f"½ vᵀAv - bᵀv + c of {claim} equals the energy", CLOSED
        )

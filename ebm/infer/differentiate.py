"""Derivatives of a minimum: the implicit correction, and the guard against a silently missing term.

At a minimum u*(θ) of E(u, θ) the residual r(u, θ) vanishes: r = ∇_u E, or, with proxes of step 1,
r = u - prox(u - ∇_u E_smooth). One Newton step whose Jacobian J is held fixed and whose residual is not,

    û(θ) = u* - J⁻¹ (r(u*, θ) - r(u*, θ)|held),        J = ∂r/∂u at u*,

has the value u* and the derivative du*/dθ = -J⁻¹ ∂r/∂θ of the implicit function theorem. Since û is off by
second order in dθ and E is flat at u*, E(û(θ), θ) is off by fourth order: the free energy F(θ) = min_u E has
the right value, gradient, Hessian and third derivative. With proxes, J by itself restricts the system to the
coordinates whose prox has a non-zero derivative.

Reference: Griewank & Walther (2008), "Evaluating Derivatives", sect. 15; Bertrand et al. (2020), "Implicit
differentiation of Lasso-type models".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ebm.problem import Problem
from ebm.rows import dot, expand, flat, norm

DENSE_LIMIT = 128  # dimensions up to which J is formed and factorized; above, conjugate gradients


def newton_correction(problem: Problem, u: Tensor) -> Tensor:
    """û: the value of u (a minimizer), carrying its derivative with respect to everything that was given.

    Args:
        problem: attached to the graph of what was given.
        u: (B, *shape), a minimizer.

    Raises:
        RuntimeError: if J is singular in a row: there the minimizer is not a function of what is given.
    """
    if not torch.is_grad_enabled():
        return u
    v = u.detach().clone().requires_grad_()
    residual = _residual(problem.with_graph(), v)
    if not residual.requires_grad:
        raise RuntimeError(
            "the energy does not depend on its free variables, so its minimizer has no derivative."
        )
    jacobian = _Jacobian(residual, v)
    change = residual - residual.detach()  # zero, with the graph of the residual
    if flat(u).shape[1] <= DENSE_LIMIT:
        dense = jacobian.dense()
        step, singular = torch.linalg.solve_ex(dense, flat(change))
        _refuse_singular(singular > 0)
        return u.detach() - step.view_as(u)
    return u.detach() - _Solve.apply(change, jacobian, not problem.prox_terms, False)


def _residual(problem: Problem, v: Tensor) -> Tensor:
    _, gradient = problem.value_and_grad(v, smooth=True)
    if not problem.prox_terms:
        return gradient
    return v - problem.prox(v - gradient, v.new_ones(len(v)))


def _refuse_singular(rows: Tensor) -> None:
    if bool(rows.any()):
        shown = rows.nonzero().flatten().tolist()[:5]
        raise RuntimeError(
            f"the Hessian of the energy is singular at the minimizer of rows {shown}: a flat direction, or "
            f"not a minimum, so the minimizer has no derivative there. Add a small L2 term, solve to a "
            "smaller tol, or use 'unroll'."
        )


class _Jacobian:
    """J = ∂r/∂v of each row as an operator, detached."""

    def __init__(self, residual: Tensor, v: Tensor):
        self.residual, self.v = residual, v

    def transposed(self, w: Tensor) -> Tensor:
        """Jᵀ w, (B, *shape)."""
        residual, v = self.residual, self.v
        (image,) = torch.autograd.grad(residual, v, w, retain_graph=True, materialize_grads=True)
        return image.detach()

    def forward(self, w: Tensor) -> Tensor:
        """J w, by differentiating the linear map y ↦ Jᵀ y, (B, *shape)."""
        with torch.enable_grad():
            residual, v = self.residual, self.v
            y = torch.zeros_like(residual, requires_grad=True)
            (image,) = torch.autograd.grad(residual, v, y, create_graph=True, materialize_grads=True)
            return torch.autograd.grad(image, y, w, materialize_grads=True)[0].detach()

    def dense(self) -> Tensor:
        """The matrices, (B, D, D)."""
        batch, dimensions = flat(self.v).shape
        rows = []
        for i in range(dimensions):
            unit = self.v.new_zeros(batch, dimensions)
            unit[:, i] = 1.0
            rows.append(flat(self.transposed(unit.view_as(self.v))))
        return torch.stack(rows, 1)


class _Solve(Function):
    """x = J⁻¹ b (or J⁻ᵀ b) by conjugate gradients, linear in b and so differentiable to any order."""

    @staticmethod
    def forward(ctx: Any, b: Tensor, jacobian: _Jacobian, symmetric: bool, transpose: bool) -> Tensor:
        ctx.jacobian, ctx.symmetric, ctx.transpose = jacobian, symmetric, transpose
        if not bool(b.any()):
            return torch.zeros_like(b)  # the correction itself: only its derivative matters
        apply, back = (jacobian.forward, jacobian.transposed)[:: -1 if transpose else 1]
        if symmetric:
            return _conjugate_gradients(jacobian.transposed, b)
        return _conjugate_gradients(lambda w: back(apply(w)), back(b))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Solve.apply(grads[0], ctx.jacobian, ctx.symmetric, not ctx.transpose), None, None, None


def _conjugate_gradients(operator: Any, b: Tensor) -> Tensor:
    """Solve A x = b for each row, A positive definite, to the precision of the dtype."""
    x, r = torch.zeros_like(b), b
    p, rr = r, dot(r, r)
    tiny = torch.finfo(b.dtype).tiny
    goal = (10 * torch.finfo(b.dtype).eps * norm(b)) ** 2
    for _ in range(4 * flat(b).shape[1]):
        if bool((rr <= goal).all()):
            return x
        image = operator(p)
        length = torch.where(rr > goal, rr / dot(p, image).clamp(min=tiny), 0.0)
        x, r = x + expand(length, p) * p, r - expand(length, p) * image
        new = dot(r, r)
        p, rr = r + expand(new / rr.clamp(min=tiny), p) * p, new
    _refuse_singular(rr > torch.finfo(b.dtype).eps * dot(b, b))
    return x


class _Envelope(Function):
    """z*, held: no first derivative by the sources, and an error where a second one would lack a term."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, *sources: Tensor) -> Tensor:
        ctx.like = [(s.shape, s.dtype, s.device) for s in sources]
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            # a plain first derivative: ∂E/∂z = 0 at z*, so nothing flows (envelope theorem)
            return (None,) * (1 + len(ctx.like))
        link = _NoSecondDerivative.apply(grads[0])
        return None, *(link.to(dtype=d, device=p).expand(s) for s, d, p in ctx.like)


class _NoSecondDerivative(Function):
    """A zero in the graph of a first derivative, which raises when that is differentiated again."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor) -> Tensor:
        return slope.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raise RuntimeError(
            "this is a second derivative of a free energy F = min_z E whose z* is detached; it would "
            "silently lack the term -E_yz E_zz⁻¹ E_zy. Use min_over(..., differentiate='implicit') (or "
            "'unroll')."
        )


def hold_minimum(z: Tensor, sources: list[Tensor]) -> Tensor:
    """z*, detached: first derivatives are right, and a second one raises an error that names the cure.

    Args:
        z: the minimizer.
        sources: all tensors that require a gradient and on which the minimizer depends.
    """
    return _Envelope.apply(z.detach(), *sources) if sources and torch.is_grad_enabled() else z.detach()

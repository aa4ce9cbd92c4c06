"""The smooth part of a problem as a quadratic form, where it is one.

    f(u) = ½ uᵀAu - bᵀu + c        A (D, D), the same for all rows, or (B, D, D); b (B, D); c (B,)

Terms that offer `quadratic` are asked for it. Of the others A is found column by column, A e_j = ∇f(e_j) -
∇f(0), and the form is held to f at a point that no column has seen: what isn't quadratic is an error.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebm.binder import Term
from ebm.problem import Problem
from ebm.rows import dot, flat
from ebm.split import quadratic_form_of


class Quadratic(NamedTuple):
    """½ uᵀAu - bᵀu + c of the flattened rows u: `matrix` A, `linear` b and `constant` c."""

    matrix: Tensor
    linear: Tensor
    constant: Tensor


def quadratic_form(problem: Problem, u: Tensor) -> Quadratic:
    """The terms without a prox as a quadratic form in u, (B, *shape).

    Raises:
        TypeError: if they aren't quadratic in u, naming methods for other energies.
    """
    rows, size = flat(u).shape
    total: Quadratic | None = None
    rest = []
    for term in problem.smooth_terms:
        name = quadratic_form_of(term) if len(problem.shapes) == 1 else None
        held = {} if name is None else problem.bound.arguments(term, problem.unpack(u), {})
        form = (
            None
            if name is None
            else term.leaf.quadratic(name, **{n: v for n, v in held.items() if n != name})
        )
        if form is None:
            rest.append(term)
        else:
            total = _sum(total, *(form if _is_one(term.weight) else (term.weight * part for part in form)))
    if rest or total is None:
        total = _sum(total, *_found(problem, u, tuple(rest)))
    matrix, linear, constant = total
    if matrix.ndim == 0:
        matrix = matrix * torch.eye(size, dtype=u.dtype, device=u.device)
    return Quadratic(matrix.to(u), linear.to(u).expand(rows, size), constant.to(u).expand(rows))


def _is_one(weight: float | Tensor) -> bool:
    return isinstance(weight, float) and weight == 1.0


def _sum(total: Quadratic | None, matrix: Tensor, linear: Tensor, constant: Tensor) -> Quadratic:
    if total is None:
        return Quadratic(matrix, linear, constant)
    both = [matrix, total.matrix]
    whole = next((m for m in both if m.ndim), None)
    if whole is not None:  # a number beside a matrix is a multiple of the identity
        eye = torch.eye(whole.shape[-1], dtype=whole.dtype, device=whole.device)
        both = [m if m.ndim else m * eye for m in both]
    return Quadratic(both[0] + both[1], linear + total.linear, constant + total.constant)


def _found(problem: Problem, u: Tensor, terms: tuple[Term, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """A, b and c from D + 1 gradients, held to the energy at one more point."""

    def look(v: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            v = v.detach().view_as(u).requires_grad_()
            value = problem.bound.evaluate(problem.unpack(v), terms)
            if not value.requires_grad:
                return value, torch.zeros_like(flat(u))
            (slope,) = torch.autograd.grad(value, v, torch.ones_like(value), materialize_grads=True)
        return value.detach(), flat(slope)

    zero = torch.zeros_like(flat(u))
    size = zero.shape[1]
    constant, slope = look(zero)
    columns = []
    for j in range(size):
        unit = zero.clone()
        unit[:, j] = 1.0
        columns.append(look(unit)[1] - slope)
    matrix, linear = torch.stack(columns, 1), -slope
    probe = torch.cos(torch.arange(1, size + 1, dtype=u.dtype, device=u.device)).expand_as(zero)
    for point in (probe, -2 * probe):
        product = torch.bmm(matrix, point.unsqueeze(2)).squeeze(2)
        form = 0.5 * dot(product, point) - dot(linear, point) + constant
        value = look(point)[0]
        slack = torch.finfo(u.dtype).eps ** 0.5 * (1 + value.abs() + product.abs().sum(1))
        if bool(((form - value).abs() > slack).any()):
            names = ", ".join(dict.fromkeys(term.label for term in terms))
            raise TypeError(
                f"this method needs an energy that is quadratic in {', '.join(problem.shapes)}, apart from "
                f"terms with a prox; {names} isn't. Use SpaRSA, FISTA or (without such terms) LBFGS."
            )
    return matrix, linear, constant

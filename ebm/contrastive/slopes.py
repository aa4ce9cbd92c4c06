"""Slopes of an energy at the data, in a form that can itself be differentiated by the parameters.

    ∇E(y),        vᵀ∇²E v = ⟨v, ∇⟨∇E, v⟩⟩,        ΔE = tr ∇²E = Σ_i e_iᵀ∇²E e_i

Each product with the Hessian is one more pass backward over the graph of the gradient; that graph is built
once, however many products are taken. Terms of an energy that offer a closed-form gradient save a pass, and
the curvature of those that offer their quadratic form is read off.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.binder import Term
from ebm.contrastive.points import Points, in_full
from ebm.derivative import product_with, recording
from ebm.infer.slope import slope_in
from ebm.rows import dot, flat
from ebm.split import quadratic_form_of


class Slopes:
    """E and ∇E at points u, (B, *shape), with a graph.

    Args:
        points: the energy with its data.
        u: where; its own history is cut.

    Attributes:
        u: the points, which want a gradient.
        value: E(u), (B,).
        gradient: ∇E(u), like u.
    """

    def __init__(self, points: Points, u: Tensor):
        self.u = u.detach().requires_grad_()
        self.bound, self.free = points.bound, {points.variable: self.u}
        with recording():
            value, self.gradient = slope_in(self.bound, points.variable, self.free, create_graph=True)
        self.value = in_full(value)

    def product(self, v: Tensor) -> Tensor:
        """∇²E(u)v, like u, with one direction v a row."""
        return _product(self.gradient, self.u, v)

    def along(self, v: Tensor) -> Tensor:
        """vᵀ∇²E(u)v, (B,), along one direction a row, like u."""
        return dot(v, self.product(v))

    def laplacian(self) -> Tensor:
        """ΔE(u), (B,): D passes backward over one graph; none for terms that know their quadratic form."""
        known = [t for t in self.bound.summands if quadratic_form_of(t)]
        if not known:
            return _trace(self.gradient, self.u)
        rest = tuple(t for t in self.bound.summands if not quadratic_form_of(t))
        total = sum((self._known(term) for term in known), torch.zeros_like(self.value))
        return total + self._trace_of(rest) if rest else total

    def _known(self, term: Term) -> Tensor:
        """The trace of the quadratic form of a term, (B,)."""
        arguments = self.bound.arguments(term, self.free, {})
        name = quadratic_form_of(term)
        matrix = term.leaf.quadratic(name, **{n: v for n, v in arguments.items() if n != name})[0]
        if matrix.ndim == 0:  # a multiple of the identity
            trace = matrix * flat(self.u).shape[1]
        else:
            trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (term.weight * trace).expand(len(self.u))

    def _trace_of(self, terms: tuple[Term, ...]) -> Tensor:
        """The Laplacian of some of the terms, (B,)."""
        with recording():
            value = self.bound.evaluate(self.free, terms)
            if not value.requires_grad:
                return torch.zeros_like(self.value)
            gradient = product_with(value, self.u, torch.ones_like(value), create_graph=True)
        return _trace(gradient, self.u)


def _trace(gradient: Tensor, u: Tensor) -> Tensor:
    size = flat(u).shape[1]
    total: Tensor | None = None
    for i in range(size):
        unit = torch.zeros_like(u, memory_format=torch.contiguous_format)  # not expanded: slower
        flat(unit)[:, i] = 1.0
        second = flat(_product(gradient, u, unit))[:, i]
        total = second if total is None else total + second
    return u.new_zeros(len(u)) if total is None else total


def _product(gradient: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """∇²E v, like u; zero where the gradient does not depend on u."""
    if not gradient.requires_grad:
        return torch.zeros_like(u)
    with recording():
        return product_with(gradient, u, v, create_graph=True)

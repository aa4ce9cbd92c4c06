"""Derivatives of an energy with respect to u, (B, *shape) -> (B,), for all rows at once.

∇_u Σ_i E_i(u_i) = (∇E_1(u_1), ..., ∇E_B(u_B))        since E_i depends on row i alone
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ebm.signature import check_output

Function = Callable[[Tensor], Tensor]


def traced_gradient(energy: Function, u: Tensor) -> tuple[Tensor, Tensor]:
    """E(u) and ∇E(u) in the form that torch.compile takes into one graph, as `torch.autograd.grad` is not."""

    def total(v: Tensor) -> tuple[Tensor, Tensor]:
        value = energy(v)
        check_output(value, len(u), "the energy")
        return value.sum(), value

    gradient, value = torch.func.grad(total, has_aux=True)(u)
    return value, gradient


def hessian_product(energy: Function, u: Tensor) -> tuple[Tensor, Tensor, Function]:
    """E(u), ∇E(u) and the function v -> (∇²E(u)) v, each like u."""
    with torch.enable_grad():
        w = u.detach().requires_grad_()
        value = energy(w)
        if not value.requires_grad:
            return value, torch.zeros_like(u), torch.zeros_like
        (gradient,) = torch.autograd.grad(
            value, w, torch.ones_like(value), create_graph=True, materialize_grads=True
        )

    def product(v: Tensor) -> Tensor:
        if not gradient.requires_grad:
            return torch.zeros_like(v)
        return torch.autograd.grad(gradient, w, v, retain_graph=True, materialize_grads=True)[0]

    return value.detach(), gradient.detach(), product

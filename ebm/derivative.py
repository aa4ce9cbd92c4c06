"""Derivatives of an energy with respect to u, (B, *shape) -> (B,), for all rows at once.

∇_u Σ_i E_i(u_i) = (∇E_1(u_1), ..., ∇E_B(u_B))        since E_i depends on row i alone
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ebm.signature import check_output

Function = Callable[[Tensor], Tensor]
_ENGINE = torch.autograd.Variable._execution_engine
_AS_IT_IS = nullcontext()


def recording() -> AbstractContextManager[None]:
    """`torch.enable_grad()`, where it is not enabled: once more would cost a cheap energy a few per cent."""
    return _AS_IT_IS if torch.is_grad_enabled() else torch.enable_grad()


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
    with recording():
        w = u.detach().requires_grad_()
        value = energy(w)
        if not value.requires_grad:
            return value, torch.zeros_like(u), torch.zeros_like
        gradient = product_with(value, w, torch.ones_like(value), create_graph=True)

    def product(v: Tensor) -> Tensor:
        return product_with(gradient, w, v, keep=True) if gradient.requires_grad else torch.zeros_like(v)

    return value.detach(), gradient.detach(), product


def product_with(
    value: Tensor, u: Tensor, v: Tensor, create_graph: bool = False, keep: bool | None = None
) -> Tensor:
    """vᵀ ∂value/∂u, like u; zeros where the value does not depend on u.

    This is the call in the midst of `torch.autograd.grad`: the Python around it takes about as long as the
    gradient of a small energy itself.

    Args:
        value: a tensor with a graph.
        u: what to differentiate by.
        v: like the value; ones, for energies (B,) of rows u.
        create_graph: whether the result can be differentiated.
        keep: whether the graph of the value is to be used again; if None, as `create_graph` says.
    """
    keep_graph = create_graph if keep is None else keep
    found: Tensor | None = _ENGINE.run_backward(
        (value,), (v,), keep_graph, create_graph, (u,), allow_unreachable=True, accumulate_grad=False
    )[0]
    return torch.zeros_like(u) if found is None else found

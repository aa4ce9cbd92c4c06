"""Gradients in closed form that have no derivative of their own, and say so when one is asked for.

    g = ∂L/∂z,    ∂g/∂z: an error

torch's `once_differentiable` promises the same, but raises only where the gradient that comes in needs a
derivative. After `g = torch.autograd.grad(loss, z, create_graph=True)` it doesn't: g is a constant then, and
`(f(z) + g.square().sum()).backward()` leaves out the second term without a word.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

Gradients = Tensor | tuple[Tensor | None, ...]


def first_order(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Decorate the `backward` of a `torch.autograd.Function` that saves its inputs: below `@staticmethod`.

    Raises:
        RuntimeError: when a gradient that it returned is differentiated.

    Example:
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, z):
        ...         ctx.save_for_backward(z)
        ...         return z**2
        ...     @staticmethod
        ...     @first_order
        ...     def backward(ctx, of_output):
        ...         return 2 * ctx.saved_tensors[0] * of_output
        >>> z = torch.tensor(3.0, requires_grad=True)
        >>> (g,) = torch.autograd.grad(Square.apply(z), z, create_graph=True)
        >>> g.detach()
        tensor(6.)
        >>> g.backward()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        RuntimeError: Square has no second derivatives: ...
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *incoming: Tensor) -> Gradients:
        with torch.no_grad():
            gradients = backward(ctx, *incoming)
        if not torch.is_grad_enabled():
            return gradients
        sources = [t for t in (*ctx.saved_tensors, *incoming) if t.requires_grad]
        name = type(ctx).__name__.removesuffix("Backward").lstrip("_")
        if isinstance(gradients, Tensor):
            return _refuse(name, gradients, sources)
        return tuple(g if g is None else _refuse(name, g, sources) for g in gradients)

    return checked


def _refuse(name: str, gradient: Tensor, sources: list[Tensor]) -> Tensor:
    refused: Tensor = _Refusal.apply(name, gradient, *sources)
    return refused


class _Refusal(torch.autograd.Function):
    """The gradient itself, which depends on its sources in a way that isn't known."""

    @staticmethod
    def forward(ctx: Any, name: str, gradient: Tensor, *sources: Tensor) -> Tensor:
        ctx.name = name
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> NoReturn:
        raise RuntimeError(
            f"{ctx.name} has no second derivatives: its gradient is a closed form that can't be "
            f"differentiated again. Take gradients without create_graph=True, or detach() them."
        )

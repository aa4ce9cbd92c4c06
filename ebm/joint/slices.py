"""Random directions, and the average over them of a statistic of the projected codes.

    S = (1/VM) Σ_v Σ_m T(Z^v a_m),        |a_m| = 1,        T : (N,) ↦ ℝ

A distribution is N(0, I) if all its projections on lines are N(0, 1) (Cramér & Wold 1936), so a test of
numbers becomes one of vectors. Codes are projected on a block of directions at a time, and the gradient of
the block is taken and added to that of the codes before the next: the memory is that of one block, whatever M
is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ebm.first_order import first_order
from ebm.processes import share

BLOCK = 2**17  # projections worked on at a time on the CPU: they stay in the cache
LARGE_BLOCK = 2**22  # elsewhere


def directions(number: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Directions drawn uniformly from the sphere, the same in all processes (those that process 0 draws).

    They are drawn in float32 on the generator's device whatever the dtype of the codes, so codes in float64
    meet the same directions as codes in float32.

    Args:
        number: M, at least 1.
        like: codes (N, D), for D, dtype and device.
        generator: source of the directions; the global one if None.

    Returns:
        (D, M), columns of length 1.

    Example:
        >>> directions(5, torch.zeros(2, 3)).shape
        torch.Size([3, 5])
    """
    device = like.device if generator is None else generator.device
    drawn = torch.randn(like.shape[1], number, generator=generator, device=device)
    drawn = drawn.to(like)
    share([drawn])
    return drawn / torch.linalg.vector_norm(drawn, dim=0)


def sliced(statistic: Callable[[Tensor], Tensor], views: list[Tensor], slices: Tensor) -> Tensor:
    """The mean of a statistic of numbers over projections of codes, and over views.

    Args:
        statistic: differentiable function of samples (N, M), giving (M,), without parameters to learn.
        views: codes (N, D) each.
        slices: directions (D, M), without a gradient.

    Returns:
        0-dimensional; differentiable once, by the codes.

    Example:
        >>> sliced(lambda x: x.square().mean(0), [torch.eye(2)], torch.tensor([[0.6], [0.8]]))
        tensor(0.5000)
    """
    mean: Tensor = _Sliced.apply(statistic, slices, *views)
    return mean


class _Sliced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, statistic: Callable[[Tensor], Tensor], slices: Tensor, *views: Tensor) -> Tensor:
        block = BLOCK if slices.device.type == "cpu" else LARGE_BLOCK
        scale = 1 / (slices.shape[1] * len(views))
        mean, gradients = slices.new_zeros(()), []
        for z, wanted in zip(views, ctx.needs_input_grad[2:], strict=True):
            gradient = torch.zeros_like(z) if wanted else None
            for some in slices.split(max(1, block // len(z)), dim=1):
                x = (z @ some).requires_grad_(wanted)
                with torch.set_grad_enabled(wanted):
                    part = scale * statistic(x).sum()
                mean += part.detach()
                if gradient is not None:
                    gradient.addmm_(torch.autograd.grad(part, x)[0], some.T)
            gradients.append(gradient)
        ctx.wanted = [gradient is not None for gradient in gradients]
        ctx.save_for_backward(*views, *(gradient for gradient in gradients if gradient is not None))
        return mean

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept = iter(ctx.saved_tensors[len(ctx.wanted) :])
        return None, None, *(gradient * next(kept) if wanted else None for wanted in ctx.wanted)

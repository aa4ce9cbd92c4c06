"""The distance of an empirical characteristic function from that of N(0, 1), by powers of exp(idx).

    T = Σ_k w_k |φ(t_k) - e^(-t_k²/2)|²,    φ(t) = ⟨exp(i t x_n)⟩_n,    t_k = t_1 + (k-1) d
    ∂T/∂x_n = (2/N) Re Σ_k w_k t_k [Im φ(t_k) + i (Re φ(t_k) - e^(-t_k²/2))] exp(i t_k x_n)

The knots t_k are equally spaced, so exp(i t_k x) follows from the one before by a product with exp(i d x),
the angle-addition theorem: two sines and cosines for each number instead of 2K; and the gradient is a
polynomial in exp(i d x), evaluated by Horner's rule. It is found in the forward pass, and nothing but
it and x is kept for the backward pass. Rounding errors grow with k, to about 1e-6 of φ in float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ebm.first_order import first_order


def characteristic_distance(x: Tensor, first: float, step: float, knots: int) -> Tensor:
    """∫ |φ(t) - e^(-t²/2)|² e^(-t²/2) dt by the trapezoidal rule, over -t_max to t_max.

    Args:
        x: M samples of N numbers each, (N, M), in float32 or float64.
        first: t_1 > 0, the least positive knot: the step, or half of it where no knot is at 0.
        step: d > 0, between knots.
        knots: how many positive knots, at least 1; t_max is the last one. Those at -t are understood, and at
            t = 0 the integrand is 0.

    Returns:
        (M,); differentiable once.

    Example:
        >>> characteristic_distance(torch.zeros(4, 1), 0.1, 0.1, 100)  # √(2π) - 2√π + √(2π/3)
        tensor([0.4089])
    """
    distance: Tensor = _Characteristic.apply(x, first, step, knots)
    return distance


class _Characteristic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: float, step: float, knots: int) -> Tensor:
        times = [first + k * step for k in range(knots)]
        target = [math.exp(-t * t / 2) for t in times]
        t, normal = (torch.tensor(each, dtype=x.dtype, device=x.device)[:, None] for each in (times, target))
        weight = 2 * step * normal  # of t and -t together
        weight[-1] /= 2
        turn = _circle(step * x)  # exp(i d x), (N, M)
        power = turn.clone() if first == step else _circle(first * x)
        means = turn.new_empty(knots, x.shape[1])
        for k in range(knots):
            if k:
                power *= turn
            torch.mean(power, 0, out=means[k])
        real, imaginary = means.real - normal, means.imag
        if ctx.needs_input_grad[0]:
            factors = torch.complex(imaginary, real) * (weight * t * (2 / len(x)))
            value = factors[-1].repeat(len(x), 1)
            for k in range(knots - 2, -1, -1):
                value.mul_(turn).add_(factors[k])
            value *= turn if first == step else _circle(first * x)
            ctx.save_for_backward(x, value.real.contiguous())
        return (weight * (real.square() + imaginary.square())).sum(0)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        _, slope = ctx.saved_tensors
        return slope * gradient, None, None, None


def _circle(angle: Tensor) -> Tensor:
    return torch.complex(angle.cos(), angle.sin())

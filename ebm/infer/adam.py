"""Adam: gradient descent whose step in each coordinate is set by the gradients' recent size there.

    m ← β₁ m + (1 - β₁) g,        v ← β₂ v + (1 - β₂) g²,        g = ∇E(u)
    u ← u - t m̂ / (√v̂ + ε),      m̂ = m / (1 - β₁ᵏ),  v̂ = v / (1 - β₂ᵏ)  after k steps

m̂ / √v̂ is about 1 in size whatever the scale of E, so t is the distance that a coordinate moves a step. With
a fixed t the path ends in circling the minimum at about that distance: for a sharp answer use `LBFGS`.

Reference: Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.gradient import scaled
from ebm.infer.method import Method, State, fraction, positive, with_gradient
from ebm.problem import Problem
from ebm.rows import expand


class Adam(Method):
    """Adam with moments, bias correction and step size for every row, u ← u - t m̂ / (√v̂ + ε).

    Args:
        step_size: t > 0, in units of u, one number or one per row (B,).
        betas: (β₁, β₂), each in [0, 1): how much of the mean gradient and the mean square is kept a step.
        eps: ε > 0, in units of the gradient; smaller gradients move a coordinate by less than t.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> from ebm import energy, minimize
        >>> @energy
        ... def bowl(y):
        ...     return (torch.tensor([1.0, 1e6]) * (y - 1) ** 2).sum(1)
        >>> minimize(bowl, torch.zeros(1, 2), Adam(0.05), max_steps=2000, tol=1e-2).value.round(decimals=2)
        tensor([[1., 1.]])
    """

    def __init__(
        self, step_size: float | Tensor = 0.01, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ):
        self.step_size, self.eps = positive("step_size", step_size), float(positive("eps", eps))
        self.betas = fraction("betas[0]", betas[0]), fraction("betas[1]", betas[1])

    def init(self, problem: Problem, u: Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        zero = torch.zeros_like(gradient)
        return with_gradient(u, value, gradient, mean=zero, square=zero, age=torch.zeros_like(value))

    def step(self, problem: Problem, state: State) -> State:
        gradient, age = state["gradient"], state["age"] + 1
        first, second = self.betas
        mean = torch.lerp(state["mean"], gradient, 1 - first)
        square = torch.addcmul(second * state["square"], gradient, gradient, value=1 - second)
        correction = expand(1 - second**age, square)
        tiny = torch.finfo(square.dtype).tiny  # √ has no derivative at 0, which unrolling would meet
        size = (square / correction).clamp(min=tiny).sqrt() + self.eps
        move = mean / (expand(1 - first**age, mean) * size)
        u = state["u"] - scaled(problem.per_row(self.step_size), move)
        return with_gradient(u, *problem.value_and_grad(u), mean=mean, square=square, age=age)

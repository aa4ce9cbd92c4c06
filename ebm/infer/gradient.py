"""Gradient descent: a fixed or searched step, with or without momentum.

    u_{k+1} = u_k - t ∇E(u_k)                                       t fixed, or the largest that Armijo allows
    m_{k+1} = μ m_k - t ∇E(u_k),        u_{k+1} = u_k + m_{k+1}     momentum (Polyak 1964)
    v_k = u_k + c_k (u_k - u_{k-1}),    u_{k+1} = v_k - t ∇E(v_k)   Nesterov (1983), c_k = (k - 1)/(k + 2)

Nesterov's momentum is set back to zero for a row whose step points uphill, ⟨∇E(v_k), u_{k+1} - u_k⟩ > 0
(O'Donoghue & Candès 2015, "Adaptive Restart for Accelerated Gradient Schemes", sect. 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, fraction, positive, stop_where, with_gradient
from ebm.problem import Problem
from ebm.rows import dot, expand
from ebm.solution import Stop


def scaled(step: float | Tensor, direction: Tensor) -> Tensor:
    """step · direction for one step size, or one per row."""
    return expand(step, direction) * direction if isinstance(step, Tensor) and step.ndim else step * direction


class GradientDescent(Method):
    """Steepest descent with a fixed step, u ← u - t ∇E(u).

    Args:
        step_size: t > 0, one number or one per row (B,). Converges for t < 2 / L, L the largest curvature.
    """

    def __init__(self, step_size: float | Tensor):
        self.step_size = positive("step_size", step_size)

    def init(self, problem: Problem, u: Tensor) -> State:
        return with_gradient(u, *problem.value_and_grad(u))

    def step(self, problem: Problem, state: State) -> State:
        u = state["u"] - scaled(problem.per_row(self.step_size), state["gradient"])
        return with_gradient(u, *problem.value_and_grad(u))


class Armijo(Method):
    """Steepest descent with backtracking: the first t of s, s/2, s/4, ... with E(u - t g) <= E(u) - c t |g|².

    Each row has its own t, which starts the next search at twice its last value. Close to the minimum, where
    the difference of two energies is lost in rounding, the slopes at both ends decide in its place,
    -⟨∇E(u - t g), g⟩ <= ½|g|² (Armijo 1966; the idea of Hager & Zhang 2005, sect. 4).

    Args:
        step_size: the first trial step of the first search, > 0, one number or one per row (B,).
        decrease: c in (0, ½), the share of the promised decrease that is asked for; steps near the limit of
            stability, which zigzag, pass a small one (Boyd & Vandenberghe 2004, sect. 9.2, use 0.01 to 0.3).
        halvings: how often a step is halved at most; a row that finds none has stalled.
    """

    monotone = True

    def __init__(self, step_size: float | Tensor = 1.0, decrease: float = 0.25, halvings: int = 40):
        self.step_size, self.decrease = positive("step_size", step_size), fraction("decrease", decrease)
        self.halvings = count("halvings", halvings)

    def init(self, problem: Problem, u: Tensor) -> State:
        first = torch.as_tensor(problem.per_row(self.step_size), dtype=u.dtype, device=u.device)
        going = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        return with_gradient(u, *problem.value_and_grad(u), step=first.expand(len(u)).clone(), stalled=going)

    def step(self, problem: Problem, state: State) -> State:
        u, value, gradient, step = state["u"], state["value"], state["gradient"], state["step"]
        squared = dot(gradient, gradient)
        rounding = 8 * torch.finfo(u.dtype).eps * value.abs()
        for _ in range(self.halvings):
            trial = u - expand(step, u) * gradient
            new, slope = problem.value_and_grad(trial)
            decreased = new <= value - self.decrease * step * squared
            accepted = torch.where(
                (new - value).abs() <= rounding, -dot(slope, gradient) <= 0.5 * squared, decreased
            )
            if bool(accepted.all()):
                break
            step = torch.where(accepted, step, 0.5 * step)
        keep = expand(accepted, u)
        point, slope = torch.where(keep, trial, u), torch.where(keep, slope, gradient)
        return with_gradient(
            point, torch.where(accepted, new, value), slope, step=2 * step, stalled=~accepted
        )

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = super().verdict(state, tol)
        return torch.where(state["stalled"] & (codes == 0), stop_where(state["stalled"], Stop.STALLED), codes)


class Momentum(Method):
    """Heavy-ball descent, m ← μ m - t ∇E(u), u ← u + m.

    Args:
        step_size: t > 0, one number or one per row (B,).
        momentum: μ in [0, 1).
    """

    def __init__(self, step_size: float | Tensor, momentum: float = 0.9):
        self.step_size, self.momentum = positive("step_size", step_size), fraction("momentum", momentum)

    def init(self, problem: Problem, u: Tensor) -> State:
        return with_gradient(u, *problem.value_and_grad(u), velocity=torch.zeros_like(u))

    def step(self, problem: Problem, state: State) -> State:
        velocity = self.momentum * state["velocity"] - scaled(
            problem.per_row(self.step_size), state["gradient"]
        )
        u = state["u"] + velocity
        return with_gradient(u, *problem.value_and_grad(u), velocity=velocity)


class Nesterov(Method):
    """Accelerated gradient descent with a restart per row.

    The gradient is taken at the extrapolated point v, which is the state's `u`: it is also where E is known.

    Args:
        step_size: t in (0, 1 / L], one number or one per row (B,).
        restart: set a row's momentum to zero where its step points uphill.
    """

    def __init__(self, step_size: float | Tensor, restart: bool = True):
        self.step_size, self.restart = positive("step_size", step_size), restart

    def init(self, problem: Problem, u: Tensor) -> State:
        age = torch.zeros(len(u), dtype=u.dtype, device=u.device)
        return with_gradient(u, *problem.value_and_grad(u), descended=u, age=age)

    def step(self, problem: Problem, state: State) -> State:
        v, gradient, age = state["u"], state["gradient"], state["age"]
        descended = v - scaled(problem.per_row(self.step_size), gradient)
        move = descended - state["descended"]
        if self.restart:
            age = torch.where(dot(gradient, move) > 0, 0.0, age)
        v = descended + expand(age / (age + 3), move) * move
        return with_gradient(v, *problem.value_and_grad(v), descended=descended, age=age + 1)

"""Quasi-Newton descent with limited memory: curvature learned from the gradients met on the way.

    d_k = -H_k ∇E(u_k),        u_{k+1} = u_k + t_k d_k

H_k comes from the BFGS updates of the last m steps (`ebm.infer.secant`), t_k from a strong-Wolfe search of
the row's own (`ebm.infer.wolfe`). A step of the method is one evaluation of the energy and its gradient, at
one trial point a row: rows that accept theirs take a new direction, the others search on, nobody waits.

Reference: Nocedal & Wright (2006), "Numerical Optimization", algorithms 6.1 and 7.5; Liu & Nocedal (1989),
"On the limited memory BFGS method for large scale optimization".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, stop_where
from ebm.infer.secant import Matrix, Memory, Pairs
from ebm.infer.wolfe import Wolfe, falls
from ebm.problem import Problem
from ebm.rows import dot, expand, flat
from ebm.solution import Stop

PATIENCE = 200  # evaluations without a decrease beyond rounding, after which the slopes will be rounding too


class LBFGS(Method):
    """Limited-memory BFGS with a curvature estimate, a line search and a verdict for every row.

    u ← u + t d, d = -H ∇E(u), the usual choice for smooth energies. `Solution.steps` counts evaluations after
    the first. A row whose direction does not descend, or whose search fails, begins again along -∇E; where no
    step along -∇E lowers the energy either, it has stalled.

    Args:
        history: m, the pairs remembered, at least 1: 2 m D numbers a row. For D <= 2m the D x D matrix is
            kept in their place, which takes no more room and forgets nothing (BFGS).
        wolfe: the line search; `Wolfe()` if None.

    Raises:
        ValueError: if `history` is not a positive integer.

    Example:
        >>> from ebm import minimize
        >>> from ebm.targets import Rosenbrock
        >>> start = torch.tensor([[-1.2, 1.0], [0.0, 3.0]], dtype=torch.float64)
        >>> minimize(Rosenbrock(2).double(), start, LBFGS(), tol=1e-8).value.round(decimals=6)
        tensor([[1., 1.],
                [1., 1.]], dtype=torch.float64)
    """

    differentiable = False  # which trial a search accepts has no derivative

    def __init__(self, history: int = 10, wolfe: Wolfe | None = None):
        self.history = count("history", history)
        self.wolfe = Wolfe() if wolfe is None else wolfe

    def _memory(self, u: Tensor) -> Memory:
        return Matrix() if u.numel() <= 2 * self.history * len(u) else Pairs(self.history)

    def init(self, problem: Problem, u: Tensor) -> State:
        memory = self._memory(u)
        value, gradient = problem.value_and_grad(u)
        gradient = memory.lay(flat(gradient))
        size = _size(gradient)
        direction, scale = _steepest(gradient, size)
        return {
            **_point(u, value, gradient, size),
            **memory.begin(gradient, scale),
            **self.wolfe.begin(value, dot(direction, gradient)),
            "direction": direction,
            "fresh": torch.ones_like(value, dtype=torch.bool),  # nothing learned yet, the direction is -∇E
            "idle": torch.zeros_like(value),  # evaluations since E fell by more than rounding
        }

    def step(self, problem: Problem, state: State) -> State:
        u, value, t, memory = state["u"], state["value"], state["t"], self._memory(state["u"])
        gradient, direction = memory.lay(state["gradient"]), memory.lay(state["direction"])
        trial = torch.addcmul(flat(u), t.unsqueeze(1), direction).view_as(u)
        new_value, new_gradient = problem.value_and_grad(trial)
        new_gradient = memory.lay(flat(new_gradient))
        slope = dot(new_gradient, direction)
        low, accepted = self.wolfe.judge(state, value, new_value, slope)
        every = bool(accepted.all())  # mostly so for few rows
        search, failed = state, None
        if not every:
            search, failed = self.wolfe.advance(state, value, new_value, slope, low)
            t, failed, moved = t * accepted, failed > accepted, accepted.unsqueeze(1)
            trial = torch.where(expand(accepted, u), trial, u)
            new_value = torch.where(accepted, new_value, value)
            new_gradient = torch.where(moved, new_gradient, gradient)

        s, y = t.unsqueeze(1) * direction, new_gradient - gradient  # 0 where a row has not moved
        new_direction, held, learned = memory.update(state, s, y, new_gradient, direction)
        if not every:
            new_direction = torch.where(moved, new_direction, direction)
        slope, size = dot(new_direction, new_gradient), _size(new_gradient)
        fresh = state["fresh"] > learned
        idle = (state["idle"] + 1).masked_fill_(falls(new_value, value), 0.0)  # no move, no fall

        again = slope >= 0 if failed is None else failed | (slope >= 0)
        if bool(again.any()):
            steepest, scale = _steepest(new_gradient, size)
            new_direction = torch.where(again.unsqueeze(1), steepest, new_direction)
            held = memory.forget(held, again, scale)
            slope = dot(new_direction, new_gradient)
            if failed is not None:
                idle = idle.masked_fill(failed & state["fresh"], torch.inf)
            fresh, accepted = fresh | again, accepted | again
        if every:
            search = self.wolfe.begin(new_value, slope)
        else:
            search = self.wolfe.restart(search, accepted, new_value, slope)
        return {
            **_point(trial, new_value, new_gradient, size),
            **held,
            **search,
            "direction": new_direction,
            "fresh": fresh,
            "idle": idle,
        }

    def verdict(self, state: State, tol: float) -> Tensor:
        stalled = stop_where(state["idle"] > PATIENCE, Stop.STALLED)
        return stalled.masked_fill(state["gradient_norm"] <= tol, int(Stop.GRADIENT))


def _point(u: Tensor, value: Tensor, gradient: Tensor, size: Tensor) -> State:
    return {"u": u, "value": value, "gradient": gradient, "gradient_norm": size}


def _size(gradient: Tensor) -> Tensor:
    return dot(gradient, gradient).sqrt_()  # a norm is slow where the rows are last in memory


def _steepest(gradient: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """-scale · ∇E and scale, such that the step is at most 1 long: nothing is known of the curvature yet."""
    scale = size.clamp(min=1.0).reciprocal()
    return -scale.unsqueeze(1) * gradient, scale

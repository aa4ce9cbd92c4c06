"""Quasi-Newton descent with limited memory: curvature learnt from the gradients met on the way.

    d_k = -H_k ∇E(u_k),        u_{k+1} = u_k + t_k d_k,        t_k by the row's own strong Wolfe search
    H_{k+1} y = s,        s = u_{k+1} - u_k,  y = ∇E(u_{k+1}) - ∇E(u_k)

H approximates the inverse Hessian. Each update is the smallest change of H that keeps it symmetric and satisfies
the secant condition (BFGS); it keeps H positive definite as sᵀy > 0, which the Wolfe conditions ensure. L-BFGS
applies the last m updates alone, to γI with γ = sᵀy / yᵀy, and never forms H.

Reference: Nocedal & Wright (2006), "Numerical Optimization", eqs. 6.17 and 6.20, sect. 7.2; Liu & Nocedal (1989),
"On the limited memory BFGS method for large scale optimization".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, stop_where
from ebm.infer.secant import Matrix, Pairs
from ebm.infer.wolfe import Wolfe
from ebm.problem import Problem, dot
from ebm.solution import Stop


class LBFGS(Method):
    differentiable = False

    def __init__(self, history: int = 10, wolfe: Wolfe | None = None):
        self.history = count("history", history)
        self.wolfe = Wolfe() if wolfe is None else wolfe

    def _memory(self, u: Tensor):
        return Matrix() if u[0].numel() <= 2 * self.history else Pairs(self.history)

    def init(self, problem: Problem, u: Tensor) -> State:
        memory = self._memory(u)
        value, gradient = problem.value_and_grad(u)
        gradient = memory.lay(gradient.flatten(1))
        size = dot(gradient, gradient).sqrt()
        direction, held = memory.begin(gradient, size)
        search = self.wolfe.begin(value, dot(direction, gradient))
        fresh = torch.ones_like(value, dtype=torch.bool)
        stalled = torch.zeros_like(fresh, dtype=torch.uint8)
        point = {"u": u, "value": value, "gradient": gradient, "gradient_norm": size}
        return {**point, **held, **search, "direction": direction, "fresh": fresh, "stalled": stalled}

    def step(self, problem: Problem, state: State) -> State:
        u, value = state["u"], state["value"]
        memory = self._memory(u)
        direction, gradient = memory.lay(state["direction"]), memory.lay(state["gradient"])
        trial = torch.addcmul(u.flatten(1), state["t"].unsqueeze(1), direction).view_as(u)
        new_value, new_gradient = problem.value_and_grad(trial)
        new_gradient = memory.lay(new_gradient.flatten(1))
        slope = dot(new_gradient, direction)
        low, accepted = self.wolfe.judge(state, value, new_value, slope)
        every = bool(accepted.all())
        if every:
            s = direction * state["t"].unsqueeze(1)
            y = new_gradient - gradient
            u = trial
        else:
            search, failed = self.wolfe.advance(state, value, new_value, slope, low)
            a = accepted.unsqueeze(1)
            s = direction * state["t"].masked_fill(~accepted, 0.0).unsqueeze(1)
            new_gradient = torch.where(a, new_gradient, gradient)
            y = new_gradient - gradient
            u = torch.where(accepted.view(-1, *(1,)*(u.ndim-1)), trial, u)
            new_value = torch.where(accepted, new_value, value)
        new_direction, held, learnt = memory.update(state, s, y, new_gradient, direction)
        if not every:
            new_direction = torch.where(a, new_direction, direction)
        slope = dot(new_direction, new_gradient)
        size = dot(new_gradient, new_gradient).sqrt()
        fresh, stalled = state["fresh"] > learnt, state["stalled"]
        uphill = ~(slope < 0)
        if not every:
            failed = failed & ~accepted
            uphill = uphill | failed
        if bool(uphill.any()):
            if not every:
                stalled = stop_where(failed & state["fresh"], Stop.STALLED)
                accepted = accepted | uphill
            steepest, empty = memory.begin(new_gradient, size)
            new_direction = torch.where(uphill.unsqueeze(1), steepest, new_direction)
            held = {k: torch.where(uphill.view(-1, *(1,) * (v.ndim - 1)), empty[k], v) for k, v in held.items()}
            slope = dot(new_direction, new_gradient)
            fresh = fresh | uphill
        search = self.wolfe.begin(new_value, slope) if every else self.wolfe.restart(search, accepted, new_value, slope)
        point = {"u": u, "value": new_value, "gradient": new_gradient, "gradient_norm": size}
        return {**point, **held, **search, "direction": new_direction, "fresh": fresh, "stalled": stalled}

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["stalled"].masked_fill(state["gradient_norm"] <= tol, int(Stop.GRADIENT))

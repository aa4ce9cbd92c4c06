"""Quasi-Newton descent, L-BFGS: curvature learnt from the gradients met on the way, a matrix or m pairs a row.

    d_k = -H_k ∇E(u_k),        u_{k+1} = u_k + t_k d_k,        t_k by the row's own strong Wolfe search
    H_{k+1} y = s  with  s = u_{k+1} - u_k,  y = ∇E(u_{k+1}) - ∇E(u_k)        (secant condition; Wolfe makes sᵀy > 0)

BFGS is the update of H closest to H that is symmetric and satisfies it. L-BFGS starts from γI, γ = sᵀy / yᵀy, and
applies the updates of the last m pairs alone. Stacked, S and Y of shape (m, D), this is the compact form

    H = γI + Sᵀ (R⁻ᵀ (C + γ Y Yᵀ) R⁻¹) S - γ Sᵀ R⁻ᵀ Y - γ Yᵀ R⁻¹ S,        R_ij = s_iᵀy_j  (i not newer than j),

C the diagonal of R. R⁻¹ grows by a column with each pair and shrinks by a row and a column with the oldest, which is
all that depends on the order; so the pairs live in slots in no order, and each row writes to its own slot.

Reference: Nocedal & Wright (2006), "Numerical Optimization", eqs. 6.17, 6.20 and 7.24; Byrd, Nocedal & Schnabel
(1994), "Representations of quasi-Newton matrices and their use in limited memory methods", eq. 2.16.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, stop_where, with_gradient
from ebm.infer.wolfe import Wolfe
from ebm.problem import Problem, dot, expand, norm
from ebm.solution import Stop


class LBFGS(Method):
    differentiable = False

    def __init__(self, history: int = 10, wolfe: Wolfe | None = None):
        self.history = count("history", history)
        self.wolfe = Wolfe() if wolfe is None else wolfe

    def init(self, problem: Problem, u: Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        state = with_gradient(u, value, gradient)
        scale = 1 / state["gradient_norm"].clamp(min=1.0)
        direction = -expand(scale, gradient) * gradient
        memory = self._memory(u).begin(scale, u.flatten(1), self.history)
        search = self.wolfe.begin(value, dot(direction, gradient))
        fresh = torch.ones_like(value, dtype=torch.bool)
        stalled = torch.zeros_like(fresh, dtype=torch.uint8)
        return {**state, **memory, **search, "direction": direction, "fresh": fresh, "stalled": stalled}

    def _memory(self, u):
        return Dense if u[0].numel() <= 2 * self.history else Pairs

    def step(self, problem: Problem, state: State) -> State:
        u, value, gradient, direction = state["u"], state["value"], state["gradient"], state["direction"]
        trial = torch.addcmul(u, expand(state["t"], u), direction)
        new_value, new_gradient = problem.value_and_grad(trial)
        slope = dot(new_gradient, direction)
        low, accepted = self.wolfe.judge(state, new_value, slope)
        every = bool(accepted.all())
        fresh = state["fresh"]
        if every:
            search, bad = {}, None
            u1, g1, v1 = trial, new_gradient, new_value
        else:
            search, bad = self.wolfe.advance(state, value, new_value, slope, low)
            bad = bad & ~accepted
            mask = expand(accepted, u)
            u1, g1, v1 = torch.where(mask, trial, u), torch.where(mask, new_gradient, gradient), torch.where(accepted, new_value, value)
        memory, d1, used = self._memory(u).update(state, (u1 - u).flatten(1), (g1 - gradient).flatten(1), g1.flatten(1), direction.flatten(1))
        d1 = d1.view_as(u)
        if not every:
            d1 = torch.where(mask, d1, direction)
        s1 = dot(d1, g1)
        new_fresh = fresh & ~used
        wrong = ~(s1 < 0) if bad is None else ~(s1 < 0) | bad
        stalled = state["stalled"]
        restart = accepted
        gn = norm(g1)
        if bool(wrong.any()):
            if bad is not None:
                stalled = stop_where(bad & fresh, Stop.STALLED)
            scale = 1/gn.clamp(min=1.0)
            d1 = torch.where(expand(wrong, u), -expand(scale,g1)*g1, d1)
            s1 = dot(d1, g1)
            new_fresh = new_fresh | wrong
            begin = self._memory(u).begin(scale, u.flatten(1), self.history)
            memory = {k: torch.where(expand(wrong, v), begin[k], v) for k, v in memory.items()}
            restart = accepted | wrong
        begin = self.wolfe.begin(v1, s1)
        if not every:
            begin = {k: torch.where(restart, v, search[k]) for k, v in begin.items()}
        return {"u": u1, "value": v1, "gradient": g1, "gradient_norm": gn, **memory, **begin, "direction": d1, "fresh": new_fresh, "stalled": stalled}

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["stalled"].masked_fill(state["gradient_norm"] <= tol, int(Stop.GRADIENT))


class Dense:
    @staticmethod
    def begin(scale, u, history):
        eye = torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
        return {"inverse": scale[:, None, None] * eye}

    @staticmethod
    def update(state, s, y, g, d):
        inverse = state["inverse"]
        hg = torch.bmm(inverse, g.unsqueeze(2)).squeeze(2)
        hy = hg + d
        sy, yhy = dot(s, y), dot(y, hy)
        valid = sy > torch.finfo(s.dtype).eps * yhy.abs()
        first = valid & state["fresh"]
        if bool(first.any()):
            factor = torch.where(first, sy / yhy, 1.0)
            inverse, hg, hy, yhy = factor[:, None, None] * inverse, factor[:, None] * hg, factor[:, None] * hy, factor * yhy
        inv = torch.where(valid, 1 / sy, 0.0)
        a = torch.addcmul((0.5 * inv * (1 + yhy * inv))[:, None] * s, inv[:, None], hy, value=-1)
        inverse = inverse.addcmul(s.unsqueeze(2), a.unsqueeze(1)).addcmul_(a.unsqueeze(2), s.unsqueeze(1))
        hg = hg.addcmul(s, dot(a, g)[:, None]).addcmul_(a, dot(s, g)[:, None])
        return {"inverse": inverse}, -hg, valid


class Pairs:
    pass

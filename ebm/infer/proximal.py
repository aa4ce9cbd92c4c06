"""Proximal gradient methods: E = f + h, where f is smooth and h has a prox (L1, groups, box, simplex, ...).

    u⁺ = prox(u - t ∇f(u), t)                  prox(v, t) = argmin_w t h(w) + ½|w - v|²

    ISTA      t fixed, or the first of s, s/2, s/4, ... with f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t
    FISTA     the same step from v_k = u_k + (τ_{k-1} - 1) / τ_k (u_k - u_{k-1}), τ_k = (1 + √(1 + 4 τ_{k-1}²)) / 2
    SpaRSA    t = |Δu|² / ⟨Δu, Δ∇f⟩, halved until E(u⁺) <= max(the last m energies) - σ |u⁺ - u|² / 2t

Every row has its own t. The test is on the generalized gradient |u - u⁺| / t, which is |∇f| where h = 0: without a
term that has a prox these are gradient methods.

Reference: Beck & Teboulle (2009), "A Fast Iterative Shrinkage-Thresholding Algorithm", eqs. 3.1, 4.1-4.3; restart:
O'Donoghue & Candès (2015), sect. 3.2; Wright, Nowak & Figueiredo (2009), "Sparse Reconstruction by Separable
Approximation", sect. II; Barzilai & Borwein (1988), eq. 5.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, fraction, positive, stop_where
from ebm.problem import Problem
from ebm.rows import dot, expand, norm
from ebm.solution import Stop

HALVINGS = 50  # of a step, after which its row counts as stalled
SHORTEST, LONGEST = 1e-10, 1e10  # a Barzilai-Borwein step


class ProximalStep(Method):
    """What these methods share: the proximal step of each row, halved until the method accepts where it leads."""

    proximal = True

    def __init__(self, step_size: float | Tensor):
        self.step_size = positive("step_size", step_size)

    def first_step(self, problem: Problem, u: Tensor) -> Tensor:
        """The first trial step of each row, (B,)."""
        step = torch.as_tensor(problem.per_row(self.step_size), dtype=u.dtype, device=u.device)
        return step.expand(len(u)).clone()

    @abstractmethod
    def accepts(self, state: State, point: State) -> Tensor:
        """Which rows may go from state["u"] to point["u"] by the step point["step"], (B,) bool."""

    def advance(self, problem: Problem, state: State, gradient: bool = True) -> State:
        """The next point: u⁺, its step t, f, h and, if asked for, ∇f there, with the rows that found none `stalled`.

        Args:
            state: `u`, `slope` = ∇f(u), `step` and `next` = u⁺, and what `accepts` needs.
        """
        point = _look(problem, state["next"], state["step"], gradient)
        refused = ~self.accepts(state, point)
        failed = refused.nonzero().flatten()
        for _ in range(HALVINGS):
            if not len(failed):
                break
            part, old = problem.rows(failed), {name: tensor[failed] for name, tensor in state.items()}
            step = 0.5 * point["step"][failed]
            shorter = _look(part, ahead(part, old["u"], old["slope"], step), step, gradient)
            point = {name: tensor.index_copy(0, failed, shorter[name]) for name, tensor in point.items()}
            failed = failed[~self.accepts(old, shorter)]
        point["stalled"] = stop_where(torch.zeros_like(refused).index_fill(0, failed, True), Stop.STALLED)
        return point

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = super().verdict(state, tol)
        return torch.maximum(codes, state["stalled"] * (codes == 0))


def ahead(problem: Problem, u: Tensor, slope: Tensor, step: Tensor) -> Tensor:
    """prox(u - t ∇f(u), t) for one t per row, (B,)."""
    return problem.prox(torch.addcmul(u, expand(step, u), slope, value=-1), step)


def _look(problem: Problem, u: Tensor, step: Tensor, gradient: bool) -> State:
    """What is known at the point u that a step led to; `rest` is h(u)."""
    if gradient:
        smooth, slope = problem.value_and_grad(u, smooth=True)
        more = {"slope": slope}
    else:
        smooth, more = problem.value(u, smooth=True), {}
    return {"u": u, "step": step, "smooth": smooth, "rest": problem.prox_value(u) + torch.zeros_like(smooth), **more}


def _rounding(value: Tensor) -> Tensor:
    """How much of a difference between energies near `value` may be rounding."""
    return 16 * torch.finfo(value.dtype).eps * value.abs()


def below_bound(state: State, point: State) -> Tensor:
    """f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t, up to rounding, (B,) bool (Beck & Teboulle, eq. 2.5)."""
    move = point["u"] - state["u"]
    bound = state["smooth"] + dot(state["slope"], move) + dot(move, move) / (2 * point["step"])
    return point["smooth"] <= bound + _rounding(state["smooth"])


class ProximalGradient(ProximalStep):
    """ISTA: u ← prox(u - t ∇f(u), t); projected gradient descent where h is a constraint.

    Args:
        step_size: t > 0, one number or one per row (B,): the first trial if it is searched; else it should be at most
            1 / L, L the largest curvature of f.
        backtracking: halve a row's step until the quadratic bound holds; it never grows again.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.regularizers import Box
        >>> @energy
        ... def bowl(y):
        ...     return ((y - 2) ** 2).sum(1)
        >>> minimize(bowl + Box("y", 0.0, 1.0), torch.zeros(1, 2), ProximalGradient()).value
        tensor([[1., 1.]])
    """

    monotone = True

    def __init__(self, step_size: float | Tensor = 1.0, backtracking: bool = True):
        super().__init__(step_size)
        self.backtracking = backtracking

    def init(self, problem: Problem, u: Tensor) -> State:
        return self._state(problem, _look(problem, u, self.first_step(problem, u), True))

    def step(self, problem: Problem, state: State) -> State:
        return self._state(problem, self.advance(problem, state))

    def accepts(self, state: State, point: State) -> Tensor:
        if not self.backtracking:
            return torch.ones_like(point["smooth"], dtype=torch.bool)
        return below_bound(state, point)

    def _state(self, problem: Problem, point: State) -> State:
        u, step = point["u"], point["step"]
        after = ahead(problem, u, point["slope"], step)
        stalled = point.get("stalled", torch.zeros_like(step, dtype=torch.uint8))
        length = norm(after - u) / step
        value = point["smooth"] + point["rest"]
        return {**point, "value": value, "next": after, "gradient_norm": length, "stalled": stalled}


class FISTA(ProximalStep):
    """ISTA with Nesterov's momentum: E(u_k) - E* <= 2 L |u_0 - u*|² / (k + 1)² for convex E.

    The generalized gradient is that of the extrapolated point v_k, from which the step to u_k was taken: E has a
    subgradient at u_k of at most twice its length.

    Args:
        step_size, backtracking: as in `ProximalGradient`.
        restart: set a row's momentum to zero where its step points uphill, ⟨v_k - u_{k+1}, u_{k+1} - u_k⟩ > 0.
    """

    def __init__(self, step_size: float | Tensor = 1.0, backtracking: bool = True, restart: bool = True):
        super().__init__(step_size)
        self.backtracking, self.restart = backtracking, restart

    def init(self, problem: Problem, u: Tensor) -> State:
        point = _look(problem, u, self.first_step(problem, u), True)
        after = ahead(problem, u, point["slope"], point["step"])
        tau = torch.ones_like(point["step"])
        return self._state(point, u, norm(after - u) / point["step"], tau, torch.zeros_like(tau, dtype=torch.uint8))

    def step(self, problem: Problem, state: State) -> State:
        u, step, tau = state["u"], state["step"], state["tau"]
        grown = 0.5 * (1 + torch.sqrt(1 + 4 * tau * tau))
        v = u + expand((tau - 1) / grown, u) * (u - state["previous"])
        smooth, slope = problem.value_and_grad(v, smooth=True)
        origin = {"u": v, "slope": slope, "smooth": smooth, "step": step, "next": ahead(problem, v, slope, step)}
        point = self.advance(problem, origin, gradient=False)
        back = v - point["u"]
        if self.restart:
            grown = torch.where(dot(back, point["u"] - u) > 0, 1.0, grown)
        return self._state(point, u, norm(back) / point["step"], grown, point["stalled"])

    accepts = ProximalGradient.accepts

    def _state(self, point: State, previous: Tensor, length: Tensor, tau: Tensor, stalled: Tensor) -> State:
        value = point["smooth"] + point["rest"]
        more = {"previous": previous, "tau": tau, "gradient_norm": length, "stalled": stalled}
        return {"u": point["u"], "value": value, "step": point["step"], **more}


class SpaRSA(ProximalStep):
    """Proximal gradient steps of Barzilai-Borwein length: cheap and, on sparse codes, several times faster than FISTA.

    A step is accepted if it lowers the energy below the greatest of the last `memory` ones. The test is on
    |u - u⁺| / min(t, 1), at least the generalized gradient of a step of length 1 (a long step alone would hide it).

    Args:
        step_size: the first trial step of each row, > 0.
        memory: m >= 1; 1 asks every step to lower the energy (monotone).
        decrease: σ in [0, 1), the share of |u⁺ - u|² / 2t that is asked for.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.regularizers import L1
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * ((y - 2) ** 2).sum(1)
        >>> minimize(bowl + 0.5 * L1("y"), torch.zeros(1, 2), SpaRSA()).value
        tensor([[1.5000, 1.5000]])
    """

    def __init__(self, step_size: float | Tensor = 1.0, memory: int = 10, decrease: float = 1e-4):
        super().__init__(step_size)
        self.memory, self.decrease = count("memory", memory), fraction("decrease", decrease)
        self.monotone = memory == 1  # type: ignore[misc]

    def init(self, problem: Problem, u: Tensor) -> State:
        point = _look(problem, u, self.first_step(problem, u), True)
        value = point["smooth"] + point["rest"]
        stalled = torch.zeros_like(value, dtype=torch.uint8)
        return self._state(problem, point, value.unsqueeze(1).expand(-1, self.memory), stalled)

    def step(self, problem: Problem, state: State) -> State:
        point = self.advance(problem, state)
        move = point["u"] - state["u"] if point["u"] is not state["next"] else state["move"]
        bend = dot(move, point["slope"] - state["slope"])
        convex = bend > 0  # where f bends down, the step is long
        length = dot(move, move) / torch.where(convex, bend, 1.0)
        point["step"] = torch.where(convex, length, LONGEST).clamp(SHORTEST, LONGEST)
        value = (point["smooth"] + point["rest"]).unsqueeze(1)
        return self._state(problem, point, torch.cat([state["recent"][:, 1:], value], 1), point["stalled"])

    def accepts(self, state: State, point: State) -> Tensor:
        move = point["u"] - state["u"] if point["u"] is not state["next"] else state["move"]
        goal = state["recent"].amax(1)
        promised = self.decrease * dot(move, move) / (2 * point["step"])
        return point["smooth"] + point["rest"] <= goal - promised + _rounding(goal)

    def _state(self, problem: Problem, point: State, recent: Tensor, stalled: Tensor) -> State:
        u, step, slope = point["u"], point["step"], point["slope"]
        after = ahead(problem, u, slope, step)
        move = after - u
        length = norm(move) / step.clamp(max=1) if problem.prox_terms else norm(slope)
        return {
            "u": u,
            "value": recent[:, -1],
            "recent": recent,
            "slope": slope,
            "step": step,
            "next": after,
            "move": move,
            "gradient_norm": length,
            "stalled": stalled,
        }

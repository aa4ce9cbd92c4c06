"""Proximal gradient methods: E = f + h, where f is smooth and h has a prox (L1, groups, box, simplex, ...).

    u⁺ = prox(u - t ∇f(u), t)                  prox(v, t) = argmin_w t h(w) + ½|w - v|²

    ISTA      t fixed, or the first of s, s/2, s/4, ... with f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t
    FISTA     the same step from v = u_k + (τ_{k-1} - 1) / τ_k (u_k - u_{k-1}), τ_k = ½ + √(¼ + τ_{k-1}²)
    SpaRSA    t = |Δu|² / ⟨Δu, Δ∇f⟩, halved until E(u⁺) <= max(the last m energies) - σ |u⁺ - u|² / 2t

Every row has its own t. The test is on the generalized gradient |u - u⁺| / t, which is |∇f| where h = 0:
without terms that have a prox these are gradient methods.

Reference: Beck & Teboulle (2009), "A Fast Iterative Shrinkage-Thresholding Algorithm", eqs. 3.1, 4.1-4.3;
O'Donoghue & Candès (2015), sect. 3.2 (restart); Wright, Nowak & Figueiredo (2009), "Sparse Reconstruction by
Separable Approximation", sect. II; Barzilai & Borwein (1988), eq. 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count, fraction
from ebm.infer.proximal_step import ProximalStep, fresh, look, rounding, take_step
from ebm.problem import Problem
from ebm.rows import by_blocks, dot, expand, norm

SHORTEST, LONGEST = 1e-10, 1e10  # a Barzilai-Borwein step


def below_bound(state: State, point: State) -> Tensor:
    """f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t, up to rounding (Beck & Teboulle, eq. 2.5)."""
    bound = state["smooth"] + point["along"] + point["square"] / (2 * point["step"])
    return point["smooth"] <= bound + rounding(state["smooth"])


class ProximalGradient(ProximalStep):
    """ISTA: u ← prox(u - t ∇f(u), t); projected gradient descent where h is a constraint.

    Args:
        step_size: t > 0, one number or one per row (B,): the first trial if it is searched; else it should
            be at most 1 / L, L the largest curvature of f.
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
        return self._state(problem, {**look(problem, u), **fresh(self.first_step(problem, u))})

    def step(self, problem: Problem, state: State) -> State:
        point = {**state, **look(problem, state["next"])}
        after = {name: point[name] for name in ("u", "smooth", "slope", "rest", "step")}
        return self._state(problem, self.settle(state, point, after))

    def accepts(self, state: State, point: State) -> Tensor:
        if not self.backtracking:
            return torch.ones_like(point["smooth"], dtype=torch.bool)
        return below_bound(state, point)

    def _state(self, problem: Problem, point: State) -> State:
        step = take_step(problem, point["u"], point["slope"], point["step"])
        length = step["square"].sqrt() / step["step"]
        return {**point, **step, "value": point["smooth"] + point["rest"], "gradient_norm": length}


class FISTA(ProximalStep):
    """ISTA with Nesterov's momentum: E(u_k) - E* <= 2 L |u_0 - u*|² / (k + 1)² for convex E.

    The generalized gradient is that of the extrapolated point v_k, from which the step to u_k was taken: E
    has a subgradient at u_k of at most twice its length.

    Args:
        step_size, backtracking: as in `ProximalGradient`.
        restart: set a row's momentum to zero where its step points uphill,
            ⟨v_k - u_{k+1}, u_{k+1} - u_k⟩ > 0.
    """

    def __init__(self, step_size: float | Tensor = 1.0, backtracking: bool = True, restart: bool = True):
        super().__init__(step_size)
        self.backtracking, self.restart = backtracking, restart

    def init(self, problem: Problem, u: Tensor) -> State:
        point, begun = look(problem, u), fresh(self.first_step(problem, u))
        step = take_step(problem, u, point["slope"], begun["step"])
        length, value = step["square"].sqrt() / step["step"], point["smooth"] + point["rest"]
        tau = torch.zeros_like(value)
        return {**begun, "u": u, "previous": u, "tau": tau, "value": value, "gradient_norm": length}

    def step(self, problem: Problem, state: State) -> State:
        u, tau = state["u"], state["tau"]
        grown = 0.5 * (1 + torch.sqrt(1 + 4 * tau * tau))
        v = u + expand((tau - 1) / grown, u) * (u - state["previous"])
        smooth, slope = problem.value_and_grad(v, smooth=True)
        step = take_step(problem, v, slope, state["step"])
        new, length = step["next"], step["square"].sqrt() / step["step"]
        point = {**step, "smooth": problem.value(new, smooth=True)}
        value = point["smooth"] + problem.prox_value(new)
        if self.restart:
            grown = torch.where(dot(new - v, new - u) < 0, 1.0, grown)
        after = {"u": new, "previous": u, "tau": grown, "value": value, "gradient_norm": length}
        origin = {"smooth": smooth, "slope": slope, **state}
        return self.settle(origin, point, after | {"step": step["step"]})

    accepts = ProximalGradient.accepts


class SpaRSA(ProximalStep):
    """Proximal gradient steps of Barzilai-Borwein length; on sparse codes several times faster than FISTA.

    A step is accepted if it lowers the energy below the greatest of the last `memory` ones. The test is on
    |u - u⁺| / min(t, 1), at least the generalized gradient of a step of length 1 (a long step alone would
    hide it).

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
        self.monotone = memory == 1

    def init(self, problem: Problem, u: Tensor) -> State:
        point = look(problem, u)
        recent = (point["smooth"] + point["rest"]).unsqueeze(1).repeat(1, self.memory)
        begun = fresh(self.first_step(problem, u))
        return self._state(problem, {"u": u, "slope": point["slope"], "recent": recent, **begun})

    def step(self, problem: Problem, state: State) -> State:
        point = {**state, **look(problem, state["next"])}
        (bend,) = by_blocks(_bend, point["slope"], state["slope"], point["u"], state["u"])
        # where f bends down the next step is longer, and a row that does not move keeps its step
        length = torch.where(bend > 0, state["square"] / bend, 2 * state["step"]).clamp(SHORTEST, LONGEST)
        length = torch.where(state["square"] > 0, length, state["step"]).detach()  # a setting, not a function
        value = (point["smooth"] + point["rest"]).unsqueeze(1)
        recent = torch.cat([state["recent"][:, 1:], value], 1)
        after = {"u": point["u"], "slope": point["slope"], "recent": recent, "step": length}
        return self._state(problem, self.settle(state, point, after))

    def accepts(self, state: State, point: State) -> Tensor:
        goal = state["recent"].amax(1)
        promised = self.decrease * point["square"] / (2 * point["step"])
        return point["smooth"] + point["rest"] <= goal - promised + rounding(goal)

    def _state(self, problem: Problem, point: State) -> State:
        step = take_step(problem, point["u"], point["slope"], point["step"])
        length = (
            step["square"].sqrt() / step["step"].clamp(max=1) if problem.prox_terms else norm(point["slope"])
        )
        return {**point, **step, "value": point["recent"][:, -1], "gradient_norm": length}


def _bend(slope: Tensor, slope_before: Tensor, u: Tensor, u_before: Tensor) -> tuple[Tensor]:
    """⟨Δ∇f, Δu⟩, (B,)."""
    return (dot(slope - slope_before, u - u_before),)

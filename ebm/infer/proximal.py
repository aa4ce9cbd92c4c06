"""Proximal gradient methods: E = f + h, where f is smooth and h has a prox (L1, groups, box, simplex, ...).

    u⁺ = prox(u - t ∇f(u), t)                  prox(v, t) = argmin_w t h(w) + ½|w - v|²

    ISTA      t fixed, or the first of s, s/2, s/4, ... with f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t
    FISTA     the same step from v_k = u_k + (τ_{k-1} - 1) / τ_k (u_k - u_{k-1}), τ_k = (1 + √(1 + 4
    τ_{k-1}²)) / 2 SpaRSA    t = |Δu|² / ⟨Δu, Δ∇f⟩, halved until E(u⁺) <= max(the last m energies) - σ |u⁺ -
    u|² / 2t

Every row has its own t. The test is on the generalized gradient |u - u⁺| / t, which is |∇f| where h = 0:
without a term that has a prox these are gradient methods.

Reference: Beck & Teboulle (2009), "A Fast Iterative Shrinkage-Thresholding Algorithm", eqs. 3.1, 4.1-4.3;
restart:
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
STEP = ("step", "next", "move", "square")  # what `take_step` returns


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
        """Which rows may go from state["u"] to point["u"], a step of length point["step"] away, (B,) bool."""

    def advance(self, problem: Problem, state: State, gradient: bool = True) -> State:
        """The next point: where the step leads, f, h and, if asked for, ∇f there; `stalled` where no step will do.

        Args:
            state: `u`, `slope` = ∇f(u), the step of each row, and what `accepts` needs.
        """
        point = _look(problem, {name: state[name] for name in STEP}, gradient)
        refused = ~self.accepts(state, point)
        failed = refused.nonzero().flatten()
        if len(failed) and not torch.is_grad_enabled():  # then what follows writes into it
            point |= {name: state[name].clone() for name in STEP}
            point["u"] = point["next"]
        for _ in range(HALVINGS):
            if not len(failed):
                break
            part, old = problem.rows(failed), {name: tensor[failed] for name, tensor in state.items()}
            step = take_step(part, old["u"], old["slope"], 0.5 * point["step"][failed])
            shorter = _look(part, step, gradient)
            point = {name: _put(tensor, failed, shorter[name]) for name, tensor in point.items()}
            failed = failed[~self.accepts(old, shorter)]
        point["stalled"] = stop_where(torch.zeros_like(refused).index_fill(0, failed, True), Stop.STALLED)
        return point

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = super().verdict(state, tol)
        return torch.maximum(codes, state["stalled"] * (codes == 0))


def take_step(problem: Problem, u: Tensor, slope: Tensor, step: Tensor) -> State:
    """A step of each row: its length t, (B,), `next` = u⁺ = prox(u - t ∇f(u), t), the `move` u⁺ - u and its `square`."""
    after = problem.prox(torch.addcmul(u, expand(step, u), slope, value=-1), step)
    move = after - u
    return {"step": step, "next": after, "move": move, "square": dot(move, move)}


def _look(problem: Problem, step: State, gradient: bool) -> State:
    """What is known where a step leads: `smooth` = f, `rest` = h and, if asked for, `slope` = ∇f."""
    u = step["next"]
    if gradient:
        smooth, slope = problem.value_and_grad(u, smooth=True)
        more = {"slope": slope}
    else:
        smooth, more = problem.value(u, smooth=True), {}
    return {
        **step,
        "u": u,
        "smooth": smooth,
        "rest": problem.prox_value(u) + torch.zeros_like(smooth),
        **more,
    }


def _start(problem: Problem, u: Tensor, step: Tensor) -> State:
    nowhere = {"step": step, "next": u, "stalled": torch.zeros_like(step, dtype=torch.uint8)}
    return _look(problem, nowhere, True)


def _put(tensor: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """The tensor with new values in some rows; written in place where no graph needs the old ones."""
    return (
        tensor.index_copy(0, rows, values) if torch.is_grad_enabled() else tensor.index_copy_(0, rows, values)
    )


def _rounding(value: Tensor) -> Tensor:
    """How much of a difference between energies near `value` may be rounding."""
    return 16 * torch.finfo(value.dtype).eps * value.abs()


def below_bound(state: State, point: State) -> Tensor:
    """f(u⁺) <= f(u) + ⟨∇f(u), u⁺ - u⟩ + |u⁺ - u|² / 2t, up to rounding, (B,) bool (Beck & Teboulle, eq. 2.5)."""
    bound = state["smooth"] + dot(state["slope"], point["move"]) + point["square"] / (2 * point["step"])
    return point["smooth"] <= bound + _rounding(state["smooth"])


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
        return self._state(problem, _start(problem, u, self.first_step(problem, u)))

    def step(self, problem: Problem, state: State) -> State:
        return self._state(problem, self.advance(problem, state))

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
        restart: set a row's momentum to zero where its step points uphill, ⟨v_k - u_{k+1}, u_{k+1} - u_k⟩ >
            0.
    """

    def __init__(self, step_size: float | Tensor = 1.0, backtracking: bool = True, restart: bool = True):
        super().__init__(step_size)
        self.backtracking, self.restart = backtracking, restart

    def init(self, problem: Problem, u: Tensor) -> State:
        point = _start(problem, u, self.first_step(problem, u))
        step = take_step(problem, u, point["slope"], point["step"])
        return self._state(point, u, step["square"].sqrt() / step["step"], torch.zeros_like(step["step"]))

    def step(self, problem: Problem, state: State) -> State:
        u, tau = state["u"], state["tau"]
        grown = 0.5 * (1 + torch.sqrt(1 + 4 * tau * tau))
        v = u + expand((tau - 1) / grown, u) * (u - state["previous"])
        smooth, slope = problem.value_and_grad(v, smooth=True)
        origin = {"u": v, "smooth": smooth, "slope": slope, **take_step(problem, v, slope, state["step"])}
        point = self.advance(problem, origin, gradient=False)
        if self.restart:
            grown = torch.where(dot(point["move"], point["u"] - u) < 0, 1.0, grown)
        return self._state(point, u, point["square"].sqrt() / point["step"], grown)

    accepts = ProximalGradient.accepts

    def _state(self, point: State, previous: Tensor, length: Tensor, tau: Tensor) -> State:
        kept = {name: point[name] for name in ("u", "step", "stalled")}
        value = point["smooth"] + point["rest"]
        return {**kept, "value": value, "previous": previous, "tau": tau, "gradient_norm": length}


class SpaRSA(ProximalStep):
    """Proximal gradient steps of Barzilai-Borwein length: cheap and, on sparse codes, several times faster than FISTA.

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
        self.monotone = memory == 1  # type: ignore[misc]

    def init(self, problem: Problem, u: Tensor) -> State:
        point = _start(problem, u, self.first_step(problem, u))
        recent = (point["smooth"] + point["rest"]).unsqueeze(1).repeat(1, self.memory)
        return self._state(problem, point, recent)

    def step(self, problem: Problem, state: State) -> State:
        point = self.advance(problem, state)
        bend = dot(point["move"], point["slope"] - state["slope"])
        convex = (
            bend > 0
        )  # elsewhere f bends down, and the next step is longer; or the row doesn't move any more
        length = torch.where(convex, point["square"] / bend, 2 * point["step"]).clamp(SHORTEST, LONGEST)
        point["step"] = torch.where(
            point["square"] > 0, length, point["step"]
        ).detach()  # a setting, not a function
        value = (point["smooth"] + point["rest"]).unsqueeze(1)
        return self._state(problem, point, torch.cat([state["recent"][:, 1:], value], 1))

    def accepts(self, state: State, point: State) -> Tensor:
        goal = state["recent"].amax(1)
        promised = self.decrease * point["square"] / (2 * point["step"])
        return point["smooth"] + point["rest"] <= goal - promised + _rounding(goal)

    def _state(self, problem: Problem, point: State, recent: Tensor) -> State:
        slope = point["slope"]
        step = take_step(problem, point["u"], slope, point["step"])
        length = step["square"].sqrt() / step["step"].clamp(max=1) if problem.prox_terms else norm(slope)
        kept = {name: point[name] for name in ("u", "slope", "stalled")}
        return {**kept, **step, "value": recent[:, -1], "recent": recent, "gradient_norm": length}

"""The augmented Lagrangian: constraints for gradient methods, as prices that are raised until they are kept.

    min f(u)  subject to  c_i(u) <= 0
    L(u; λ, ρ) = f(u) + Σ_i ([λ_i + ρ c_i(u)]₊² - λ_i²) / 2ρ,      u ← argmin L,   λ_i ← [λ_i + ρ c_i(u)]₊

Each λ_i converges to the multiplier, the price of constraint i: how much f falls a unit that it is relaxed.
A penalty alone would have to grow without bound; with the prices ρ may stay, at a linear rate that is the
faster the larger ρ is (min x² with x = 1: by 2 / (2 + ρ) an update).

Reference: Hestenes (1969), "Multiplier and gradient methods"; Rockafellar (1973); Nocedal & Wright (2006),
"Numerical Optimization", sect. 17.3; Birgin & Martínez (2014), "Practical augmented Lagrangian methods",
algorithm 4.1 (when ρ grows).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder, Expression, Free, Held, Term
from ebm.bound import Bound
from ebm.infer.method import Method, State, count, positive
from ebm.infer.multi_start import MultiStart
from ebm.problem import Problem
from ebm.rows import expand
from ebm.solution import Stop

MAX_GROWTH = 1e8  # of the penalty, as a factor: beyond it L is too steep to be minimized in any dtype


class AugmentedLagrangian(Method):
    """A gradient method that keeps to `subject_to`, by minimizing L(u; λ, ρ) and raising λ and ρ.

    Every row has multipliers and a penalty of its own. Its inner problem counts as solved once
    ‖∇L‖ <= precision · ρ · V, where V = max_i |max(c_i, -λ_i / ρ)| says how far constraints and multipliers
    are from fitting together, or after `inner_steps` steps. Then λ is updated, ρ grows where V has not fallen
    to a quarter, and the method begins anew at u. A row ends by the method's own test on L, if V is at most
    `feasibility` as well; c_i up to `feasibility` counts as kept. An equality is two constraints, c
    and -c. For several starts write MultiStart(AugmentedLagrangian(...)).

    `Solution.report["multipliers"]` is λ, (B, C), in the order of `subject_to`, and `["penalty"]` ρ, (B,).

    Args:
        method: minimizes L: LBFGS(), Newton(), Adam(), a proximal method. L has a kink in its second
            derivative where a constraint becomes active.
        penalty: ρ > 0 at the start, in units of energy a squared unit of the constraint; one number or one
            per row (B,).
        growth: >= 1, by which ρ is multiplied where V falls too slowly; 1 leaves it as it is.
        inner_steps: steps of the method at most between two updates.
        precision: > 0, how well an inner problem is solved.
        feasibility: >= 0, in units of the constraints.

    Raises:
        TypeError: if the method has a population, is discrete, or is a `MultiStart`.
        ValueError: for a setting out of its range.

    Example:
        The point of the half-plane y_0 + y_1 >= 2 nearest to 0, and the price of 2:

        >>> from ebm import energy, minimize
        >>> from ebm.infer import LBFGS
        >>> @energy
        ... def squared(y):
        ...     return (y**2).sum(1)
        >>> @energy
        ... def missing(y):
        ...     return 2 - y.sum(1)
        >>> start = torch.zeros(1, 2, dtype=torch.float64)
        >>> found = minimize(squared, start, AugmentedLagrangian(LBFGS()), subject_to=[missing])
        >>> found.value.round(decimals=4), found.report["multipliers"].round(decimals=4)
        (tensor([[1., 1.]], dtype=torch.float64), tensor([[2.]], dtype=torch.float64))
    """

    constrained = True
    differentiable = False
    reports = ("multipliers", "penalty")

    def __init__(
        self,
        method: Method,
        penalty: float | Tensor = 10.0,
        growth: float = 4.0,
        inner_steps: int = 50,
        precision: float = 0.1,
        feasibility: float = 1e-6,
    ):
        if not isinstance(method, Method) or method.population or method.discrete:
            raise TypeError(
                f"AugmentedLagrangian takes a gradient method, such as LBFGS(); got {method!r}. A population "
                f"keeps to constraints by itself."
            )
        if isinstance(method, MultiStart | AugmentedLagrangian):
            raise TypeError(
                f"AugmentedLagrangian({type(method).__name__}(...)) would begin anew at every update; write "
                f"MultiStart(AugmentedLagrangian(...)), where each start has multipliers of its own."
            )
        if not 1 <= growth < float("inf"):
            raise ValueError(f"growth multiplies the penalty and is at least 1; got {growth}.")
        self.method, self.penalty, self.growth = method, positive("penalty", penalty), growth
        self.inner_steps = count("inner_steps", inner_steps)
        self.precision = float(positive("precision", precision))
        self.feasibility = float(positive("feasibility", feasibility, zero=True))
        self.proximal = method.proximal

    def init(self, problem: Problem, u: Tensor) -> State:
        value = problem.value(u)
        penalty = self._first(problem, value).expand(len(u)).clone()
        prices = {"multipliers": value.new_zeros(len(u), len(problem.constraints)), "penalty": penalty}
        inner = self.method.init(augmented(problem, **prices), u)
        age = torch.zeros(len(u), dtype=torch.int64, device=u.device)
        prices |= {"age": age, "before": torch.full_like(value, torch.inf)}
        return self._state(problem, inner, prices, excess(problem, u))

    def step(self, problem: Problem, state: State) -> State:
        multipliers, penalty, before = state["multipliers"], state["penalty"], state["before"]
        inner = {n.removeprefix(PREFIX): e for n, e in state.items() if n.startswith(PREFIX)}
        inner = self.method.step(augmented(problem, multipliers, penalty), inner)
        u, age = inner["u"], state["age"] + 1
        c = excess(problem, u)
        misfit = _misfit(c, multipliers, penalty)
        due = (inner["gradient_norm"] <= self.precision * penalty * misfit) | (age >= self.inner_steps)
        due = due & (misfit > 0)  # else nothing would change
        if bool(due.any()):
            raised = torch.relu(multipliers + penalty.unsqueeze(1) * c)
            multipliers = torch.where(due.unsqueeze(1), raised, multipliers)
            slow = due & (misfit > 0.25 * before) & (penalty < MAX_GROWTH * self._first(problem, penalty))
            penalty = torch.where(slow, self.growth * penalty, penalty)
            before, age = torch.where(due, misfit, before), age.masked_fill(due, 0)
            fresh = self.method.init(augmented(problem, multipliers, penalty), u)
            inner = {n: torch.where(expand(due, e), fresh[n], e) for n, e in inner.items()}
        prices = {"multipliers": multipliers, "penalty": penalty, "age": age, "before": before}
        return self._state(problem, inner, prices, c)

    def verdict(self, state: State, tol: float) -> Tensor:
        inner = {n.removeprefix(PREFIX): e for n, e in state.items() if n.startswith(PREFIX)}
        return self.method.verdict(inner, tol).masked_fill(
            state["misfit"] > self.feasibility, int(Stop.RUNNING)
        )

    def _first(self, problem: Problem, like: Tensor) -> Tensor:
        return torch.as_tensor(problem.per_row(self.penalty), dtype=like.dtype, device=like.device)

    def _state(self, problem: Problem, inner: State, prices: State, c: Tensor) -> State:
        """The method's state on L, and in front u with f(u), as the driver compares them."""
        u = inner["u"]
        front = {"u": u, "value": problem.value(u), "gradient_norm": inner["gradient_norm"], **prices}
        front["misfit"] = _misfit(c, prices["multipliers"], prices["penalty"])
        if problem.constraints:
            violation = c.clamp(min=0).sum(1).nan_to_num(nan=torch.inf, posinf=torch.inf)
            front["violation"] = violation.masked_fill((c <= self.feasibility).all(1), 0.0)
            front["slack"] = 2 * self.feasibility * prices["multipliers"].sum(1)
        return {**front, **{PREFIX + name: entry for name, entry in inner.items()}}


PREFIX = "method's "


def excess(problem: Problem, u: Tensor) -> Tensor:
    """c_i(u) of every constraint, (B, C)."""
    free = problem.unpack(u)
    return _excess(problem.constraints, free) if problem.constraints else u.new_zeros(len(u), 0)


def _excess(constraints: tuple[Bound, ...], free: dict[str, Tensor]) -> Tensor:
    return torch.stack([c.evaluate({n: free[n] for n in c.variables}) for c in constraints], 1)


def _misfit(c: Tensor, multipliers: Tensor, penalty: Tensor) -> Tensor:
    """max_i |max(c_i, -λ_i / ρ)|, (B,): 0 where constraints are kept, and those with room have no price."""
    if c.shape[1] == 0:
        return torch.zeros_like(penalty)
    return torch.maximum(c, -multipliers / penalty.unsqueeze(1)).abs().amax(1)


class _Price:
    """Σ_i ([λ_i + ρ c_i]₊² - λ_i²) / 2ρ, as the leaf of a term: the constraints are row data like λ and ρ."""

    closed_form = ()

    @staticmethod
    def forward(**values: Any) -> Tensor:
        constraints, multipliers, penalty = (values.pop(name) for name in PRICE)
        pushed = torch.relu(multipliers + penalty.unsqueeze(1) * _excess(constraints, values))
        return (pushed**2 - multipliers**2).sum(1) / (2 * penalty)


PRICE = ("the constraints", "their multipliers", "their penalty")  # no variable has such names


def augmented(problem: Problem, multipliers: Tensor, penalty: Tensor) -> Problem:
    """The problem of minimizing L(u; λ, ρ) with λ (B, C) and ρ (B,), without constraints."""
    if not problem.constraints:
        return problem
    bound = problem.bound
    first = max(bound.held, default=-1) + 1
    mine = dict(enumerate((problem.constraints, multipliers, penalty), first))
    arguments: list[tuple[str, Expression]] = [(name, Free(name)) for name in problem.shapes]
    arguments += [(name, Held(key)) for name, key in zip(PRICE, mine, strict=True)]
    term = Term(_Price, tuple(arguments), 1.0, "constraints")
    rows = Binder(None, len(penalty), bound.dtype, bound.device)
    out = Problem(
        Bound((*bound.summands, term), {**bound.held, **mine}, bound.variables, rows),
        problem.shapes,
        generator=problem.generator,
        max_rows=problem.max_rows,
        batch=problem.full_batch,
    )
    out.live, out.copies, out.fast = problem.live, problem.copies, problem.fast
    return out

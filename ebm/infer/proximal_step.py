"""A proximal gradient step of each row, tried anew at half the length where the method refuses it.

    u⁺ = prox(u - t ∇f(u), t)        t one number per row;  t, t/2, t/4, ... until accepted

Every row is tried once a step of the loop: one that is refused stays where it is and comes with half the
step the next time, while the others go on. So no row waits for the search of another, and a step costs one
look at the energy, however many rows are refused.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ebm.infer.method import Method, State, positive, stop_where
from ebm.problem import Problem
from ebm.rows import by_blocks, dot, expand, square
from ebm.solution import Stop

REFUSALS = 50  # in a row, after which a row of the batch counts as stalled


class ProximalStep(Method):
    """What these methods share: a proximal step of each row, halved until the method accepts it."""

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

    def settle(self, state: State, point: State, after: State) -> State:
        """The state after a trial: `after` where the point is accepted, else the old one, its step halved.

        Args:
            state: before the trial.
            point: where it led, for `accepts`.
            after: what becomes of the rows that go there.
        """
        refused = ~self.accepts(state, point)
        refusals = torch.where(refused, state["refusals"] + 1, 0)
        rows = refused.nonzero().flatten()
        if len(rows):
            before = {name: state[name] for name in after} | {"step": 0.5 * point["step"]}
            own = list(state.values())
            after = {
                name: put(new, rows, before[name].index_select(0, rows), own) for name, new in after.items()
            }
        return {**after, "refusals": refusals}

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = super().verdict(state, tol)
        return torch.maximum(codes, stop_where((state["refusals"] >= REFUSALS) & (codes == 0), Stop.STALLED))


def fresh(step: Tensor) -> State:
    """A row's search before its first trial: the step to try, and no refusals so far."""
    return {"step": step, "refusals": torch.zeros_like(step, dtype=torch.int32)}


def take_step(problem: Problem, u: Tensor, slope: Tensor, step: Tensor) -> State:
    """A step of length t, (B,): `next` is u⁺ = prox(u - t ∇f(u), t), `square` |Δu|² and `along` ⟨∇f, Δu⟩."""

    def go(u: Tensor, slope: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after = problem.prox(torch.addcmul(u, expand(step, u), slope, value=-1), step)
        move = after - u
        return after, square(move), dot(slope, move)

    after, length, along = by_blocks(go, u, slope, step)
    return {"step": step, "next": after, "square": length, "along": along}


def look(problem: Problem, u: Tensor) -> State:
    """What is known at a point: `u`, `smooth` = f, `slope` = ∇f and `rest` = h."""
    smooth, slope = problem.value_and_grad(u, smooth=True)
    return {
        "u": u,
        "smooth": smooth,
        "slope": slope,
        "rest": problem.prox_value(u) + torch.zeros_like(smooth),
    }


def put(tensor: Tensor, rows: Tensor, values: Tensor, kept: list[Tensor]) -> Tensor:
    """The tensor with other values in some rows: itself, unless it has a graph or is one of those kept."""
    if tensor.requires_grad or any(tensor is other for other in kept):
        return tensor.index_copy(0, rows, values)
    return tensor.index_copy_(0, rows, values)


def rounding(value: Tensor) -> Tensor:
    """How much of a difference between energies near `value` may be rounding."""
    return 16 * torch.finfo(value.dtype).eps * value.abs()

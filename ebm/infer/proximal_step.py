"""A proximal gradient step of each row, halved until the method accepts where it leads.

    u⁺ = prox(u - t ∇f(u), t)        t one number per row;  t, t/2, t/4, ... until accepted
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ebm.infer.method import Method, State, positive, stop_where
from ebm.problem import Problem
from ebm.rows import dot, expand
from ebm.solution import Stop

HALVINGS = 50  # of a step, after which its row counts as stalled
STEP = ("step", "next", "move", "square")  # what `take_step` returns


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

    def advance(self, problem: Problem, state: State, gradient: bool = True) -> State:
        """The next point, with f, h and, if asked for, ∇f there; `stalled` where no step will do.

        Args:
            state: `u`, `slope` = ∇f(u), the step of each row, and what `accepts` needs.
        """
        point = look(problem, {name: state[name] for name in STEP}, gradient)
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
            shorter = look(part, step, gradient)
            point = {name: _put(tensor, failed, shorter[name]) for name, tensor in point.items()}
            failed = failed[~self.accepts(old, shorter)]
        point["stalled"] = stop_where(torch.zeros_like(refused).index_fill(0, failed, True), Stop.STALLED)
        return point

    def verdict(self, state: State, tol: float) -> Tensor:
        codes = super().verdict(state, tol)
        return torch.maximum(codes, state["stalled"] * (codes == 0))


def take_step(problem: Problem, u: Tensor, slope: Tensor, step: Tensor) -> State:
    """A step of length t, (B,): `next` = u⁺ = prox(u - t ∇f(u), t), `move` = u⁺ - u, its `square`."""
    after = problem.prox(torch.addcmul(u, expand(step, u), slope, value=-1), step)
    move = after - u
    return {"step": step, "next": after, "move": move, "square": dot(move, move)}


def look(problem: Problem, step: State, gradient: bool) -> State:
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


def start(problem: Problem, u: Tensor, step: Tensor) -> State:
    nowhere = {"step": step, "next": u, "stalled": torch.zeros_like(step, dtype=torch.uint8)}
    return look(problem, nowhere, True)


def _put(tensor: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """The tensor with new values in some rows; written in place where no graph needs the old ones."""
    return (
        tensor.index_copy(0, rows, values) if torch.is_grad_enabled() else tensor.index_copy_(0, rows, values)
    )


def rounding(value: Tensor) -> Tensor:
    """How much of a difference between energies near `value` may be rounding."""
    return 16 * torch.finfo(value.dtype).eps * value.abs()

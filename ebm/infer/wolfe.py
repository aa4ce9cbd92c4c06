"""A line search of its own for every row: the strong Wolfe conditions, by bracketing and cubic interpolation.

Along a direction d of descent, φ(t) = E(u + t d). A step t > 0 is accepted where

    φ(t) <= φ(0) + c₁ t φ′(0)        and        |φ′(t)| <= c₂ |φ′(0)|

The search is a machine that takes one trial point a step, so that no row waits for another. It remembers
`near`, the lowest point so far that met the first condition (at first t = 0), and `far`: as long as the
minimum lies ahead, the point that was `near` before; once it is bracketed, the other end. The next trial is
the minimizer of the cubic through both points and slopes, kept within bounds. A trial that is NaN or
infinite counts as too high.

The first condition is widened by 8 ulp of φ(0): near a minimum the differences of energies are rounding long
before the slopes are.

Reference: Nocedal & Wright (2006), "Numerical Optimization", algorithms 3.5 and 3.6, eq. 3.59; on rounding
Hager & Zhang (2005), "A new conjugate gradient method with guaranteed descent and an efficient line search".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count, fraction
from ebm.problem import Problem
from ebm.rows import dot, expand

BRACKETED, AHEAD = (0.1, 0.9), (-9.0, -1.0)  # bounds of the next trial, in units of far - near
ULPS = 8


class Wolfe:
    """The strong Wolfe conditions, and the search for a step that meets them.

    Args:
        decrease: c₁ in [0, c₂), the share of the promised decrease that is asked for.
        curvature: c₂ in (c₁, 1): 0.9 for quasi-Newton directions, 0.1 or less for a nearly exact search.
        tries: trial points a row gets; then it takes the lowest one, if that is below φ(0), or has failed.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> value, slope = torch.tensor([1.0]), torch.tensor([-2.0])  # φ(t) = (1 - t)² at t = 0
        >>> search = Wolfe().begin(value, slope)
        >>> Wolfe().judge(search, value, torch.tensor([0.0]), torch.tensor([0.0]))  # t = 1 is low and flat
        (tensor([True]), tensor([True]))
    """

    def __init__(self, decrease: float = 1e-4, curvature: float = 0.9, tries: int = 25):
        self.decrease, self.curvature = fraction("decrease", decrease), fraction("curvature", curvature)
        self.tries = count("tries", tries)
        if not decrease < curvature:
            raise ValueError(
                f"expected decrease < curvature; got decrease={decrease}, curvature={curvature}."
            )

    def begin(self, value: Tensor, slope: Tensor) -> State:
        """A search at φ(0) = value, φ′(0) = slope < 0, each (B,), whose first trial is t = 1."""
        zero = torch.zeros_like(value)
        near = {"near_t": zero, "near_value": value, "near_slope": slope}
        far = {"far_t": zero, "far_value": value, "far_slope": slope}
        ahead = torch.ones_like(value, dtype=torch.bool)
        return {"t": torch.ones_like(value), "slope": slope, **near, **far, "ahead": ahead, "tried": zero}

    def restart(self, search: State, rows: Tensor, value: Tensor, slope: Tensor) -> State:
        """`begin` where `rows`, (B,) bool, and the search as it was elsewhere."""
        return {
            **search,
            "t": search["t"].masked_fill(rows, 1.0),
            "slope": torch.where(rows, slope, search["slope"]),
            "near_t": search["near_t"].masked_fill(rows, 0.0),
            "near_value": torch.where(rows, value, search["near_value"]),
            "near_slope": torch.where(rows, slope, search["near_slope"]),
            "ahead": search["ahead"] | rows,
            "tried": search["tried"].masked_fill(rows, 0.0),
        }

    def judge(self, search: State, start: Tensor, value: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Which trials φ(t) = value, φ′(t) = slope are low enough for φ(0) = start, and which accepted."""
        ceiling = torch.add(start, start.abs(), alpha=ULPS * torch.finfo(value.dtype).eps)
        low = value <= ceiling.addcmul_(search["t"], search["slope"], value=self.decrease)
        flat = slope.abs() <= search["slope"] * -self.curvature
        return low, (flat | (search["tried"] >= self.tries)).logical_and_(low)

    def advance(
        self, search: State, start: Tensor, value: Tensor, slope: Tensor, low: Tensor
    ) -> tuple[State, Tensor]:
        """The search after trials that were not accepted, and which rows have failed."""
        t, near_t, near_value, near_slope = (search[k] for k in ("t", "near_t", "near_value", "near_slope"))
        far_t, far_value, far_slope, ahead = (search[k] for k in ("far_t", "far_value", "far_slope", "ahead"))
        better = (value <= near_value).logical_and_(low).logical_and_(slope.abs() < torch.inf)
        passed = (slope >= 0) == (far_t > near_t).logical_or_(ahead)  # the minimum lies between near and here
        back = ahead | passed
        far_t = torch.where(better, torch.where(back, near_t, far_t), t)
        far_value = torch.where(better, torch.where(back, near_value, far_value), value)
        far_slope = torch.where(better, torch.where(back, near_slope, far_slope), slope)
        near_t = torch.where(better, t, near_t)
        near_value = torch.where(better, value, near_value)
        near_slope = torch.where(better, slope, near_slope)
        ahead = (ahead > passed).logical_and_(better)

        span = far_t - near_t
        x = lowest_of_cubic(near_slope * span, far_slope * span, far_value - near_value)
        x = torch.where(ahead, x.clamp(*AHEAD), x.clamp(*BRACKETED))
        t, tried = torch.addcmul(near_t, x, span), search["tried"] + 1
        failed = tried >= self.tries
        if bool(failed.any()):  # the last trial is the lowest point there was, taken as it is
            t = torch.where(failed, near_t, t)
            failed = failed & ~(near_value < start)  # so said, a row of NaN has failed, too
        near = {"near_t": near_t, "near_value": near_value, "near_slope": near_slope}
        far = {"far_t": far_t, "far_value": far_value, "far_slope": far_slope}
        return {"t": t, "slope": search["slope"], **near, **far, "ahead": ahead, "tried": tried}, failed

    def search(
        self, problem: Problem, u: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The whole search at once: u, E(u) and ∇E(u) after the step, and which rows have failed.

        Rows that have failed have not moved. Only rows that go on searching are evaluated again.
        """
        rows, start, base = torch.arange(len(u), device=u.device), value, u
        u, value, gradient = u.clone(), value.clone(), gradient.clone()
        failures = torch.zeros_like(value, dtype=torch.bool)
        search = self.begin(value, dot(gradient, direction))
        while len(rows):
            trial = torch.addcmul(base, expand(search["t"], base), direction)
            new_value, new_gradient = problem.value_and_grad(trial)
            slope = dot(new_gradient, direction)
            low, accepted = self.judge(search, start, new_value, slope)
            done = rows[accepted]
            u[done], value[done] = trial[accepted], new_value[accepted]
            gradient[done] = new_gradient[accepted]
            if len(done) == len(rows):
                break
            search, failed = self.advance(search, start, new_value, slope, low)
            failures[rows] = failed & ~accepted
            left = (~(accepted | failed)).nonzero().flatten()
            if len(left) < len(rows):
                problem, rows = problem.rows(left), rows[left]
                start, base, direction = start[left], base[left], direction[left]
                search = {name: tensor[left] for name, tensor in search.items()}
        return u, value, gradient, failures


def falls(after: Tensor, before: Tensor) -> Tensor:
    """Where an energy is lower than before by more than rounding, (B,) bool."""
    return after < torch.sub(before, before.abs(), alpha=ULPS * torch.finfo(before.dtype).eps)


def lowest_of_cubic(slope_0: Tensor, slope_1: Tensor, rise: Tensor) -> Tensor:
    """Where the cubic c with c(0) = 0, c′(0) = slope_0, c(1) = rise, c′(1) = slope_1 has its minimum.

    x = 1 - (c′(1) + r - q) / (c′(1) - c′(0) + 2r),    q = c′(0) + c′(1) - 3 c(1),    r = √(q² - c′(0) c′(1))

    Meant for a bracket, c′(0) < 0 and c′(1) > 0 or c(1) >= 0, and for a way down toward x < 0, both c′ > 0;
    0 where x is NaN.
    """
    q = torch.sub(slope_0 + slope_1, rise, alpha=3)
    r = torch.addcmul(q * q, slope_0, slope_1, value=-1).clamp_(min=0).sqrt_()
    width = torch.add(slope_1 - slope_0, r, alpha=2).clamp_(min=torch.finfo(r.dtype).tiny)
    return (1 - (slope_1 + r - q) / width).nan_to_num_(0.0)

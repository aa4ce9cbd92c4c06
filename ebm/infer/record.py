"""The bookkeeping of a solve: each row's best point, why and when it stopped, and which rows are left.

    best_k = argmin_{j <= k} E(u_j)        per row; with constraints the least (violation, energy)

A row is written down the moment its test fires. Rows that are done are dropped from the batch once they are
an eighth of it (or frozen where the steps are differentiated), so a slow row costs the others nothing, and
the others cost it nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import Method, State
from ebm.infer.ranking import lower, without_nan
from ebm.problem import Problem
from ebm.rows import expand, flat
from ebm.signature import check_output
from ebm.solution import CONVERGED, Solution, Stop, Trace

DROP_SHARE = 0.125  # rows done, as a share of the batch, that make dropping them worth a copy


class Record:
    """What happened to every row of the full batch; `finished` once all of them have stopped."""

    def __init__(self, problem: Problem, method: Method, max_steps: int, trace: bool, unroll: bool):
        self.full, self.method, self.max_steps = problem, method, max_steps
        self.tracing, self.unroll = trace, unroll
        self.finished, self.checked = problem.full_batch == 0, False  # no rows are done at once

    def start(self, u: Tensor, state: State) -> None:
        """Begin with the state at the start."""
        batch = len(u)
        check_output(state["value"], batch, "the energy")
        if u.is_floating_point() and state["value"].dtype != u.dtype:
            raise TypeError(
                f"the free variables are {u.dtype} and the energy came out as {state['value'].dtype}: a "
                f"buffer or constant of another dtype. Convert one (y.to(dtype), energy.to(dtype))."
            )
        self.u, self.energy = state["u"].clone(), state["value"].clone()
        self.first_u, self.first_energy = state["u"], state["value"]
        self.first_violation = state.get("violation")
        self.last_u, self.best_u = state["u"], state["u"].clone()
        self.at_best = torch.zeros(batch, dtype=torch.bool, device=u.device)
        self.best, self.best_violation = without_nan(state["value"], self.first_violation)
        self.codes = torch.zeros(batch, dtype=torch.uint8, device=u.device)
        self.steps = torch.zeros(batch, dtype=torch.int64, device=u.device)
        self.gradient_norm = torch.full_like(self.energy, torch.nan) if "gradient_norm" in state else None
        self.report = {name: torch.full_like(state[name], torch.nan) for name in self.method.reports}
        self.live = torch.arange(batch, device=u.device)  # rows of the full batch that the state still holds
        self.done: Tensor | None = None  # of these, the ones that have stopped
        self.energies: list[Tensor] = []
        self.points: list[Tensor] = []

    def observe(self, state: State) -> None:
        """Keep the best point of every row, and the trace."""
        if not self.method.monotone:
            value = state["value"]
            violation = state.get("violation")
            better = lower(value, violation, self.best, self.best_violation)
            self.best = torch.where(better, value, self.best)
            if violation is not None and self.best_violation is not None:
                self.best_violation = torch.where(better, violation, self.best_violation)
            self._keep(self.at_best & ~better)
            self.at_best, self.last_u = better, state["u"]
        if self.tracing:
            going = self.live if self.done is None else self.live[~self.done]
            here = slice(None) if self.done is None else ~self.done
            self.energies.append(self.energy.index_copy(0, going, state["value"][here]))
            self.points.append(self.u.index_copy(0, going, state["u"][here]))

    def _keep(self, left: Tensor) -> None:
        """Copy the last points of rows that leave their best; those that only get better need no copy."""
        if left.device.type != "cpu":  # where looking for them would wait for the accelerator
            self.best_u = torch.where(expand(left, self.best_u), self.last_u, self.best_u)
        elif bool(left.any()):
            rows = left.nonzero().flatten()
            self.best_u.index_copy_(0, rows, self.last_u.index_select(0, rows))

    def mark_nonfinite(self, codes: Tensor, state: State, everywhere: bool) -> Tensor:
        """Add the code for rows whose energy or point is NaN or infinite (E may be +inf at the start).

        Looks at all rows `everywhere`, else at those alone whose test fired: a look at all costs as much as a
        step.
        """
        rows = torch.arange(len(codes), device=codes.device) if everywhere else codes.nonzero().flatten()
        u, value = (state[name] if everywhere else state[name][rows] for name in ("u", "value"))
        finite = torch.isfinite(flat(u).sum(1))  # far cheaper than a look at every entry
        if not bool(finite.all()):
            finite = torch.isfinite(flat(u)).all(1)
        bad = ~(torch.isfinite(value) & finite)
        if "gradient_norm" in state:  # there is no way on from a gradient that is NaN
            bad = bad | state["gradient_norm"][rows].isnan()
        if self.method.proximal or self.method.population:
            searching = (value == torch.inf) & finite & (codes[rows] == 0)  # on its way to where E is finite
            bad = bad & ~searching
        return codes.index_fill(0, rows[bad], int(Stop.NON_FINITE))

    def stop(self, problem: Problem, state: State, codes: Tensor, step: int) -> tuple[Problem, State]:
        """Write down the rows whose test fired (at the last step: all), and drop them where that pays."""
        if step == self.max_steps:
            codes = torch.where(codes == 0, torch.full_like(codes, int(Stop.MAX_STEPS)), codes)
        if self.done is not None:
            codes = codes.masked_fill(self.done, 0)
        fired = codes.nonzero().flatten()
        if not len(fired):
            return problem, state
        rows = self.live[fired]
        u, energy = self._result(state, fired, codes[fired])
        if self.unroll:
            self.u, self.energy = self.u.index_copy(0, rows, u), self.energy.index_copy(0, rows, energy)
        else:
            self.u[rows], self.energy[rows] = u, energy
        self.codes[rows], self.steps[rows] = codes[fired], step
        if self.gradient_norm is not None:
            self.gradient_norm[rows] = state["gradient_norm"][fired].detach()
        for name, entry in self.report.items():
            entry[rows] = state[name][fired].detach()
        self.done = (codes > 0) if self.done is None else self.done | (codes > 0)
        stopped = int(self.done.sum())
        self.finished = stopped == len(self.live)
        lost = bool((codes == int(Stop.NON_FINITE)).any())  # such a row would search in vain at every step
        if self.finished or self.unroll or (stopped < DROP_SHARE * len(self.live) and not lost):
            return problem, state
        return self._drop(problem, state)

    def _result(self, state: State, fired: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The point to return for rows that stop now: the last, unless an earlier one was truly better."""
        u, energy, violation = state["u"][fired], state["value"][fired], _of(state.get("violation"), fired)
        if self.method.monotone:
            return self._not_worse(u, energy, violation, fired)
        best, best_violation = self.best[fired], _of(self.best_violation, fired)
        best_u = torch.where(expand(self.at_best[fired], u), u, self.best_u[fired])
        rounding = 8 * torch.finfo(energy.dtype).eps * best.abs()
        if "slack" in state:  # by which a point can be lower for violating a constraint within its tolerance
            rounding = rounding + state["slack"][fired]
        settled = torch.isin(codes, torch.tensor(CONVERGED, dtype=torch.uint8, device=codes.device))
        last = settled & (energy <= best + rounding) & self._at_least_the_start(energy, violation, fired)
        if violation is not None and best_violation is not None:
            last = last & (violation <= best_violation)
        u, energy = torch.where(expand(last, u), u, best_u), torch.where(last, energy, best)
        return self._not_worse(u, energy, best_violation, fired)

    def _not_worse(
        self, u: Tensor, energy: Tensor, violation: Tensor | None, fired: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The start instead, where nothing finite and at least as good was found."""
        rows = self.live[fired]
        kept = torch.isfinite(energy) & self._at_least_the_start(energy, violation, fired)
        u = torch.where(expand(kept, u), u, self.first_u[rows])
        return u, torch.where(kept, energy, self.first_energy[rows])

    def _at_least_the_start(self, energy: Tensor, violation: Tensor | None, fired: Tensor) -> Tensor:
        rows = self.live[fired]
        return ~lower(self.first_energy[rows], _of(self.first_violation, rows), energy, violation)

    def _drop(self, problem: Problem, state: State) -> tuple[Problem, State]:
        """Go on with the rows that are left."""
        if self.done is None:
            return problem, state
        index = (~self.done).nonzero().flatten()
        smaller = problem.rows(index)
        if not self.checked:
            self._check_rows_alone(smaller, state, index)
        left = {name: tensor.index_select(0, index) for name, tensor in state.items()}
        if not self.method.monotone:
            self.last_u, self.best_u = left["u"], self.best_u.index_select(0, index)
            self.best, self.at_best = self.best[index], self.at_best[index]
            self.best_violation = _of(self.best_violation, index)
        self.live, self.done = self.live[index], None
        return smaller, left

    def _check_rows_alone(self, smaller: Problem, state: State, index: Tensor) -> None:
        """Once a solve: the rows that are left have the energies that they had among the others."""
        self.checked = True
        expected = state["value"][index]
        try:
            energy = smaller.value(state["u"][index])
            close = torch.finfo(energy.dtype).eps ** 0.5
            same = energy.shape == expected.shape and torch.allclose(
                energy, expected, rtol=close, atol=close, equal_nan=True
            )
        except RuntimeError as problem:
            raise _stale() from problem
        if not same:
            raise _stale()

    def freeze(self, state: State, proposed: State) -> State:
        """The proposed state with the rows that have stopped held where they were; keeps the graph."""
        if self.done is None:
            return proposed
        return {k: torch.where(expand(self.done, state[k]), state[k], new) for k, new in proposed.items()}

    def solution(self) -> Solution:
        """Everything that was written down, for the full batch."""
        converged = torch.isin(
            self.codes, torch.tensor(CONVERGED, dtype=torch.uint8, device=self.codes.device)
        )
        trace = Trace(torch.stack(self.energies), torch.stack(self.points)) if self.tracing else None
        return Solution(
            self.u,
            self.energy,
            converged,
            self.steps,
            self.codes,
            self.gradient_norm,
            None,
            trace,
            self.report,
        )


def _of(rows: Tensor | None, index: Tensor) -> Tensor | None:
    return None if rows is None else rows[index]


def _stale() -> ValueError:
    return ValueError(
        "when rows that had converged were dropped, the energy of the remaining rows changed. It uses "
        "tensors of B rows that it was not given (a captured tensor does not follow its rows), or mixes "
        "rows. Make every row-wise tensor a variable and pass it in `given`."
    )

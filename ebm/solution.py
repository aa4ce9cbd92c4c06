"""What a solve returns: the minimizer found, its energy, why each row stopped; and samples likewise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from torch import Tensor

Value = Tensor | dict[str, Tensor]


def one_tensor(value: Value) -> Tensor:
    """A value that is known to be one tensor: of a single free variable, or of all of them laid out flat."""
    if isinstance(value, dict):
        raise TypeError(f"expected one tensor, got values by name; choose one of {', '.join(value)}.")
    return value


class Stop(IntEnum):
    """Which test ended a row. Only `GRADIENT`, `STEP`, `SPREAD`, `EXHAUSTED` and `GOAL` count."""

    RUNNING = 0
    GRADIENT = 1  # the norm of the gradient (with a prox: of the generalized gradient) is at most tol
    STEP = 2  # no coordinate moved by more than tol
    SPREAD = 3  # a population collapsed to a point: not a proof of stationarity
    EXHAUSTED = 4  # every candidate was looked at: the global minimum of the set
    MAX_STEPS = 5
    STALLED = 6  # no step lowers the energy at this dtype's precision, and the gradient is above tol
    NON_FINITE = 7  # the energy or the point became NaN or infinite
    GOAL = 8  # a search found what its method counts as good enough

    @property
    def text(self) -> str:
        """The name as `Solution.reasons` prints it."""
        return self.name.lower().replace("_", " ")


CONVERGED = (Stop.GRADIENT, Stop.STEP, Stop.SPREAD, Stop.EXHAUSTED, Stop.GOAL)


@dataclass
class Trace:
    """Every step of a solve: `energy` (K + 1, B) and `value`, shaped as the solution's with K + 1 in front.

    Entry 0 is the start. A row that has stopped repeats its last entry.
    """

    energy: Tensor
    value: Value


@dataclass
class Solution:
    """The result of `minimize`; every entry has one item per row.

    Attributes:
        value: the best point found, a tensor or a dict of tensors like `over`, each (B, *shape).
        energy: the energy there, (B,); never above the energy of the start (of an allowed start, where there
            are constraints).
        converged: whether a stopping test was met, (B,) bool.
        steps: steps taken, (B,) int64.
        stopped_by: which test fired, (B,) uint8 codes of `Stop`; `reasons` spells them out.
        gradient_norm: ‖∇E‖₂ at the last point tested (with a prox, of the generalized gradient), (B,); None
            where the method has no gradient.
        violation: Σ_i max(0, constraint_i), (B,); None without `subject_to`.
        trace: the whole path, if `trace=True`.
        report: what else the method has to say of each row's last step, by name, each (B, ...); its
            docstring names the entries.
    """

    value: Value
    energy: Tensor
    converged: Tensor
    steps: Tensor
    stopped_by: Tensor
    gradient_norm: Tensor | None = None
    violation: Tensor | None = None
    trace: Trace | None = None
    report: dict[str, Tensor] = field(default_factory=dict)

    @property
    def reasons(self) -> list[str]:
        """`stopped_by` in words, a list of B."""
        return [Stop(code).text for code in self.stopped_by.tolist()]

    def __str__(self) -> str:
        counts = ", ".join(f"{n} by {reason}" for reason, n in Counter(self.reasons).most_common())
        energy = self.energy.detach()
        span = f"{energy.min():.6g} to {energy.max():.6g}" if len(energy) else "of no row"
        return (
            f"Solution: {int(self.converged.sum())} of {len(energy)} rows converged ({counts}); energy "
            f"{span}; at most {int(self.steps.max()) if len(energy) else 0} steps"
        )


class UnconvergedError(RuntimeError):
    """Raised on request (`raise_unconverged=True`) when a row did not converge; see its `solution`."""

    def __init__(self, solution: Solution):
        self.solution = solution
        rows = (~solution.converged).nonzero().flatten().tolist()
        shown = ", ".join(f"{r} ({solution.reasons[r]})" for r in rows[:5])
        super().__init__(
            f"{len(rows)} of {len(solution.energy)} rows did not converge: "
            f"{shown}{', ...' if len(rows) > 5 else ''}. Allow more max_steps, a larger tol or another step "
            "size; the exception's .solution holds the best points."
        )


@dataclass
class Samples:
    """The result of `sample`: N draws from p ∝ exp(-βE) for each of B chains.

    Attributes:
        value: the draws, (N, B, *shape), or a dict of them like `over`.
        accepted: share of proposals accepted in each chain, (B,); 1 for samplers without a test, and the mean
            chance of acceptance where a step looks at many points.
        divergent: proposals with a runaway energy error, (B,) int64.
        nonfinite: proposals (or, without a test, states) that were NaN or infinite, (B,) int64.
        energy: the energy of every draw, (N, B); None where the sampler does not evaluate it.
        report: what else the sampler has to say, means over the steps by name, each (B, ...); its docstring
            names the entries.
    """

    value: Value
    accepted: Tensor
    divergent: Tensor
    nonfinite: Tensor
    energy: Tensor | None = None
    report: dict[str, Tensor] = field(default_factory=dict)

    def __str__(self) -> str:
        shape = tuple(
            (self.value if isinstance(self.value, Tensor) else next(iter(self.value.values()))).shape
        )
        return (
            f"Samples: {shape[0]} draws of {shape[1]} chains; {self.accepted.mean():.1%} accepted, "
            f"{int(self.divergent.sum())} divergent, {int(self.nonfinite.sum())} non-finite"
        )

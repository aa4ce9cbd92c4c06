"""Minimization as a path that can be walked: where the method was at each step, and how high.

y_0 → y_1 → ... → y_K,        E(y_0), E(y_1), ..., E(y_K)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer import (
    FISTA,
    LBFGS,
    Adam,
    Armijo,
    GradientDescent,
    Momentum,
    Nesterov,
    Newton,
    ProximalGradient,
)
from ebm.infer import minimize as search
from ebm.infer.method import Method
from ebm.show.explorers.scene import array
from ebm.solution import Solution

MAX_STEPS, TOL = 120, 1e-6

SIZED = {  # methods that need a step size
    "gradient descent": GradientDescent,
    "momentum 0.9": Momentum,
    "Nesterov": Nesterov,
    "Adam": Adam,
}
FREE: dict[str, Method] = {  # methods that find theirs
    "gradient descent, Armijo's step": Armijo(),
    "L-BFGS": LBFGS(),
    "Newton": Newton(),
    "proximal gradient": ProximalGradient(),
    "FISTA": FISTA(),
}
METHODS = (*SIZED, *FREE)
ENDS = {
    "gradient": "the slope is zero",
    "step": "nothing moves any more",
    "stalled": "no step leads further down",
    "non finite": "it has left for infinity: the step size is too large",
    "max steps": f"after {MAX_STEPS} steps we look no further",
}


@dataclass(frozen=True, eq=False)
class Descent:
    """A path downhill.

    Args:
        points: where it was, (K + 1, 2), the start first.
        energies: how high, (K + 1,).
        converged: whether it found a place where it may stay.
        end: why it ended, in words.
    """

    points: np.ndarray
    energies: np.ndarray
    converged: bool
    end: str

    @property
    def last(self) -> int:
        """K, the number of its steps."""
        return len(self.points) - 1


def descend(
    energy: Energy, over: str, start: tuple[float, float], given: dict[str, Tensor], method: str, step: float
) -> Descent:
    """Minimize an energy over a variable of two numbers, and keep every step.

    Args:
        energy: of `over` and of what is given.
        over: the variable that is free.
        start: where to begin.
        given: one row of each other variable.
        method: one of `METHODS`.
        step: the step size of a method that needs one.

    Example:
        >>> from ebm.targets import Himmelblau
        >>> descent = descend(Himmelblau().double(), "y", (3.5, 2.5), {}, "Newton", 0.1)
        >>> descent.points[-1].round(6).tolist(), descent.end
        ([3.0, 2.0], 'the slope is zero')
    """
    tensors = (*energy.parameters(), *energy.buffers())
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float64)
    over_start = {over: torch.tensor([start], dtype=dtype)}
    how = SIZED[method](step) if method in SIZED else FREE[method]
    solution = search(energy, over_start, how, given=given, max_steps=MAX_STEPS, tol=TOL, trace=True)
    points, energies = _path(solution, over)
    reason = solution.reasons[0]
    return Descent(points, energies, bool(solution.converged[0]), ENDS.get(reason, reason))


def _path(solution: Solution, over: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and energies of the one row, up to its last step and before the first that isn't finite."""
    trace = solution.trace
    if trace is None or isinstance(trace.value, Tensor):
        raise ValueError("a path needs minimize(..., {name: start}, ..., trace=True).")
    steps = int(solution.steps[0]) + 1
    points, energies = array(trace.value[over][:steps, 0]), array(trace.energy[:steps, 0])
    finite = np.isfinite(energies) & np.isfinite(points).all(1)
    steps = steps if finite.all() else max(int(finite.argmin()), 1)
    return points[:steps], energies[:steps]

"""1,000 independent 10-D Rosenbrock problems to a gradient of 1e-5, each row on its own.

Starts: (-1.2, 1, -1.2, 1, ...) plus N(0, 0.1²), float64. The gradient is by autograd on our side and on
torch's, in closed form on scipy's. The check counts the rows whose greatest gradient entry is at most 1e-5.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.case import Case
from ebm import Energy, minimize
from ebm.infer import LBFGS

ROWS, DIM, TOL = 1000, 10, 1e-5


class Rosenbrock(Energy):
    """Σ_i 100 (y_{i+1} - y_i²)² + (1 - y_i)², by autograd."""

    def forward(self, y: Tensor) -> Tensor:
        return (100 * (y[:, 1:] - y[:, :-1] ** 2) ** 2 + (1 - y[:, :-1]) ** 2).sum(1)


def setup() -> dict[str, Any]:
    base = torch.ones(DIM, dtype=torch.float64)
    base[0::2] = -1.2
    noise = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return {"energy": Rosenbrock(), "start": base + 0.1 * noise}


def ours(state: dict[str, Any]) -> Tensor:
    value = minimize(state["energy"], state["start"], LBFGS(), tol=TOL).value
    if not isinstance(value, Tensor):
        raise TypeError("one free variable comes back as a tensor")
    return value


def all_at_once(state: dict[str, Any], torch_: ModuleType | None) -> Tensor:
    u = state["start"].clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [u],
        max_iter=5000,
        max_eval=10_000,
        tolerance_grad=TOL,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = state["energy"](y=u).sum()
        total.backward()
        return total

    optimizer.step(loss)
    return u.detach()


def value_and_slope(y: np.ndarray) -> tuple[float, np.ndarray]:
    """The function and its gradient at one point."""
    head = y[:-1]
    a, b = y[1:] - head * head, 1 - head
    slope = np.zeros_like(y)
    slope[1:] = 200 * a
    slope[:-1] -= 2 * (200 * a * head + b)
    return float(100 * a @ a + b @ b), slope


def one_by_one(state: dict[str, Any], optimize: Any) -> Tensor:
    options = {"gtol": TOL, "ftol": 0, "maxiter": 1000}
    found = [
        optimize.minimize(value_and_slope, row, jac=True, method="L-BFGS-B", options=options).x
        for row in state["start"].numpy()
    ]
    return torch.from_numpy(np.stack(found))


def converged(state: dict[str, Any], y: Tensor) -> dict[str, float]:
    slopes = np.stack([value_and_slope(row)[1] for row in y.numpy()])
    return {"rows converged": float((np.abs(slopes).max(1) <= TOL).sum()), "rows": float(len(y))}


def objection(our: Any, their: Any) -> str:
    missing = our["rows"] - our["rows converged"]
    return f"{missing:.0f} of our rows did not converge" if missing else ""


CASES = [
    Case(
        "1,000 Rosenbrock problems in 10-D, against torch.optim.LBFGS on all at once",
        ours,
        all_at_once,
        setup,
        converged,
        objection,
        peer="torch",
        at_least=4.0,
    ),
    Case(
        "1,000 Rosenbrock problems in 10-D, against a loop over scipy's L-BFGS-B",
        ours,
        one_by_one,
        setup,
        converged,
        objection,
        peer="scipy.optimize",
        at_least=8.0,
    ),
]

"""What `minimize` costs beyond the loop that one would write by hand: time for its bookkeeping, and memory.

Energy: E(y) = ½ Σ a y², a from 0.01 to 1, gradient by autograd on both sides; steps of 0.5 from y = 1. The
tolerance is 0, so that both sides take every step; both test the gradient's norm at each.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case
from ebm import Energy, minimize
from ebm.infer import GradientDescent

STEPS, STEP_SIZE = 2000, 0.5


class Quadratic(Energy):
    """E(y) = ½ Σ a y²."""

    a: Tensor  # (D,)

    def __init__(self, a: Tensor):
        super().__init__()
        self.register_buffer("a", a)

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (self.a * y**2).sum(1)  # (B, D) -> (B,)


def problem(rows: int, dim: int) -> dict[str, Any]:
    a = torch.linspace(0.01, 1, dim, dtype=torch.float64)
    return {"energy": Quadratic(a), "a": a, "y": torch.ones(rows, dim, dtype=torch.float64)}


def one_row() -> dict[str, Any]:
    return problem(1, 10)


def many_rows() -> dict[str, Any]:
    return problem(20_000, 50)  # 8 MB a point


def ours(state: dict[str, Any], steps: int = STEPS) -> Any:
    return minimize(state["energy"], state["y"], GradientDescent(STEP_SIZE), max_steps=steps, tol=0.0).value


def by_hand(state: dict[str, Any], _: ModuleType | None) -> Tensor:
    a, y = state["a"], state["y"]
    ones = torch.ones(len(y), dtype=y.dtype)
    for _step in range(STEPS):
        leaf = y.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(0.5 * (a * leaf**2).sum(1), leaf, ones)
        if bool((gradient.norm(dim=1) <= 0).all()):
            break
        y = y - STEP_SIZE * gradient
    return y


def many_steps(state: dict[str, Any]) -> Any:
    return ours(state, 100)


def few_steps(state: dict[str, Any], _: ModuleType | None) -> Any:
    return ours(state, 10)


def energy_reached(state: dict[str, Any], y: Tensor) -> dict[str, float]:
    return {"energy": float(0.5 * (state["a"] * y**2).sum(1).mean())}


def differ(first: Any, second: Any) -> str:
    same = abs(first["energy"] - second["energy"]) <= 1e-12 * second["energy"]
    return "" if same else f"the energies reached differ: {first['energy']} and {second['energy']}"


CASES = [
    Case(
        "2,000 steps of one row, against a hand-written loop",
        ours,
        by_hand,
        one_row,
        energy_reached,
        differ,
        unit="cpu s",
        at_most=1.5,
    ),
    Case(
        "memory of 100 steps, against 10 steps",
        many_steps,
        few_steps,
        many_rows,
        energy_reached,
        unit="MiB",
        at_most=1.1,
    ),
]

"""Checks of chapter 02: descent with a verdict for every row, the heavy ball, the energy of a Sudoku."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape

Gradient = Callable[[Tensor], Tensor]
Verdict = Callable[[Tensor, float], Tensor]


def _bowl(seed: int) -> tuple[Gradient, Tensor]:
    """The gradient of a bowl, and five starts at very different distances from its minimum."""
    generator = torch.Generator().manual_seed(seed)
    curvatures = 0.5 + 1.5 * torch.rand(3, generator=generator)
    sizes = torch.tensor([10.0, 0.3, 1e-3, 1.0, 0.02]).unsqueeze(1)
    return lambda y: curvatures * y, sizes * torch.randn(5, 3, generator=generator)


def _own(slope: Tensor, tol: float) -> Tensor:
    return slope.norm(dim=1) > tol


def _whole_batch(slope: Tensor, tol: float) -> Tensor:
    return (slope.norm(dim=1).mean() > tol).expand(len(slope))


def _slowest(slope: Tensor, tol: float) -> Tensor:
    return (slope.norm(dim=1).max() > tol).expand(len(slope))


def _squared(slope: Tensor, tol: float) -> Tensor:
    return slope.square().sum(1) > tol


def _descend(
    gradient: Gradient, y: Tensor, t: float, tol: float, rounds: int, verdict: Verdict = _own
) -> tuple[Tensor, Tensor]:
    steps = torch.zeros(len(y), dtype=torch.long)
    for _ in range(rounds):
        slope = gradient(y)
        moving = verdict(slope, tol)
        y = torch.where(moving[:, None], y - t * slope, y)
        steps = steps + moving
    return y, steps


def check_descend(descend: Callable[..., Any]) -> None:
    """Every row stops at its own first gradient of norm <= tol, and stays there."""
    for seed in range(3):
        gradient, start = _bowl(seed)
        kept, tol, rounds = start.clone(), 0.01, 25
        found = descend(gradient, start, 0.3, tol, rounds)
        require(
            isinstance(found, tuple) and len(found) == 2,
            "descend must return two tensors: the last y, and the steps of each row.",
        )
        y, steps = found
        require_shape(y, (5, 3), "descend (the last y)")
        require_shape(steps, (5,), "descend (the steps)")
        require_close(
            start, kept, "descend must not change the y that it is given: write y = ..., not y -= ..."
        )
        right, right_steps = _descend(gradient, start, 0.3, tol, rounds)
        uphill, _ = _descend(gradient, start, -0.3, tol, rounds)
        refuse(y, uphill, "This goes uphill: a step is minus the gradient, the sign is turned.")
        for verdict, message in (
            (
                _whole_batch,
                "The mean of the gradients stops the whole batch: each row needs its own verdict.",
            ),
            (_slowest, "A row that has arrived must stop: here all go on until the slowest row is done."),
            (_squared, "This compares the square of the gradient's norm with tol; take the norm."),
        ):
            slip, slip_steps = _descend(gradient, start, 0.3, tol, rounds, verdict)
            refuse(steps.double(), slip_steps.double(), message, right=right_steps.double())
            refuse(y, slip, message, right=right)
        require_close(
            y, right, "The last y differs: rows move by -step_size · gradient until their own norm is <= tol."
        )
        refuse(
            steps,
            right_steps + 1,
            "One step too many is counted: a row whose gradient is small at the start takes none.",
        )
        require_close(
            steps.double(),
            right_steps.double(),
            "y is right, but the steps are not: count a row only while it moves.",
        )


def check_heavy_ball(heavy_ball: Callable[..., Tensor]) -> None:
    """m ← μ m - t ∇E(y), y ← y + m."""

    def run(gradient: Gradient, y: Tensor, slip: str = "") -> Tensor:
        m = torch.zeros_like(y)
        for _ in range(9):
            at = y + mu * m if slip == "ahead" else y
            m = (0.0 if slip == "forgets" else mu) * m - (
                1 - mu if slip == "average" else 1.0
            ) * t * gradient(at)
            y = y - m if slip == "sign" else y + m
        return y

    for seed in range(3):
        (gradient, start), t, mu = _bowl(seed), 0.2, 0.6
        found, kept = heavy_ball(gradient, start.clone(), t, mu, 9), start.clone()
        require_shape(found, (5, 3), "heavy_ball")
        refuse(
            found,
            run(gradient, start, "sign"),
            "This goes uphill: the sign of the gradient or of the velocity is turned.",
        )
        refuse(
            found,
            run(gradient, start, "forgets"),
            "The velocity is forgotten: this is plain gradient descent. Keep m from step to step.",
        )
        refuse(
            found,
            run(gradient, start, "average"),
            "This averages gradients, with weight 1 - μ; the heavy ball adds the full step t ∇E.",
        )
        refuse(
            found,
            run(gradient, start, "ahead"),
            "This is Nesterov's method, with the gradient ahead; the heavy ball takes it at the point.",
        )
        require_close(
            found, run(gradient, kept), "y differs from nine steps of m ← μ m - t ∇E(y), y ← y + m."
        )


def check_conflicts(conflicts: Callable[[Tensor, Tensor], Tensor]) -> None:
    """E = Σ over pairs of q_c · q_c'."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        q = torch.softmax(torch.randn(4, 6, 3, generator=generator), 2)
        sees = torch.randint(0, 2, (6, 6), generator=generator).triu(1)
        sees = (sees + sees.T).double()
        pairs = [(a, b) for a in range(6) for b in range(a) if sees[a, b]]
        right = sum((q[:, a] * q[:, b]).sum(1) for a, b in pairs)
        everyone = sum((q[:, a] * q[:, b]).sum(1) for a in range(6) for b in range(a))
        found = conflicts(q, sees)
        require_shape(found, (4,), "conflicts")
        refuse(found, 2 * right, "Every pair is counted twice, once from each side: take half.")
        refuse(found, -right, "The sign is turned: fields that agree must cost energy.")
        refuse(
            found,
            everyone,
            "All pairs are counted; only fields that see each other can conflict.",
            right=right,
        )
        refuse(found, right / 18, "This is a mean over fields and digits; sum them.")
        require_close(
            found, right, "The energy differs from the sum of q_c · q_c' over the pairs that see each other."
        )


CHECKS = {"descend": check_descend, "heavy_ball": check_heavy_ball, "conflicts": check_conflicts}

"""Langevin sampling beside the loop that one would write by hand, and beside torchebm; float32, one thread.

x ← x - ε ∇E(x) + √(2ε) ξ, ε = 0.01. The hand-written loop has the same arithmetic, generator and test for
finite states; only the last state is kept on all sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn
from torch import Tensor

from benchmarks import sampled
from benchmarks.case import Case
from ebm import sample
from ebm.infer import Langevin

STEP = 0.01


def ours(steps: int, compile: bool = False) -> Callable[[dict[str, Any]], Tensor]:
    def run(state: dict[str, Any]) -> Tensor:
        g = sampled.seeded()
        draws = sample(
            state["energy"],
            state["x"],
            Langevin(STEP),
            num_samples=1,
            burn_in=steps - 10,
            thin=10,
            generator=g,
            compile=compile,
        )
        return draws.value[0]  # type: ignore[index]

    return run


def by_hand(steps: int) -> Callable[[dict[str, Any], None], Tensor]:
    def run(state: dict[str, Any], _: None) -> Tensor:
        energy, x, g = state["energy"], state["x"], sampled.seeded()
        noise, ones, scale = torch.empty_like(x), torch.ones(len(x)), math.sqrt(2 * STEP)
        for step in range(steps):
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy.forward(leaf), leaf, ones)
            noise.normal_(generator=g)
            x = torch.add(x, gradient, alpha=-STEP).add_(noise, alpha=scale)
            sampled.check_finite(step, x)
        return x

    return run


def by_torchebm(steps: int) -> Callable[[dict[str, Any], Any], Tensor]:
    def run(state: dict[str, Any], samplers: Any) -> Tensor:
        import torchebm

        sampler = samplers.LangevinDynamics(sampled.peer_energy(state, torchebm), step_size=STEP)
        return sampler.sample(x=state["x"], n_steps=steps, generator=sampled.seeded())

    return run


CASES = [
    *sampled.beside_loops("Langevin", ours, by_hand, (1000, 100, 100)),
    Case(
        "Langevin, double well, 10,000 chains, compiled, against torchebm",
        ours(1000, compile=True),
        by_torchebm(1000),
        sampled.start(sampled.DoubleWell, 10_000),
        sampled.second_moment,
        peer="torchebm.samplers",
        unit="cpu s",
        at_least=3.0,
    ),
]

"""Hamiltonian Monte Carlo beside the loop that one would write by hand, and beside torchebm.

float32, one thread, 10 leapfrog steps of 0.1 a proposal. Ours and the loop spend 10 gradients on it, as the
gradient at the current point is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import sampled
from benchmarks.case import Case
from ebm import sample
from ebm.infer import HMC

STEP, LEAPFROGS = 0.1, 10


def ours(steps: int) -> Callable[[dict[str, Any]], Tensor]:
    def run(state: dict[str, Any]) -> Tensor:
        g = sampled.seeded()
        draws = sample(
            state["energy"], state["x"], HMC(STEP, LEAPFROGS), num_samples=1, burn_in=steps - 1, generator=g
        )
        return draws.value[0]  # type: ignore[index]

    return run


def by_hand(steps: int) -> Callable[[dict[str, Any], None], Tensor]:
    def run(state: dict[str, Any], _: None) -> Tensor:
        energy, x, g = state["energy"], state["x"], sampled.seeded()
        kick, uniform, ones = torch.empty_like(x), torch.empty(len(x)), torch.ones(len(x))

        def look(at: Tensor) -> tuple[Tensor, Tensor]:
            leaf = at.detach().requires_grad_()
            value = energy.forward(leaf)
            return value.detach(), torch.autograd.grad(value, leaf, ones)[0]

        value, gradient = look(x)
        for step in range(steps):
            kick.normal_(generator=g)
            uniform.uniform_(generator=g)
            momentum, y = torch.add(kick, gradient, alpha=-STEP / 2), x
            for leap in range(LEAPFROGS):
                y = torch.add(y, momentum, alpha=STEP)
                there, slope = look(y)
                momentum = torch.add(momentum, slope, alpha=-STEP if leap < LEAPFROGS - 1 else -STEP / 2)
            error = value - there + 0.5 * (kick.pow(2).sum(1) - momentum.pow(2).sum(1))
            accepted = uniform < torch.exp(error)
            rows = accepted.unsqueeze(1)
            x, gradient = torch.where(rows, y, x), torch.where(rows, slope, gradient)
            value = torch.where(accepted, there, value)
            sampled.check_finite(step, x)
        return x

    return run


def by_torchebm(steps: int) -> Callable[[dict[str, Any], Any], Tensor]:
    def run(state: dict[str, Any], samplers: Any) -> Tensor:
        import torchebm

        model = sampled.peer_energy(state, torchebm)
        sampler = samplers.HamiltonianMonteCarlo(model, step_size=STEP, n_leapfrog_steps=LEAPFROGS)
        return sampler.sample(x=state["x"], n_steps=steps, generator=sampled.seeded())

    return run


STEPS = (50, 5, 10)
CASES = sampled.beside_loops("HMC", ours, by_hand, STEPS) + [
    Case(
        f"HMC, {name}, against torchebm",
        ours(steps),
        by_torchebm(steps),
        sampled.start(energy, chains),
        sampled.second_moment,
        peer="torchebm.samplers",
        unit="cpu s",
        at_least=1.8,
    )
    for (name, (energy, chains)), steps in zip(sampled.ENERGIES.items(), STEPS, strict=True)
    if energy is not sampled.EightModes
]

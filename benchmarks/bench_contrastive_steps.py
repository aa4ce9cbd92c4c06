"""Training steps of contrastive losses beside torchebm's: a network 2-128-128-1 in a bowl, batches of 256.

A step is the loss and its gradient; each timing takes 50 on both sides, with the same settings, chains and
noise. torchebm adds 0.001 ⟨E²⟩ to contrastive divergence, so does this package here. The check is the mean of
the loss; the losses of score matching are equal but for the direction of random probes. Denoising score
matching leaves out its report of the energy gap, one more look at the data, which torchebm doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import sampled
from benchmarks.case import Answers, Case, no_objection
from ebm.contrastive import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    PersistentContrastiveDivergence,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
)
from ebm.infer import Langevin
from ebm.infer.starts import Normal
from ebm.loss import Loss

BATCH, STEPS, STEP_SIZE, CHAIN, SQUARES, NOISE = 256, 50, 0.01, 10, 0.001, 0.1


def setup() -> dict[str, Any]:
    return {
        "energy": sampled.Network(),
        "batches": torch.randn(STEPS, BATCH, 2, generator=sampled.seeded()),
    }


def walked(state: dict[str, Any], loss: Callable[[Tensor], Tensor]) -> float:
    """Take the steps; the mean loss."""
    total, energy = 0.0, state["energy"]
    for y in state["batches"]:
        energy.zero_grad(set_to_none=True)
        value = loss(y)
        value.backward()
        total += float(value.detach())
    return total / STEPS


def ours(make: Callable[[], Loss]) -> Callable[[dict[str, Any]], float]:
    def run(state: dict[str, Any]) -> float:
        loss, generator = make(), sampled.seeded()
        return walked(state, lambda y: loss(state["energy"], generator, y=y).loss)

    return run


def theirs(make: Callable[[Any, Any, Any], Any]) -> Callable[[dict[str, Any], Any], float]:
    def run(state: dict[str, Any], losses: Any) -> float:
        import torchebm
        import torchebm.samplers

        energy = sampled.peer_energy(state, torchebm)
        loss, generator = make(losses, energy, torchebm.samplers), sampled.seeded()

        def value(y: Tensor) -> Tensor:
            found = loss(y, generator=generator)
            return found[0] if isinstance(found, tuple) else found

        return walked(state, value)

    return run


def chains(losses: Any, energy: Any, samplers: Any, persistent: bool) -> Any:
    return losses.ContrastiveDivergence(
        energy,
        samplers.LangevinDynamics(energy, step_size=STEP_SIZE),
        k_steps=CHAIN,
        persistent=persistent,
        init_steps=0,
        energy_reg_weight=SQUARES,
    )


def persistent() -> Loss:
    buffer = ReplayBuffer(Normal(2), 10_000, fresh=0.05)
    return PersistentContrastiveDivergence(Langevin(STEP_SIZE), buffer, CHAIN, squares=SQUARES)


def mean(state: dict[str, Any], loss: float) -> Answers:
    return {"mean loss": loss}


def unequal(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["mean loss"], theirs["mean loss"]
    return "" if abs(mine - other) <= 1e-4 * abs(other) else f"loss {mine:.6g} here, {other:.6g} there"


def case(
    name: str,
    mine: Callable[[], Loss],
    other: Callable[[Any, Any, Any], Any],
    at_least: float = 1.0,
    objection: Callable[[Answers, Answers], str] = no_objection,
) -> Case:
    return Case(
        f"{STEPS} steps of {name}, against torchebm",
        ours(mine),
        theirs(other),
        setup,
        mean,
        objection,
        peer="torchebm.losses",
        distribution="torchebm",
        unit="cpu s",
        at_least=at_least,
    )


CASES = [
    case(
        "contrastive divergence, 10 Langevin steps",
        lambda: ContrastiveDivergence(Langevin(STEP_SIZE), CHAIN, squares=SQUARES),
        lambda losses, energy, samplers: chains(losses, energy, samplers, False),
    ),
    case(
        "persistent contrastive divergence",
        persistent,
        lambda losses, energy, samplers: chains(losses, energy, samplers, True),
    ),
    case(
        "exact score matching",
        ScoreMatching,
        lambda losses, energy, samplers: losses.ScoreMatching(energy, hessian_method="exact"),
        1.5,
        unequal,
    ),
    case(
        "sliced score matching",
        lambda: SlicedScoreMatching(),
        lambda losses, energy, samplers: losses.SlicedScoreMatching(energy, n_projections=1),
    ),
    case(
        "denoising score matching",
        lambda: DenoisingScoreMatching(NOISE, show_gap=False),
        lambda losses, energy, samplers: losses.DenoisingScoreMatching(energy, noise_scale=NOISE),
    ),
]

"""ebmkit's side: each piece of work by its name, `WORK[name](state, ebm) -> answers`.

This file runs in a Python of its own, where `ebm` is ebmkit's; it comes as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from benchmarks import ebmkit_inputs as inputs
from benchmarks.ebmkit_inputs import BATCH, CHAIN, LEVELS, NOISE, PARTICLES, SQUARES, STEP_SIZE

State = dict[str, Any]
Work = Callable[[State, Any], dict[str, float]]


def trains(
    loss: Callable[[Any], Any],
    energy: Callable[[State, Any], nn.Module],
    batches: str = "batches",
    scale: float = 1.0,
    shift: float = 0.0,
) -> Work:
    """Steps of a loss on an energy; `scale` and `shift` turn it into what ours is."""

    def run(state: State, ebm: Any) -> dict[str, float]:
        criterion, model = loss(ebm), energy(state, ebm)
        torch.manual_seed(1)

        def value(y: Tensor) -> Tensor:
            if isinstance(criterion, ebm.ContrastiveDivergence) and criterion.buffer is None:
                criterion.init_fn = lambda shape: y  # its chains begin at noise unless told otherwise
            found: Tensor = criterion(model, y).loss
            return scale * found + shift

        return inputs.trained(model.parameters(), state[batches], value)

    return run


def plain(state: State, ebm: Any) -> nn.Module:
    model: nn.Module = state["energy"]
    return model


def noisy(state: State, ebm: Any) -> nn.Module:
    model: nn.Module = state["noisy"]
    return model


def lattice(state: State, ebm: Any) -> nn.Module:
    return inputs.Lattice()


def rbm(state: State, ebm: Any) -> Any:
    model = ebm.nets.RBM(inputs.SEEN, inputs.HIDDEN)
    with torch.no_grad():
        for parameter, start in zip((model.W, model.b, model.c), state["rbm"], strict=True):
            parameter.copy_(start)
    return model


def jem(state: State, ebm: Any) -> dict[str, float]:
    part = ebm.ContrastiveDivergence(ebm.LangevinDynamics(STEP_SIZE, steps=CHAIN), energy_reg=SQUARES)
    loss, energy = ebm.JEMLoss(part), ebm.ClassifierEnergy(state["net"])
    torch.manual_seed(1)

    def value(x: Tensor, y: Tensor) -> Tensor:
        part.init_fn = lambda shape: x
        found: Tensor = loss(energy, x, y).loss
        return found

    return inputs.trained(energy.parameters(), state["batches"], value)


def persistent(ebm: Any) -> Any:
    buffer = ebm.ReplayBuffer(10_000, (2,))
    return ebm.ContrastiveDivergence(ebm.LangevinDynamics(STEP_SIZE, steps=CHAIN), buffer, energy_reg=SQUARES)


def walks(make: Callable[[Any], Any], steps: int) -> Work:
    """Chains that take so many steps; the last state counts."""

    def run(state: State, ebm: Any) -> dict[str, float]:
        torch.manual_seed(1)
        return inputs.moment(make(ebm).sample(state["energy"], state["y"], steps=steps))

    return run


def nuts(state: State, ebm: Any) -> dict[str, float]:
    torch.manual_seed(1)
    method = ebm.NUTS(0.25, warmup=0, max_depth=8)
    path = method.sample(state["energy"], state["y"], steps=150, return_trajectory=True)
    return inputs.worth(path[51:])


def flips(state: State, ebm: Any) -> dict[str, float]:
    return _settled(ebm.GibbsWithGradients(), inputs.Lattice(), state["lattices"][0])


def recolors(state: State, ebm: Any) -> dict[str, float]:
    return _settled(ebm.CategoricalGibbsWithGradients(), inputs.Lattice(one_hot=True), state["colors"])


def blocks(state: State, ebm: Any) -> dict[str, float]:
    return _settled(ebm.GibbsSampler(1), rbm(state, ebm), state["batches"][0])


def _settled(method: Any, energy: nn.Module, y: Tensor) -> dict[str, float]:
    torch.manual_seed(1)
    return {"mean energy": float(energy(method.sample(energy, y, steps=300)).detach().mean())}


def annealed(state: State, ebm: Any) -> dict[str, float]:
    torch.manual_seed(1)
    method = ebm.AnnealedLangevinDynamics(ebm.geometric_sigmas(*LEVELS), 2e-5)  # twice our ε
    return inputs.moment(method.sample(state["noisy"], state["y"], steps=20))


def particles(state: State, ebm: Any) -> dict[str, float]:
    method = ebm.SVGD(0.1, bandwidth=0.5**0.5)  # its kernel is exp(-d²/2h²), ours exp(-d²/h)
    return inputs.moment(method.sample(state["energy"], state["y"], steps=100))


def partition(state: State, ebm: Any) -> dict[str, float]:
    torch.manual_seed(1)
    found = ebm.ais_log_z(
        state["energy"],
        (2,),
        base=Independent(Normal(torch.zeros(2), 3.0), 1),
        n_temps=100,
        n_chains=BATCH,
        sampler=ebm.HMC(0.2, 5, 1),
        adapt_step_size=False,
    )
    return {"log Z": found.log_z}


def tempering(ebm: Any) -> Any:
    return ebm.ParallelTempering(ebm.MALA(0.05), (1.0, 2.0, 4.0, 8.0))


WORK: dict[str, Work] = {
    "cd": trains(
        lambda ebm: ebm.ContrastiveDivergence(ebm.LangevinDynamics(STEP_SIZE, CHAIN), energy_reg=SQUARES),
        plain,
    ),
    "pcd": trains(persistent, plain),
    "exact": trains(lambda ebm: ebm.ExactScoreMatching(), plain),
    "sliced": trains(lambda ebm: ebm.SlicedScoreMatching(), plain),
    "denoising": trains(lambda ebm: ebm.DenoisingScoreMatching(NOISE), plain),
    "levels": trains(lambda ebm: ebm.MultiSigmaDenoisingScoreMatching(ebm.geometric_sigmas(*LEVELS)), noisy),
    "discrepancy": trains(
        lambda ebm: ebm.EnergyDiscrepancy(NOISE, PARTICLES), plain, shift=-math.log(PARTICLES)
    ),
    "nce": trains(
        lambda ebm: ebm.NoiseContrastiveEstimation(Independent(Normal(torch.zeros(2), 1.0), 1)), plain
    ),
    "jem": jem,
    "pseudo": trains(lambda ebm: ebm.PseudoLikelihood(), rbm, scale=inputs.SEEN),
    "ising": trains(lambda ebm: ebm.PseudoLikelihood(), lattice, "lattices", scale=inputs.SEEN),
    "ratio": trains(lambda ebm: ebm.RatioMatching(), rbm),
    "flips cd": trains(lambda ebm: ebm.ContrastiveDivergence(ebm.GibbsWithGradients(CHAIN)), rbm),
    "langevin": walks(lambda ebm: ebm.LangevinDynamics(STEP_SIZE), 500),
    "underdamped": walks(lambda ebm: ebm.UnderdampedLangevin(0.05), 500),
    "mala": walks(lambda ebm: ebm.MALA(0.05), 300),
    "hmc": walks(lambda ebm: ebm.HMC(0.1, 10), 50),
    "nuts": nuts,
    "tempering": walks(tempering, 200),
    "flips": flips,
    "recolors": recolors,
    "blocks": blocks,
    "annealed": annealed,
    "particles": particles,
    "partition": partition,
}

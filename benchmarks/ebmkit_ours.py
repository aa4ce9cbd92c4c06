"""Our side of the comparison with ebmkit: each piece of work by its name, `WORK[name](state) -> answers`.

Denoising losses leave out the energy gap here, one more look at the data, which ebmkit doesn't report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import ebmkit_inputs as inputs
from benchmarks.ebmkit_inputs import BATCH, CHAIN, LEVELS, NOISE, PARTICLES, SQUARES, STEP_SIZE
from ebm import Energy, sample
from ebm.contrastive import (
    NCE,
    AnnealedScoreMatching,
    BernoulliRBM,
    ClassifierEnergy,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    JEMLoss,
    PersistentContrastiveDivergence,
    PseudoLikelihood,
    RatioMatching,
    ReplayBuffer,
    ScoreMatching,
    SlicedScoreMatching,
    geometric_levels,
)
from ebm.infer import (
    HMC,
    MALA,
    NUTS,
    BlockGibbs,
    GibbsWithGradients,
    Langevin,
    ParallelTempering,
    UnderdampedLangevin,
    annealed_langevin,
    log_partition,
    svgd,
)
from ebm.infer.sampler import Sampler
from ebm.infer.starts import Normal
from ebm.loss import Loss
from ebm.solution import one_tensor
from ebm.targets import Gaussian

State = dict[str, Any]
Work = Callable[[State], dict[str, float]]


class Plain(Energy):
    """A module of y as an energy."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, y: Tensor) -> Tensor:
        value: Tensor = self.module.forward(y)
        return value


class Noisy(Energy):
    """A module of y and the scale of its noise as an energy."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = self.module.forward(y, sigma)
        return value


def trains(loss: Callable[[], Loss], energy: Callable[[State], Energy], batches: str = "batches") -> Work:
    """Steps of a loss on an energy."""

    def run(state: State) -> dict[str, float]:
        criterion, g, model = loss(), inputs.seeded(), energy(state)
        return inputs.trained(model.parameters(), state[batches], lambda y: criterion(model, g, y=y).loss)

    return run


def plain(state: State) -> Energy:
    return Plain(state["energy"])


def noisy(state: State) -> Energy:
    return Noisy(state["noisy"])


def lattice(state: State) -> Energy:
    return Plain(inputs.Lattice())


def rbm(state: State) -> BernoulliRBM:
    model = BernoulliRBM(inputs.SEEN, inputs.HIDDEN)
    weight, seen, hidden = state["rbm"]
    with torch.no_grad():
        model.weight.copy_(weight.T)
        model.visible_bias.copy_(seen)
        model.hidden_bias.copy_(hidden)
    return model


def free(state: State) -> Energy:
    return rbm(state).free_energy


def jem(state: State) -> dict[str, float]:
    part = ContrastiveDivergence(Langevin(STEP_SIZE), CHAIN, variable="x", squares=SQUARES)
    loss, energy, g = JEMLoss(part), ClassifierEnergy(state["net"]), inputs.seeded()
    return inputs.trained(energy.parameters(), state["batches"], lambda x, y: loss(energy, g, x=x, y=y).loss)


def persistent() -> Loss:
    buffer = ReplayBuffer(Normal(2), 10_000, fresh=0.05)
    return PersistentContrastiveDivergence(Langevin(STEP_SIZE), buffer, CHAIN, squares=SQUARES)


def walks(method: Sampler, steps: int) -> Work:
    """Chains that take so many steps; the last state counts."""

    def run(state: State) -> dict[str, float]:
        draws = sample(
            plain(state), state["y"], method, num_samples=1, burn_in=steps - 1, generator=inputs.seeded()
        )
        return inputs.moment(one_tensor(draws.value)[0])

    return run


def nuts(state: State) -> dict[str, float]:
    draws = sample(
        plain(state),
        state["y"],
        NUTS(0.25, max_depth=8),
        num_samples=100,
        burn_in=50,
        generator=inputs.seeded(),
    )
    return inputs.worth(one_tensor(draws.value))


def flips(state: State) -> dict[str, float]:
    energy, y = lattice(state), state["lattices"][0]
    draws = sample(energy, y, GibbsWithGradients(), num_samples=1, burn_in=299, generator=inputs.seeded())
    return {"mean energy": float(energy(y=one_tensor(draws.value)[0]).detach().mean())}


def recolors(state: State) -> dict[str, float]:
    energy, y, method = Plain(inputs.Lattice(one_hot=True)), state["colors"], GibbsWithGradients(one_hot=True)
    draws = sample(energy, y, method, num_samples=1, burn_in=299, generator=inputs.seeded())
    return {"mean energy": float(energy(y=one_tensor(draws.value)[0]).detach().mean())}


def blocks(state: State) -> dict[str, float]:
    model, y = rbm(state), state["batches"][0]
    start = {"y": y, "z": y.new_zeros(BATCH, inputs.HIDDEN)}
    value = sample(model, start, BlockGibbs(), num_samples=1, burn_in=299, generator=inputs.seeded()).value
    assert isinstance(value, dict)
    return {"mean energy": float(model.free_energy(y=value["y"][0]).detach().mean())}


def annealed(state: State) -> dict[str, float]:
    draws = annealed_langevin(
        noisy(state),
        state["y"],
        geometric_levels(*LEVELS),
        step_size=1e-5,
        steps=20,
        generator=inputs.seeded(),
    )
    return inputs.moment(one_tensor(draws.value)[0])


def particles(state: State) -> dict[str, float]:
    found = svgd(plain(state), state["y"].unsqueeze(1), step_size=0.1, steps=100, bandwidth=1.0)
    return inputs.moment(one_tensor(found.value)[:, 0])


def partition(state: State) -> dict[str, float]:
    base = Gaussian(torch.zeros(2), 9 * torch.eye(2))
    found = log_partition(plain(state), base, HMC(0.2, 5), betas=100, chains=BATCH, generator=inputs.seeded())
    return {"log Z": float(found.estimate)}


WORK: dict[str, Work] = {
    "cd": trains(lambda: ContrastiveDivergence(Langevin(STEP_SIZE), CHAIN, squares=SQUARES), plain),
    "pcd": trains(persistent, plain),
    "exact": trains(ScoreMatching, plain),
    "sliced": trains(lambda: SlicedScoreMatching(directions="gaussian"), plain),
    "denoising": trains(lambda: DenoisingScoreMatching(NOISE, show_gap=False), plain),
    "levels": trains(lambda: AnnealedScoreMatching(geometric_levels(*LEVELS), show_gap=False), noisy),
    "discrepancy": trains(lambda: EnergyDiscrepancy(NOISE, PARTICLES), plain),
    "nce": trains(lambda: NCE(Gaussian(torch.zeros(2))), plain),
    "jem": jem,
    "pseudo": trains(PseudoLikelihood, free),
    "ising": trains(PseudoLikelihood, lattice, "lattices"),
    "ratio": trains(RatioMatching, free),
    "flips cd": trains(lambda: ContrastiveDivergence(GibbsWithGradients(), CHAIN), free),
    "langevin": walks(Langevin(STEP_SIZE), 500),
    "underdamped": walks(UnderdampedLangevin(0.05), 500),
    "mala": walks(MALA(0.05), 300),
    "hmc": walks(HMC(0.1, 10), 50),
    "nuts": nuts,
    "tempering": walks(ParallelTempering(MALA(0.05), [1.0, 0.5, 0.25, 0.125]), 200),
    "flips": flips,
    "recolors": recolors,
    "blocks": blocks,
    "annealed": annealed,
    "particles": particles,
    "partition": partition,
}

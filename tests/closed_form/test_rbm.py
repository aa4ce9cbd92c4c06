"""The restricted Boltzmann machine against sums over all its states, and its likelihood's own gradient."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from ebm import Choices, marginal_over, minimize, sample
from ebm.contrastive import (
    BernoulliRBM,
    ContrastiveDivergence,
    PersistentContrastiveDivergence,
    PseudoLikelihood,
    ReplayBuffer,
)
from ebm.infer import BlockGibbs, Enumerate, Gibbs, GibbsWithGradients, log_partition
from ebm.infer.starts import Bits
from ebm.nodes import AllChoices, Finite
from ebm.targets import Ising
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_bits(n: int) -> Tensor:
    return AllChoices(2, n).values.double()


def machine(visible: int = 5, hidden: int = 3, seed: int = 0, scale: float = 1.0) -> BernoulliRBM:
    rbm = BernoulliRBM(visible, hidden, scale, seeded(seed)).double()
    with torch.no_grad():
        for number, bias in enumerate((rbm.visible_bias, rbm.hidden_bias)):
            bias.normal_(generator=seeded(seed + 1 + number))
    return rbm


def table(rbm: BernoulliRBM) -> tuple[Tensor, Tensor, Tensor]:
    """All states y, all states z, and the energy of each pair, written out."""
    y, z = all_bits(len(rbm.visible_bias)), all_bits(len(rbm.hidden_bias))
    energies = -(y @ rbm.visible_bias)[:, None] - z @ rbm.hidden_bias - y @ rbm.weight @ z.T
    return y, z, energies.detach()


@pytest.mark.parametrize("visible, hidden", [(5, 3), (3, 5)])
def test_free_energy_log_z_and_conditionals_are_sums_over_states(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    y, z, energies = table(rbm)
    pairs = {"y": y.repeat_interleave(len(z), 0), "z": z.repeat(len(y), 1)}
    torch.testing.assert_close(rbm(**pairs).detach(), energies.flatten())
    free = rbm.free_energy(y=y).detach()
    torch.testing.assert_close(free, -torch.logsumexp(-energies, 1))
    marginal = marginal_over(rbm, "z", 1.0, Finite(z, normalized=False))
    torch.testing.assert_close(free, marginal(y=y).detach())
    torch.testing.assert_close(rbm.log_z().detach(), torch.logsumexp(-energies.flatten(), 0))
    p = torch.softmax(-energies, 1)
    torch.testing.assert_close(rbm.posterior(y).detach(), p @ z)
    torch.testing.assert_close(rbm.decode(z).detach(), torch.softmax(-energies, 0).T @ y)


def test_the_explanation_is_the_best_of_all() -> None:
    rbm = machine()
    y, z, energies = table(rbm)
    solution = rbm.infer(y)
    torch.testing.assert_close(solution.energy, energies.min(1).values)
    torch.testing.assert_close(solution.value, z[energies.argmin(1)])
    assert bool(solution.converged.all()) and not solution.energy.requires_grad
    by_choice = minimize(rbm, {"z": z[:1].expand(len(y), -1)}, Enumerate(z), given={"y": y})
    torch.testing.assert_close(by_choice.energy, solution.energy)


def test_the_gradient_of_the_likelihood_is_data_minus_model() -> None:
    """∇NLL = ⟨∇E⟩_data - ⟨∇E⟩_model: -⟨y zᵀ⟩ with z from its posterior, the second by enumeration."""
    rbm = machine()
    data = (torch.rand(7, 5, generator=seeded(4)) < 0.5).double()
    (rbm.free_energy(y=data).mean() + rbm.log_z()).backward()
    y, z, energies = table(rbm)
    p = torch.softmax(-energies.flatten(), 0).view_as(energies)
    z_of_data = rbm.posterior(data).detach()
    torch.testing.assert_close(rbm.weight.grad, y.T @ p @ z - data.T @ z_of_data / 7)
    torch.testing.assert_close(rbm.visible_bias.grad, p.sum(1) @ y - data.mean(0))
    torch.testing.assert_close(rbm.hidden_bias.grad, p.sum(0) @ z - z_of_data.mean(0))


def test_block_gibbs_draws_both_sides() -> None:
    """All pairs of means, within 4 standard errors, at another temperature than 1."""
    rbm = machine(scale=0.7)
    y, z, energies = table(rbm)
    p = torch.softmax(-0.8 * energies.flatten(), 0).view_as(energies)
    start = {"y": torch.zeros(4000, 5, dtype=DOUBLE), "z": torch.zeros(4000, 3, dtype=DOUBLE)}
    draws = sample(rbm, start, BlockGibbs(), num_samples=1, burn_in=30, beta=0.8, generator=seeded()).value
    found = torch.cat([draws["y"][0], draws["z"][0]], 1)
    both = (found[:, :5, None] * found[:, None, 5:]).flatten(1)
    exact = torch.cat([p.sum(1) @ y, p.sum(0) @ z, (y.T @ p @ z).flatten()])
    values = torch.cat([found, both], 1)
    assert bool(((values.mean(0) - exact).abs() < 4 * values.std(0) / math.sqrt(4000)).all())


@pytest.mark.parametrize("sampler, steps", [(Gibbs(), 20), (GibbsWithGradients(), 120)])
def test_long_contrastive_divergence_has_the_gradient_of_the_likelihood(
    sampler: Gibbs | GibbsWithGradients, steps: int
) -> None:
    rbm = machine(scale=0.7)
    data = (torch.rand(4000, 5, generator=seeded(4)) < 0.3).double()
    ContrastiveDivergence(sampler, steps)(rbm.free_energy, seeded(1), y=data).loss.backward()
    found = [parameter.grad.clone() for parameter in rbm.parameters()]
    rbm.zero_grad()
    (rbm.free_energy(y=data).mean() + rbm.log_z()).backward()
    y, _, energies = table(rbm)
    p = torch.softmax(-energies.flatten(), 0).view_as(energies)
    hidden, seen = rbm.posterior(y).detach(), p.sum(1)
    per_state = (y[:, :, None] * hidden[:, None], y, hidden)  # of the negatives, whose mean is all chance
    for one, parameter, value in zip(found, rbm.parameters(), per_state, strict=True):
        mean = torch.tensordot(seen, value, 1)
        error = ((torch.tensordot(seen, value**2, 1) - mean**2) / 4000).sqrt()
        assert bool(((one - parameter.grad).abs() < 4 * error).all())
        assert float(parameter.grad.abs().max()) > 4 * float(error.max())


def stripes(rows: int) -> Tensor:
    """Three stripes of two bits, both 0 or both 1: entropy 3 log 2."""
    return (torch.rand(rows, 3, generator=seeded(5)) < 0.5).double().repeat_interleave(2, 1)


def test_training_finds_the_stripes() -> None:
    """Bits that know nothing of each other cost 6 log 2 a row; the stripes of the data, 3 log 2."""
    rbm, data = BernoulliRBM(6, 4, 0.1, seeded(1)).double(), stripes(600)
    adam, free = partial(torch.optim.Adam, lr=0.05), rbm.free_energy
    settings: dict = {"steps": 200, "batch_size": 100, "generator": seeded(), "progress": False}
    history = fit(free, PseudoLikelihood(), data, optimizer=adam, **settings)
    with torch.no_grad():
        cost = float(free(y=stripes(2000)).mean() + rbm.log_z())
    assert 3 * math.log(2) < cost < 4.2 * math.log(2)
    assert float(history.column("energy gap")[-1]) > 1 > float(history.column("energy gap")[0])


def test_persistent_chains_stay_bits_and_go_on() -> None:
    rbm = machine(6, 4)
    chains = ReplayBuffer(Bits(6, chance=0.2), 500, fresh=0.0, dtype=DOUBLE, generator=seeded(2))
    start = chains.points.clone()
    share = float(start.mean())
    assert abs(share - 0.2) < 4 * math.sqrt(0.16 / 3000) and bool(((start == 0) | (start == 1)).all())
    loss = PersistentContrastiveDivergence(Gibbs(), chains, steps=2)
    output = loss(rbm.free_energy, seeded(), y=stripes(500))
    assert bool(((chains.points == 0) | (chains.points == 1)).all()) and bool((chains.age == 2).all())
    torch.testing.assert_close(
        output.terms["energy off data"], rbm.free_energy(y=chains.points).mean().detach()
    )


def test_bad_machines_are_told() -> None:
    with pytest.raises(ValueError, match="hidden must be an integer of at least 1"):
        BernoulliRBM(3, 0)
    with pytest.raises(ValueError, match=r"a sum over 2\^25 states"):
        BernoulliRBM(30, 25).log_z()
    rbm = machine()
    with pytest.raises(TypeError, match="gradients at zeros and ones, and y holds Choices"):
        sample(rbm.free_energy, Choices(torch.zeros(2, 5).long(), 2), BlockGibbs(), num_samples=1)


@pytest.mark.parametrize("method", [Gibbs(), GibbsWithGradients()], ids=["Gibbs", "Gibbs with gradients"])
def test_annealed_importance_brackets_log_z(method: Gibbs | GibbsWithGradients) -> None:
    """From independent bits to the machine and back; the estimate within 4 of its standard errors."""
    rbm, chains, g = machine(scale=1.5), 500, seeded(8)
    y, _, energies = table(rbm)
    seen = torch.softmax(-energies.flatten(), 0).view_as(energies).sum(1)
    exact, base = (
        y[torch.multinomial(seen, chains, True, generator=g)],
        Ising(torch.zeros(5, 5, dtype=DOUBLE)),
    )
    found = log_partition(rbm.free_energy, base, method, betas=8, chains=chains, exact=exact, generator=g)
    log_z, weights = float(rbm.log_z().detach()), found.log_weights.exp()
    error = float(weights.std() / weights.mean()) / math.sqrt(chains)
    assert error < 0.05 and abs(float(found.estimate) - log_z) < 4 * error
    for bound, log_weights, sign in (
        (found.lower, found.log_weights, 1),
        (found.upper, found.back_log_weights, -1),
    ):
        off = sign * (log_z - float(bound)) / (float(log_weights.std()) / math.sqrt(chains))
        assert off > 2  # on its side, by more than chance
    assert float(found.upper - found.lower) < 1

"""The contract of a sampler, held by every sampler on the list in `ebm.testing.sampler_list`.

A new sampler is put on that list with the targets that suit it, and inherits all of this.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from ebm.infer import HMC, MALA, Langevin, sample
from ebm.targets import Gaussian
from ebm.targets.target import Target
from ebm.testing.chains import check_chains, check_counts
from ebm.testing.discrete import check_holes
from ebm.testing.moments import check_balance, check_moments
from ebm.testing.posed import Posed
from ebm.testing.sampler_list import SamplerMember, samplers
from ebm.testing.strategies import posed

MEMBERS = samplers()
EVERY = pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items()])
EXACT = pytest.mark.parametrize(
    "member, target",
    [pytest.param(m, t, id=f"{n} on {t.label}") for n, m in MEMBERS.items() for t in m.targets],
)


@EVERY
def test_chains_are_rows_of_their_own_and_repeat(member: SamplerMember) -> None:
    for problem in member.walks():
        check_chains(member.sampler, problem)


@pytest.mark.parametrize(
    "member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if m.any_shape and not m.problems]
)
def test_acceptance_divergence_and_nan_are_counted_in_each_chain(member: SamplerMember) -> None:
    check_counts(member.sampler)


@pytest.mark.parametrize(
    "member, problem",
    [pytest.param(m, p, id=f"{n} on {p}") for n, m in MEMBERS.items() for p in m.pierced()],
)
def test_discrete_chains_count_nan(member: SamplerMember, problem: Posed) -> None:
    check_holes(member.sampler, problem)


@EXACT
def test_moments_are_exact(member: SamplerMember, target: Target) -> None:
    check_moments(member.sampler, target, steps=member.steps)


@pytest.mark.parametrize(
    "member, target",
    [
        pytest.param(m, t, id=f"{n} on {t.label}")
        for n, m in MEMBERS.items()
        for t in m.targets
        if m.reversible
    ],
)
def test_steps_are_in_detailed_balance(member: SamplerMember, target: Target) -> None:
    check_balance(member.sampler, target)


@pytest.mark.parametrize("sampler", [MALA(0.2), HMC(0.3, 3)], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_beta_is_the_inverse_temperature(sampler: MALA | HMC, beta: float) -> None:
    check_moments(sampler, Gaussian(torch.zeros(2, dtype=torch.float64)), beta=beta)


@pytest.mark.parametrize("step, beta", [(0.1, 1.0), (0.5, 1.0), (0.5, 4.0)])
def test_the_bias_of_unadjusted_langevin_is_its_closed_form(step: float, beta: float) -> None:
    """On ½λu² the stationary variance is 1/(βλ(1 - ελ/2)); k steps from 0, that times 1 - (1 - ελ)^2k."""
    chains, steps, curvature = 20000, 30, torch.tensor([0.5, 2.0], dtype=torch.float64)
    target = Gaussian(torch.zeros(2, dtype=torch.float64), torch.diag(1 / curvature))
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(chains, 2, dtype=torch.float64)
    draws = sample(target, start, Langevin(step), num_samples=steps, beta=beta, generator=generator).value[-1]
    rate = step * curvature
    expected = (1 - (1 - rate) ** (2 * steps)) / (beta * curvature * (1 - rate / 2))
    error = expected * (2 / chains) ** 0.5
    assert ((draws.var(0) - expected).abs() <= 4 * error).all()
    assert ((expected - 1 / (beta * curvature)).abs() > 4 * error).any()  # the bias is there to be seen


@settings(max_examples=10)
@given(posed())
def test_random_problems(problem: Posed) -> None:
    for sampler in (Langevin(0.1), MALA(0.2), HMC(0.3, 3)):
        check_chains(sampler, problem)

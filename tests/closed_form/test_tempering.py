"""Parallel tempering: weights of far modes, exchanges by hand, and their rate in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from ebm import sample
from ebm.infer import HMC, MALA, NUTS, Langevin, ParallelTempering
from ebm.infer.pose import pose
from ebm.measure import ess
from ebm.targets import DoubleWell, Gaussian, Mixture

LADDER = [1.0, 0.4, 0.15, 0.05]


def far_modes() -> Mixture:
    """Weights 0.3 and 0.7, eight apart, each 0.7 wide: exp(-16) between them."""
    means = torch.tensor([[-4.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    return Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), means, 0.49 * torch.eye(2).double())


def test_it_finds_the_weights_of_far_modes() -> None:
    chains, g = 60, torch.Generator().manual_seed(0)
    start = torch.tensor([[-4.0, 0.0]], dtype=torch.float64).expand(chains, 2).contiguous()
    method = ParallelTempering(HMC(torch.tensor([0.4, 0.6, 1.0, 1.5]), 4), LADDER)
    draws = sample(far_modes(), start, method, num_samples=500, burn_in=100, generator=g)
    right = (draws.value[..., 0] > 0).double()
    error = math.sqrt(0.3 * 0.7 / float(ess(right, "mean")))
    assert error < 0.04 and abs(float(right.mean()) - 0.7) < 4 * error
    alone = sample(far_modes(), start, HMC(0.4, 4), num_samples=500, burn_in=100, generator=g)
    assert float((alone.value[..., 0] > 0).double().mean()) < 0.02  # what it would take without
    assert bool((draws.report["exchanged"] > 0.1).all()) and draws.report["exchanged"].shape == (chains, 3)
    within = draws.value[..., 1].square()
    error = math.sqrt(float(within.var() / ess(within, "mean")))
    assert abs(float(within.mean()) - 0.49) < 4 * error


@pytest.mark.parametrize("odd", [False, True])
def test_exchanges_by_hand(odd: bool) -> None:
    """min(1, exp(β (b_r - b_{r+1}) (E_r - E_{r+1}))), of every second pair, the others of the next step."""
    target, beta, rows, g = DoubleWell(2).double(), 1.7, 500, torch.Generator().manual_seed(0)
    inner = HMC(0.2, 2)
    method = ParallelTempering(inner, LADDER)
    problem, u = pose(target, torch.randn(rows, 2, generator=g, dtype=torch.float64), None)
    state = method.init(problem, u, beta)
    spread = 1.5 * torch.randn(rows * 4, 2, generator=g, dtype=torch.float64)
    wide = problem.repeat(4)
    value, gradient = wide.value_and_grad(spread)
    for name, part in (("*u", spread), ("*value", value), ("*gradient", gradient)):
        state[name] = part.unflatten(0, (rows, 4))
    state |= {"u": state["*u"][:, 0], "odd": torch.full((rows,), odd)}
    noise = method.noise(u)
    method.draw(noise, g)
    with torch.no_grad():
        new, info = method.step(problem, state, noise)

    moved = torch.empty(rows, 4, 2, dtype=torch.float64)
    accepted = torch.empty(rows, 4, dtype=torch.bool)
    for r, b in enumerate(LADDER):  # every replica on its own
        one, own = pose(target, state["*u"][:, r], None)
        part = {k: v.unflatten(0, (rows, 4))[:, r] for k, v in noise.items() if k != "exchange"}
        with torch.no_grad():
            after, count = inner.step(one, inner.init(one, own, beta * b), part)
        moved[:, r], accepted[:, r] = after["u"], count["accepted"]
    swapped = 0
    for r in range(1 if odd else 0, 3, 2):
        rise = target(y=moved[:, r]) - target(y=moved[:, r + 1])
        take = noise["exchange"][:, r] < torch.exp(beta * (LADDER[r] - LADDER[r + 1]) * rise)
        pair = moved[:, [r, r + 1]]
        moved[:, [r, r + 1]] = torch.where(take.view(-1, 1, 1), pair.flip(1), pair)
        accepted[:, 0] |= take & (r == 0)
        swapped += int(take.sum())
    torch.testing.assert_close(new["*u"], moved, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(new["u"], moved[:, 0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(new["value"], target(y=moved[:, 0]), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(new["*gradient"].flatten(0, 1), wide.value_and_grad(moved.flatten(0, 1))[1])
    assert torch.equal(info["accepted"], accepted[:, 0]) and 50 < swapped < 950
    assert bool((new["odd"] != odd).all())


def test_the_rate_of_exchanges_is_its_closed_form() -> None:
    """On a Gaussian in D dimensions E is Gamma(D/2, 1/b) distributed at inverse temperature b."""
    dim, ladder, chains = 6, [1.0, 0.5, 0.2], 300
    g = torch.Generator().manual_seed(0)
    target = Gaussian(torch.zeros(dim, dtype=torch.float64))
    method = ParallelTempering(HMC(0.7, 3), ladder)
    start = torch.zeros(chains, dim, dtype=torch.float64)
    draws = sample(target, start, method, num_samples=100, burn_in=50, generator=g)
    rates = draws.report["exchanged"]
    torch.manual_seed(0)
    for r in range(2):
        cold, hot = (torch.distributions.Gamma(dim / 2, b).sample((400_000,)) for b in ladder[r : r + 2])
        exact = torch.exp((ladder[r] - ladder[r + 1]) * (cold - hot)).clamp(max=1)
        error = math.hypot(float(rates[:, r].std()) / chains**0.5, float(exact.std()) / 400_000**0.5)
        assert abs(float(rates[:, r].mean()) - float(exact.mean())) < 4 * error < 0.05


@pytest.mark.parametrize("inner", [MALA(0.2), NUTS(0.5)], ids=["MALA", "NUTS"])
def test_any_tested_method_and_a_beta_per_chain(inner: MALA | NUTS) -> None:
    chains, g = 2000, torch.Generator().manual_seed(0)
    beta = torch.tensor([0.5, 2.0], dtype=torch.float64).repeat_interleave(chains // 2)
    target = Gaussian(torch.ones(2, dtype=torch.float64))
    draws = sample(
        target,
        torch.ones(chains, 2, dtype=torch.float64),
        ParallelTempering(inner, [1.0, 0.5]),
        num_samples=1,
        burn_in=30,
        beta=beta,
        generator=g,
    ).value[0]
    for half, b in ((draws[: chains // 2], 0.5), (draws[chains // 2 :], 2.0)):
        scaled = (half - 1) * math.sqrt(b)
        assert float(scaled.mean(0).abs().max()) < 4 / math.sqrt(chains / 2)
        assert float((scaled.square().mean(0) - 1).abs().max()) < 4 * math.sqrt(2 / (chains / 2))


def test_what_it_refuses() -> None:
    with pytest.raises(TypeError, match="with a sampler with a test, such as MALA"):
        ParallelTempering(Langevin(0.1), [1.0, 0.5])
    for betas in ([1.0], [0.5, 0.2], [1.0, 1.0], [1.0, 0.5, 0.6], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="betas begin with 1 and fall"):
            ParallelTempering(MALA(0.1), betas)
    with pytest.raises(ValueError, match=r"one per replica, \(2,\); got \(3,\)"):
        ParallelTempering(MALA(torch.ones(3)), [1.0, 0.5])

"""Matching of slopes to ways from noise to data, equilibrium and energy matching; the pairs and the flow."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ebm import Energy, energy, minimize, sample
from ebm.contrastive import EnergyMatching, EquilibriumMatching, HeatedFlow
from ebm.contrastive.optimal_pairs import optimal_pairs
from ebm.contrastive.points import Points
from ebm.infer import GradientDescent, Langevin

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Well(Energy):
    """½ k |y - m|²."""

    def __init__(self, dim: int, k: float = 1.0):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim, dtype=DOUBLE))
        self.k = nn.Parameter(torch.tensor(k, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * self.k * (y - self.center).square().sum(1)


# --- equilibrium matching -----------------------------------------------------------------------------------


def test_slopes_fade_toward_the_data() -> None:
    c = EquilibriumMatching(fade=0.8, slope=4.0).steepness
    came = c(torch.tensor([0.0, 0.8, 0.9, 1.0], dtype=DOUBLE))
    torch.testing.assert_close(came, torch.tensor([4.0, 4.0, 2.0, 0.0], dtype=DOUBLE))


def test_equilibrium_matching_is_its_formula() -> None:
    y, model = draw(6, 3, seed=1), Well(3, 1.7)
    output = EquilibriumMatching(0.5, 2.0)(model, seeded(2), y=y)
    generator = seeded(2)
    noise = torch.empty_like(y).normal_(generator=generator)
    gamma = torch.empty(6, 1, dtype=DOUBLE).uniform_(generator=generator)
    there = gamma * y + (1 - gamma) * noise
    c = 2.0 * torch.minimum(torch.ones(()), (1 - gamma) / 0.5)
    residual = 1.7 * there - (noise - y) * c  # ∇E - (ε - y)c
    torch.testing.assert_close(output.loss, residual.square().sum(1).mean())
    torch.testing.assert_close(output.terms["energy off data"], model(y=there).mean().detach())


def test_descent_leads_from_noise_to_the_data() -> None:
    """One datum: the energy that fits best is lowest at it, and plain minimization of it arrives there."""
    datum = torch.tensor([2.0, -1.0], dtype=DOUBLE)
    y, generator = datum.expand(512, 2), seeded()
    torch.manual_seed(0)
    layers = (nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
    network = nn.Sequential(*layers).double()
    model, loss = energy(lambda y: network(y).squeeze(1)), EquilibriumMatching()
    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(300):
        adam.zero_grad()
        loss(model, generator, y=y).loss.backward()
        adam.step()
    start = draw(50, 2, seed=4)
    found = minimize(model, start, GradientDescent(0.05), max_steps=250).value
    before, after = ((p - datum).norm(dim=1).mean() for p in (start, found))
    assert after < 0.25 * before
    uphill = -(start - datum)  # from the noise to the data
    slope = torch.func.vmap(torch.func.grad(lambda u: model(y=u[None])[0]))(start)
    assert bool((-(slope * uphill).sum(1) > 0).all())


# --- energy matching ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairing", ["independent", "optimal"])
def test_the_flow_term_is_its_formula(pairing: str) -> None:
    y, model = draw(12, 2, seed=1) + 3, Well(2, 0.4)
    output = EnergyMatching(pairing=pairing)(model, seeded(5), y=y)
    generator = seeded(5)
    prior = torch.empty_like(y).normal_(generator=generator)
    if pairing == "optimal":
        _, columns = linear_sum_assignment(torch.cdist(y, prior).square().numpy())
        prior = prior[torch.from_numpy(columns)]
    t = torch.empty(12, 1, dtype=DOUBLE).uniform_(generator=generator)
    there = (1 - t) * prior + t * y
    velocity = -0.4 * there  # -∇E
    torch.testing.assert_close(output.loss, (velocity - (y - prior)).square().sum(1).mean())
    torch.testing.assert_close(output.terms["flow"], output.loss.detach())
    torch.testing.assert_close(output.terms["energy off data"], model(y=prior).mean().detach())


def test_a_straight_slide_fits_points_that_move_alike() -> None:
    """Data that are the prior's points, moved by b: paired at best, V = -b·y has no loss at all."""
    b = torch.tensor([3.0, -1.0], dtype=DOUBLE)
    y = torch.empty(40, 2, dtype=DOUBLE).normal_(generator=seeded(9)) + b
    shuffled = y[torch.randperm(40, generator=seeded(1))]
    slide = energy(lambda y: -(y @ b))
    torch.testing.assert_close(EnergyMatching()(slide, seeded(9), y=shuffled).loss.item(), 0.0)
    assert EnergyMatching(pairing="independent")(slide, seeded(9), y=shuffled).loss > 1


def test_the_contrast_pushes_up_where_the_flow_leads() -> None:
    y, model = draw(9, 2, seed=1) + 1, Well(2, 0.5)
    flow = HeatedFlow(step_size=0.1, steps=15, onset=1.0, temperature=0.0)
    with_contrast = EnergyMatching(0.3, flow, floor=None)(model, seeded(5), y=y)
    alone = EnergyMatching()(model, seeded(5), y=y)
    prior = torch.empty_like(y).normal_(generator=seeded(5))
    prior = prior[optimal_pairs(y, prior)]
    shrink = (1 - 0.1 * 0.5) ** 15  # without noise, every step is a contraction
    negatives = torch.cat([y[:4], prior[4:]]) * shrink
    contrast = (model(y=y).mean() - model(y=negatives).mean()).detach()
    torch.testing.assert_close(with_contrast.terms["contrast"], contrast)
    torch.testing.assert_close(with_contrast.loss.detach(), alone.loss.detach() + 0.3 * contrast)
    torch.testing.assert_close(with_contrast.gap, -contrast)
    # negatives are held: the gradient by k is that of ½|y|², nothing through the chain
    (came,) = torch.autograd.grad(with_contrast.loss - alone.loss, model.k, retain_graph=True)
    torch.testing.assert_close(came, 0.3 * contrast / 0.5)


def test_chains_from_the_data_are_warm_and_those_from_the_prior_not_yet() -> None:
    y, prior = torch.zeros(2000, 1, dtype=DOUBLE), torch.ones(2000, 1, dtype=DOUBLE)
    loss = EnergyMatching(1.0, HeatedFlow(step_size=0.1, steps=5, onset=1.0, temperature=0.3))
    points = Points(loss, energy(lambda y: 0 * y.sum(1)), "y", {"y": y}, None)
    came = loss.negatives(points, prior, seeded())
    variance = 5 * 2 * 0.1 * 0.3  # of a walk where nothing pulls
    assert abs(came[:1000].var() - variance) < 4 * variance * math.sqrt(2 / 1000)
    assert bool((came[1000:] == 1).all())


def test_the_floor_stops_the_contrast() -> None:
    y, model = torch.zeros(8, 1, dtype=DOUBLE), Well(1, 0.01)
    flow = HeatedFlow(0.1, 5)
    for floor, stopped in ((0.0, True), (1e3, False)):
        output = EnergyMatching(5.0, flow, floor=floor)(model, seeded(), y=y)
        assert output.terms["contrast"] < 0
        expected = output.terms["flow"] + (0.0 if stopped else 5.0 * output.terms["contrast"])
        torch.testing.assert_close(output.loss.detach(), expected)


def test_given_variables_stay_with_their_rows() -> None:
    y, x = draw(10, 2, seed=1), draw(10, 2, seed=2)
    tied = energy(lambda x, y: 0.5 * (y - x).square().sum(1))
    flow = HeatedFlow(0.5, 40, temperature=0.0)
    output = EnergyMatching(0.5, flow, floor=None)(tied, seeded(), x=x, y=y)
    torch.testing.assert_close(output.terms["energy off data"].item(), 0.0, atol=1e-9, rtol=0)  # y⁻ = x


# --- the flow and the pairs ---------------------------------------------------------------------------------


def test_warmth() -> None:
    flow = HeatedFlow(onset=0.6, temperature=0.2)
    assert [flow.warmth(t) for t in (0.0, 0.6, 1.0, 3.0)] == [0.0, 0.0, 0.2, 0.2]
    assert flow.warmth(0.8) == pytest.approx(0.1)
    assert HeatedFlow(onset=1.0).warmth(0.99) == 0.0 and HeatedFlow(onset=1.0).warmth(1.0) == 0.01


def test_the_flow_is_minimization_and_then_sampling() -> None:
    start = draw(20, 2)
    bowl = energy(lambda y: 0.5 * (y**2).sum(1) + 0.1 * (y**4).sum(1))
    came = HeatedFlow(0.05, 30, onset=1.0, temperature=0.3)(bowl, start, generator=seeded(8))
    descended = minimize(bowl, start, GradientDescent(0.05), max_steps=20, tol=0.0).value
    chain = sample(bowl, descended, Langevin(0.05), num_samples=1, thin=10, beta=1 / 0.3, generator=seeded(8))
    torch.testing.assert_close(came, chain.value[0])
    warm = HeatedFlow(0.05, 10, temperature=0.3)(bowl, {"y": descended}, time=1.0, generator=seeded(8))
    torch.testing.assert_close(warm, came)


def test_the_warm_flow_has_the_temperature() -> None:
    bowl = energy(lambda y: 0.5 * (y**2).sum(1))
    flow = HeatedFlow(0.1, 120, onset=0.5, temperature=0.3)
    came = flow(bowl, torch.zeros(4000, 1, dtype=DOUBLE), generator=seeded())
    expected = 0.3 / (1 - 0.1 / 2)  # that of the Euler scheme
    assert abs(came.var() - expected) < 4 * expected * math.sqrt(2 / 4000)


@pytest.mark.parametrize("dim", [1, 3])
def test_pairs_are_those_of_scipy(dim: int) -> None:
    for n, seed in ((1, 0), (2, 1), (17, 2), (60, 3)):
        a, b = draw(n, dim, seed=seed), 2 * draw(n, dim, seed=seed + 50) + 1
        came = optimal_pairs(a, b)
        cost = torch.cdist(a, b).square()
        rows, columns = linear_sum_assignment(cost.numpy())
        torch.testing.assert_close(cost[torch.arange(n), came].sum(), cost[rows, columns].sum())
        assert sorted(came.tolist()) == list(range(n))


def test_pairs_of_points_that_coincide() -> None:
    a = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]).unsqueeze(1)
    came = optimal_pairs(a, a.flip(0))
    assert sorted(came.tolist()) == [0, 1, 2, 3, 4]
    assert bool((a.flip(0)[came] == a).all())
    with pytest.raises(ValueError, match=r"rows \[1\] of the first set hold NaN"):
        optimal_pairs(torch.tensor([[0.0], [torch.nan]]), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="sets of one shape"):
        optimal_pairs(torch.zeros(2, 1), torch.zeros(3, 1))


def test_settings_out_of_range() -> None:
    for make in (
        lambda: HeatedFlow(step_size=0.0),
        lambda: HeatedFlow(steps=0),
        lambda: HeatedFlow(onset=1.5),
        lambda: HeatedFlow(temperature=-1.0),
        lambda: EnergyMatching(-1.0),
        lambda: EnergyMatching(floor=-0.1),
        lambda: EnergyMatching(pairing="sinkhorn"),
        lambda: EquilibriumMatching(fade=1.0),
        lambda: EquilibriumMatching(slope=0.0),
    ):
        with pytest.raises(ValueError, match=r"must be|onset is|pairing is"):
            make()

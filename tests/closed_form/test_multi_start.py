"""Several starts and a search with a descent: which starts, which is kept, and what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import Choices, energy, minimize
from ebm.infer import (
    CEM,
    ICEM,
    LBFGS,
    MPPI,
    Adam,
    Enumerate,
    GradientDescent,
    MultiStart,
    ProximalGradient,
    Refined,
)
from ebm.infer.pose import pose
from ebm.infer.powerlaw import powerlaw_noise
from ebm.regularizers import Box
from ebm.targets import Himmelblau, Rastrigin


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


@energy
def bowl(y, center):
    return ((y - center) ** 2).flatten(1).sum(1)


@energy
def egg_box(y, x):
    return ((y - x) ** 2).sum(1) + 2 * (1 - torch.cos(5 * (y - x))).sum(1)


def test_equals_a_loop_over_the_starts():
    """The first start is the given one; the others are u_0 + σ ε with the noise of the generator."""
    rows, starts, spread = 3, 5, 2.5
    x = torch.randn(rows, 2, dtype=torch.float64, generator=seeded(4))
    over, given = {"y": zeros(rows, 2) + 3}, {"x": x}
    for method in (LBFGS(), Adam(0.05), GradientDescent(0.02)):
        found = minimize(
            egg_box,
            over,
            MultiStart(method, starts, spread),
            given=given,
            generator=seeded(7),
            max_steps=60,
            tol=0.0,
        )
        noise = torch.empty(rows, starts - 1, 2, dtype=torch.float64).normal_(generator=seeded(7))
        begun = torch.cat([over["y"][:, None], over["y"][:, None] + spread * noise], 1)
        each = [
            minimize(egg_box, {"y": begun[:, k]}, method, given=given, max_steps=60, tol=0.0)
            for k in range(starts)
        ]
        energies = torch.stack([one.energy for one in each], 1)
        torch.testing.assert_close(found.energy, energies.amin(1), rtol=1e-9, atol=1e-12)
        best = torch.stack([one.value["y"] for one in each], 1)[torch.arange(rows), energies.argmin(1)]
        torch.testing.assert_close(found.value["y"], best, rtol=1e-6, atol=1e-8)
        assert len(set(energies.argmin(1).tolist())) > 1  # so that it matters which one is kept


def test_starts_are_colored_and_projected():
    problem, u = pose(bowl + Box("y", -0.5, 0.5), {"y": zeros(2, 30, 2)}, {"center": zeros(2, 30, 2)},
                      generator=seeded())  # fmt: skip
    state = MultiStart(ProximalGradient(), 4, 0.4, exponent=2.0).init(problem, u)
    noise = torch.empty(2, 3, 30, 2, dtype=torch.float64).normal_(generator=seeded())
    expected = (0.4 * powerlaw_noise(noise, 2.0, dim=2)).clamp(-0.5, 0.5)
    torch.testing.assert_close(state["copies of u"][:, 1:], expected)
    assert torch.equal(state["u"], u) and bool((state["copies of u"].abs() == 0.5).any())


def test_finds_the_global_minimum_where_one_start_does_not():
    target = Rastrigin(2).double()
    start = zeros(20, 2).uniform_(-2, 2, generator=seeded())
    alone = minimize(target, start, LBFGS(), max_steps=100, tol=1e-6)
    many = minimize(target, start, MultiStart(LBFGS(), 256, 2.0), max_steps=100, tol=1e-6, generator=seeded())
    assert float(alone.energy.median()) > 1
    assert float(many.energy.max()) < 1e-9 and many.reasons == ["gradient"] * 20
    assert bool((many.energy <= alone.energy + 1e-9).all())


def test_a_start_that_is_lost_does_not_lose_the_row():
    @energy
    def cliff(y):  # NaN on the left
        return torch.where(y[:, 0] < -1, torch.nan, ((y - 1) ** 2).sum(1))

    found = minimize(cliff, zeros(6, 1), MultiStart(LBFGS(), 32, 2.0), generator=seeded())
    assert found.reasons == ["gradient"] * 6
    torch.testing.assert_close(found.value, zeros(6, 1) + 1, rtol=0, atol=1e-6)


def test_settings_by_rows_reach_every_copy():
    rates = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    center = zeros(3, 2) + 1
    one = MultiStart(GradientDescent(rates), 3, 1.0)
    found = minimize(bowl, {"y": zeros(3, 2)}, one, given={"center": center}, max_steps=1, generator=seeded())
    noise = torch.empty(3, 2, 2, dtype=torch.float64).normal_(generator=seeded())
    begun = torch.cat([zeros(3, 1, 2), noise], 1)
    after = begun - rates[:, None, None] * 2 * (begun - 1)
    torch.testing.assert_close(found.energy, ((after - 1) ** 2).sum(2).amin(1))


def test_refines_what_the_search_found_and_is_never_worse():
    target = Himmelblau().double()
    start = zeros(16, 2).uniform_(-4, 4, generator=seeded())
    for search in (CEM(50, 5, std=2.0), ICEM(50, 5, std=2.0), MPPI(50, std=2.0)):
        alone = minimize(target, start, search, max_steps=4, generator=seeded(1))
        method = Refined(search, LBFGS(), 4)
        short = minimize(target, start, method, max_steps=4, generator=seeded(1))
        assert torch.equal(short.value, alone.value)  # the same draws, and no more steps
        found = minimize(target, start, method, generator=seeded(1), tol=1e-7)
        assert bool((found.energy <= alone.energy).all()) and found.reasons == ["gradient"] * 16
        assert float(target.distance_to_minima(found.value).max()) < 1e-6
        descent = minimize(target, alone.value, LBFGS(), tol=1e-7)
        torch.testing.assert_close(found.energy, descent.energy, rtol=0, atol=1e-12)
        assert int(found.steps.max()) == int(descent.steps.max()) + 4


def test_a_search_may_start_where_the_energy_is_nan():
    @energy
    def holes(y):
        return torch.where(y[:, 0] < 0, torch.nan, ((y - 1) ** 2).sum(1))

    found = minimize(holes, zeros(4, 2) - 0.5, Refined(CEM(100, 10), LBFGS(), 6), generator=seeded())
    assert found.reasons == ["gradient"] * 4
    torch.testing.assert_close(found.value, zeros(4, 2) + 1, rtol=0, atol=1e-6)


def test_bounds_need_a_refinement_that_knows_them():
    boxed, given = bowl + Box("y", -0.5, 0.5), {"center": zeros(3, 2) + 1}
    with pytest.raises(TypeError, match=r"LBFGS would leave it. Use a proximal method"):
        minimize(boxed, {"y": zeros(3, 2)}, Refined(CEM(), LBFGS()), given=given)
    found = minimize(
        boxed, {"y": zeros(3, 2)}, Refined(CEM(), ProximalGradient(), 3), given=given, generator=seeded()
    )
    torch.testing.assert_close(found.value["y"], zeros(3, 2) + 0.5)


@energy
def total(a):
    return a.double().sum(1)


tags = Choices(torch.zeros(2, 3, dtype=torch.long), 2)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: MultiStart(CEM()), TypeError, "has starts enough"),
        (lambda: MultiStart(LBFGS(), 0), ValueError, "starts must be"),
        (lambda: MultiStart(LBFGS(), spread=0.0), ValueError, "spread must be"),
        (lambda: Refined(LBFGS(), LBFGS()), TypeError, "begins with a population search"),
        (lambda: Refined(CEM(), CEM()), TypeError, "ends with a gradient method"),
        (lambda: Refined(Enumerate(), LBFGS()), TypeError, "begins with a population search"),
        (lambda: Refined(CEM(), LBFGS(), 0), ValueError, "steps must be"),
        (lambda: minimize(total, tags, MultiStart(LBFGS())), TypeError, "holds Choices"),
    ],
)
def test_what_does_not_fit_is_refused(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()

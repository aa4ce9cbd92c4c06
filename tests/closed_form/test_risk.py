"""CVaR: tables by hand, the definition minimized by brute force, normal quantiles, and its derivative."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import Energy, energy, marginal_over, minimize
from ebm.infer import GradientDescent
from ebm.nodes import Finite, Grid, Importance
from ebm.plan import CVaR
from ebm.plan.risk import mean_of_worst


class Price(Energy):
    """E(y, z) = y z."""

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return y * z


def one_to_ten() -> Finite:
    shuffled = torch.randperm(10, generator=torch.Generator().manual_seed(0)).to(torch.float64)
    return Finite(shuffled + 1)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(costs: Tensor, weights: Tensor, level: float) -> Tensor:
    """min_t t + E[max(0, X - t)] / (1 - level): piecewise linear in t, so lowest at one of the costs."""
    t = costs.unsqueeze(2)  # (B, K, 1)
    over = (costs.unsqueeze(1) - t).clamp(min=0)
    return (t.squeeze(2) + (weights.unsqueeze(1) * over).sum(2) / (1 - level)).amin(1)


@pytest.mark.parametrize(
    ("level", "value"),
    [(0.0, 5.5), (0.5, 8.0), (0.75, 9.2), (0.8, 9.5), (0.9, 10.0), (0.95, 10.0), (1.0, 10.0)],
)
def test_costs_from_one_to_ten(level: float, value: float) -> None:
    ones = torch.ones(1, dtype=torch.float64)
    assert float(CVaR(Price(), "z", level, one_to_ten())(y=ones)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, 0.61, 0.95])
def test_it_is_the_minimum_of_its_definition(level: float) -> None:
    costs, weights = randn(6, 9), torch.softmax(randn(6, 9, seed=1), 1)
    torch.testing.assert_close(
        mean_of_worst(costs, weights, level), by_definition(costs, weights, level), rtol=1e-12, atol=1e-12
    )


def test_it_runs_from_the_mean_to_the_worst_case_and_never_falls() -> None:
    y = randn(5)
    levels = torch.linspace(0, 1, 41).tolist()
    risk = torch.stack([CVaR(Price(), "z", level, one_to_ten())(y=y) for level in levels])
    torch.testing.assert_close(risk[0], marginal_over(Price(), "z", 0.0, by=one_to_ten())(y=y))
    torch.testing.assert_close(risk[-1], marginal_over(Price(), "z", -math.inf, by=one_to_ten())(y=y))
    assert bool((risk.diff(dim=0) >= -1e-12).all()) and bool((risk[20] > risk[0] + 0.1 * y.abs()).all())


def test_the_worst_tenth_of_a_normal_distribution() -> None:
    """φ(Φ⁻¹(α)) / (1 - α) on 20,000 quantiles; the midpoint rule leaves out about 1e-5 of the last one."""
    p = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    normal = Finite(torch.special.ndtri(p))
    value = CVaR(Price(), "z", 0.9, normal)(y=torch.ones(1, dtype=torch.float64))
    assert float(value) == pytest.approx(1.75498332, abs=1e-4)


def test_draws_of_a_normal_distribution_within_four_standard_errors() -> None:
    one = torch.ones(1, dtype=torch.float64)
    nodes = Importance(4000, 0 * one, one, normalized=True)

    @energy
    def shifted(y: Tensor, z: Tensor) -> Tensor:
        return (y + z).sum(1)

    bound = CVaR(shifted, "z", 0.9, nodes).bind(
        {"y": torch.zeros(20, 1, dtype=torch.float64)}, torch.Generator().manual_seed(0)
    )
    values = bound()
    error = values.std() / math.sqrt(20)  # of independent estimates; their bias is a tenth of this
    assert abs(float(values.mean()) - 1.75498332) < 4 * float(error)
    assert float(error) < 0.02


def test_nodes_of_unequal_weight() -> None:
    """Of z ~ U(0, 1) the worst tenth has the mean 0.95; Gauss-Legendre nodes weigh less at the ends."""

    @energy
    def height(y: Tensor, z: Tensor) -> Tensor:
        return y * z[:, 0]

    value = CVaR(height, "z", 0.9, Grid(0.0, 1.0, 400, rule="legendre"))(y=torch.ones(1, dtype=torch.float64))
    assert float(value) == pytest.approx(0.95, abs=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.33, 0.8, 1.0])
def test_the_derivative_is_that_of_differences(level: float) -> None:
    @energy
    def bent(y: Tensor, z: Tensor) -> Tensor:
        return (torch.sin(3 * y) * z + (y - z).square()).sum(1)

    risk, y = CVaR(bent, "z", level, Finite(randn(7, 2))), randn(4, 2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: risk(y=v), (y,), eps=1e-7, atol=1e-5)


def test_infinite_cases_count_and_those_that_do_not_matter_leave_the_derivative_finite() -> None:
    costs = torch.tensor(
        [[1.0, 2.0, math.inf], [1.0, 2.0, -math.inf], [math.nan, 1.0, 2.0]], requires_grad=True
    )
    weights = torch.full((3, 3), 1 / 3)
    value = mean_of_worst(costs, weights, 0.5)
    assert value[0] == math.inf and value[1].item() == pytest.approx(5 / 3) and bool(value[2].isnan())
    value[1].backward()
    assert costs.grad is not None and bool(costs.grad[1].isfinite().all())


def test_a_plan_that_hedges() -> None:
    """Of |y - z| for z = -1, 1, 5 the mean is lowest at the median 1, and the worst case in the middle, 2."""

    @energy
    def loss(y: Tensor, z: Tensor) -> Tensor:
        return (y - z).abs().sum(1)

    cases = Finite(torch.tensor([[-1.0], [1.0], [5.0]], dtype=torch.float64))
    y = torch.linspace(-2, 6, 801, dtype=torch.float64).unsqueeze(1)
    best = [float(y[CVaR(loss, "z", level, cases)(y=y).argmin()]) for level in (0.0, 1.0)]
    assert best == pytest.approx([1.0, 2.0], abs=1e-9)
    start = torch.full((1, 1), 0.3, dtype=torch.float64)
    solution = minimize(CVaR(loss, "z", 0.9, cases), start, GradientDescent(0.01), max_steps=300, tol=0.0)
    assert float(solution.value) == pytest.approx(2.0, abs=0.011)


def test_draws_are_made_once_a_solve() -> None:
    one = torch.ones(1, dtype=torch.float64)
    risk = CVaR(Price(), "z", 0.5, Importance(8, one[0], one[0], normalized=True))
    bound = risk.bind({}, torch.Generator().manual_seed(0), like={"y": randn(3)})
    first, second = bound(y=one.expand(3)), bound(y=one.expand(3))
    assert torch.equal(first, second) and not torch.equal(first[:1], first[1:2])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]; got 90"):
        CVaR(Price(), "z", 90.0, one_to_ten())
    with pytest.raises(ValueError, match="normalized"):
        CVaR(Price(), "z", 0.9, Finite(torch.ones(3), normalized=False))
    with pytest.raises(TypeError, match="it has no 'w'"):
        CVaR(Price(), "w", 0.9, one_to_ten())

"""Quasimetrics: the axioms for any weights, interval lengths by brute force, shortest paths learned."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ebm.jepa import Quasimetric, Regularized, Sequence, TemporalDistance, UnrolledPrediction
from ebm.jepa.quasimetric import union_length
from ebm.plan import LearnedCost


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_it_is_a_quasimetric_whatever_its_weights(
    seed: int, size: int, components: int, intervals: int
) -> None:
    d = Quasimetric(size, components, intervals, 8, generator=seeded(seed)).double()
    nn.init.normal_(d.balance, std=3.0, generator=seeded(seed))
    s, w, g = (3 * randn(200, size, seed=seed + i) for i in range(3))
    assert bool((d(s, g) >= 0).all())
    assert torch.equal(d(s, s), torch.zeros(200, dtype=torch.float64))
    assert bool((d(s, g) <= d(s, w) + d(w, g) + 1e-12).all())


def test_it_is_not_symmetric() -> None:
    d, s, g = Quasimetric(2, generator=seeded()).double(), randn(50, 2), randn(50, 2, seed=1)
    there, back = d(s, g), d(g, s)
    assert bool(((there - back).abs() > 1e-6).all())


def test_the_length_of_a_union_of_intervals() -> None:
    """Counted on a fine grid of points, in integers so that the grid is exact."""
    low = torch.randint(-20, 20, (50, 6), generator=seeded())
    high = low + torch.randint(0, 15, (50, 6), generator=seeded(1))
    cells = torch.arange(-20, 40).view(1, -1, 1)
    covered = ((cells >= low.unsqueeze(1)) & (cells < high.unsqueeze(1))).any(2).sum(1)
    assert torch.equal(union_length(low.double(), high.double()), covered.double())


def test_one_component_of_one_interval_is_how_far_it_is_up() -> None:
    """d(s, g) = max(0, f(g) - f(s)): up costs, down is free."""
    d = Quasimetric(1, 1, 1, 4).double()
    d.embed = nn.Identity()  # type: ignore[assignment]
    s, g = (
        torch.tensor([[0.0], [2.0]], dtype=torch.float64),
        torch.tensor([[3.0], [-1.0]], dtype=torch.float64),
    )
    torch.testing.assert_close(d(s, g), torch.tensor([3.0, 0.0], dtype=torch.float64))


def test_the_loss_is_its_formula() -> None:
    """With d = |s - g|: steps of 3 where 1 is allowed, pairs of rows that are 5 apart, reach 7."""

    class Gap(nn.Module):
        def forward(self, s: Tensor, goal: Tensor) -> Tensor:
            return (s - goal).abs().sum(1)

    part = TemporalDistance(Gap(), reach=7.0, softness=2.0, tolerance=0.5)
    codes = torch.tensor([[[0.0], [3.0]], [[5.0], [8.0]]])
    push = 2.0 * math.log(1 + math.exp((7 - 5) / 2))
    torch.testing.assert_close(part(Sequence(codes, (0, 1))), torch.tensor(push + (3 - 1) ** 2 - 0.25))
    twice = TemporalDistance(Gap(), reach=7.0, softness=2.0, tolerance=0.5, apart=2)
    torch.testing.assert_close(twice(Sequence(codes, (0, 2))), torch.tensor(push + (1.5 - 1) ** 2 - 0.25))


def test_the_multiplier_ascends_while_steps_are_too_long_and_the_distance_descends() -> None:
    part = TemporalDistance(Quasimetric(1, 2, 2, 4, generator=seeded()), reach=5.0, tolerance=0.1)
    for scale, grows in ((100.0, True), (0.0, False)):
        codes = scale * torch.tensor([[[0.0], [1.0]], [[2.0], [3.0]]])
        part.zero_grad()
        part(Sequence(codes, (0, 1))).backward()
        assert (float(part.multiplier.grad) < 0) is grows  # an optimizer steps against it


def test_codes_are_learned_only_where_that_is_asked_for() -> None:
    for stop in (True, False):
        codes = randn(4, 3, 2).float().requires_grad_()
        part = TemporalDistance(Quasimetric(2), reach=5.0, stop_gradient=stop)
        part(Sequence(codes, (0, 1, 2))).backward()
        assert (codes.grad is None) is stop


def test_it_is_a_regularizer_of_codes_and_a_cost_of_plans() -> None:
    part = TemporalDistance(Quasimetric(3), reach=5.0)
    loss = Regularized((0.5, part), times=(0, 1, 2))
    output = loss(UnrolledPrediction(), predicted=torch.ones(4, 2, 3), codes=torch.rand(4, 3, 3))
    assert set(output.terms) == {"energy on data", "TemporalDistance"}
    cost = LearnedCost(part.distance, "end")(states=torch.rand(4, 5, 3), goal=torch.rand(4, 3))
    assert cost.shape == (4,)


def test_a_one_way_ring_is_as_long_as_its_shortest_path() -> None:
    """Five places, only clockwise steps: one on, four back. Learned from single steps alone."""
    g, places = seeded(), torch.eye(5)
    d = Quasimetric(5, 4, 6, 32, generator=g)
    part = TemporalDistance(d, reach=8.0, tolerance=0.05)
    weights = [{"params": d.parameters(), "lr": 5e-3}, {"params": [part.multiplier], "lr": 5e-2}]
    optimizer = torch.optim.Adam(weights)
    for _ in range(500):
        at = torch.randint(5, (32,), generator=g)
        optimizer.zero_grad()
        part(Sequence(places[torch.stack([at, (at + 1) % 5], 1)], (0, 1))).backward()
        optimizer.step()
    index = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    with torch.no_grad():
        found = d(places[index[:, 0]], places[index[:, 1]])
    ways = (index[:, 1] - index[:, 0]) % 5
    assert float((found - ways).abs().mean()) < 0.35
    assert float(found[ways == 1].max()) < 1.5 and float(found[ways == 4].min()) > 2.5


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="positive whole numbers"):
        Quasimetric(0)
    with pytest.raises(ValueError, match="reach"):
        TemporalDistance(Quasimetric(1), reach=0.0)
    with pytest.raises(ValueError, match="pairs"):
        Quasimetric(2)(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="different rows"):
        TemporalDistance(Quasimetric(2), reach=5.0)(Sequence(torch.zeros(1, 2, 2), (0, 1)))
    with pytest.raises(ValueError, match="1 steps apart"):
        TemporalDistance(Quasimetric(2), reach=5.0)(Sequence(torch.zeros(2, 2, 2), (0, 2)))

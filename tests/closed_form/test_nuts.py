"""NUTS against a recursion written out for one chain, exact moments, exact ranks, and what a step costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ebm import Energy, energy, sample
from ebm.infer import HMC, NUTS
from ebm.infer.pose import pose
from ebm.infer.sampler import Sampler
from ebm.targets import DoubleWell, Funnel, Gaussian, Mixture

DEPTH = 6


class Plain:
    """A step of NUTS for one chain, as the papers write it: a recursion over a binary tree of points."""

    def __init__(self, target: Energy, step: float, beta: float, start: Tensor, p: Tensor, uniform: Tensor):
        self.target, self.step, self.beta, self.uniform = target, step, beta, uniform
        self.points = 0
        self.level = self.h(start, p)
        near = far = (start, p)
        candidate, weight, momenta = start, 1.0, p
        for depth in range(DEPTH):
            turned_round = float(uniform[0, depth]) < 0.5
            if depth == 0:
                direction = 1.0
            if turned_round:
                near, far, direction = far, near, -direction
            tree = self.build(far, depth, direction)
            if tree is None:
                break
            if float(uniform[1, depth]) < tree["weight"] / weight:
                candidate = tree["point"]
            old, new = {"first": near, "last": far, "momenta": momenta}, tree
            weight, momenta, far = weight + tree["weight"], momenta + tree["momenta"], tree["last"]
            if self.turns(old, new):
                break
        self.result = candidate

    def h(self, u: Tensor, p: Tensor) -> float:
        return self.beta * float(self.target(y=u[None])) + 0.5 * float(p @ p)

    def build(self, end: tuple[Tensor, Tensor], depth: int, direction: float) -> dict[str, Any] | None:
        if depth == 0:
            u, p = end
            p = p - 0.5 * self.step * direction * self.beta * self.slope(u)
            u = u + self.step * direction * p
            p = p - 0.5 * self.step * direction * self.beta * self.slope(u)
            self.points += 1
            rise = self.h(u, p) - self.level
            if not rise <= 1000:
                return None
            return {"first": (u, p), "last": (u, p), "momenta": p, "weight": math.exp(-rise), "point": u}
        a = self.build(end, depth - 1, direction)
        if a is None:
            return None
        b = self.build(a["last"], depth - 1, direction)
        if b is None or self.turns(a, b):
            return None
        weight = a["weight"] + b["weight"]
        point = b["point"] if float(self.uniform[2, depth - 1]) < b["weight"] / weight else a["point"]
        momenta = a["momenta"] + b["momenta"]
        return {"first": a["first"], "last": b["last"], "momenta": momenta, "weight": weight, "point": point}

    def turns(self, a: dict[str, Any], b: dict[str, Any]) -> bool:
        def back(first: Tensor, last: Tensor, rho: Tensor) -> bool:
            return float(first @ rho) <= 0 or float(last @ rho) <= 0

        first, middle, other, last = a["first"][1], a["last"][1], b["first"][1], b["last"][1]
        return (
            back(first, last, a["momenta"] + b["momenta"])
            or back(first, other, a["momenta"] + other)
            or back(middle, last, b["momenta"] + middle)
        )

    def slope(self, u: Tensor) -> Tensor:
        u = u.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.target(y=u[None]).sum(), u)[0]


def mixture() -> Mixture:
    means = torch.tensor([[-1.2, 0.0], [1.2, 0.6]], dtype=torch.float64)
    covariances = torch.tensor([[[0.6, 0.2], [0.2, 0.4]], [[0.3, 0.0], [0.0, 0.8]]], dtype=torch.float64)
    return Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), means, covariances)


@pytest.mark.parametrize(
    "target, step", [(mixture(), 0.15), (mixture(), 0.9), (DoubleWell(2, height=4.0).double(), 0.5)]
)
def test_a_step_is_that_of_the_plain_recursion(target: Energy, step: float) -> None:
    """All chains at once = one after the other: the point drawn, and the number of gradients."""
    chains, beta = 60, 1.3
    g = torch.Generator().manual_seed(0)
    start = 1.5 * torch.randn(chains, 2, generator=g, dtype=torch.float64)
    problem, u = pose(target, start, None)
    method = NUTS(step, max_depth=DEPTH)
    noise = method.noise(u)
    method.draw(noise, g)
    with torch.no_grad():
        new, info = method.step(problem, method.init(problem, u, beta), noise)
    plain = [
        Plain(target, step, beta, y, p, v)
        for y, p, v in zip(u, noise["normal"], noise["uniform"], strict=True)
    ]
    assert info["gradients"].tolist() == [tree.points for tree in plain]
    torch.testing.assert_close(new["u"], torch.stack([tree.result for tree in plain]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(new["value"], target(y=new["u"]), rtol=1e-9, atol=1e-9)
    problem.value_and_grad(new["u"])
    torch.testing.assert_close(new["gradient"], problem.value_and_grad(new["u"])[1], rtol=1e-9, atol=1e-9)
    assert len({tree.points for tree in plain}) > 1  # trees of several sizes


def test_a_point_is_drawn_with_its_weight() -> None:
    """8 points, the trajectory given: their frequencies are those of exp(-H), and of min(1, w'/w) by hand."""
    chains, step = 60_000, 0.25
    target = DoubleWell(1, height=0.5).double()
    problem, u = pose(target, torch.full((chains, 1), 0.3, dtype=torch.float64), None)
    method = NUTS(step, max_depth=3)
    noise, g = method.noise(u), torch.Generator().manual_seed(0)
    method.draw(noise, g)
    noise["normal"].fill_(1.5)
    noise["uniform"][:, 0] = 1.0  # forward, always
    with torch.no_grad():
        state = method.init(problem, u, 1.0)
        new, info = method.step(problem, state, noise)
    assert info["gradients"].unique().tolist() == [7.0]
    q, p, path = 0.3, 1.5, []
    for _ in range(8):
        path.append((q, math.exp(-(0.5 * (q * q - 1) ** 2 + 0.5 * p * p))))
        p -= step / 2 * 2 * (q * q - 1) * q
        q += step * p
        p -= step / 2 * 2 * (q * q - 1) * q
    weights = torch.tensor([w for _, w in path], dtype=torch.float64)
    chance = torch.ones(1, dtype=torch.float64)
    for n in (1, 2, 4):
        old, come = weights[:n], weights[n : 2 * n]
        take = min(1.0, float(come.sum() / old.sum()))
        chance = torch.cat([(1 - take) * chance, take * come / come.sum()])
    places = torch.tensor([q for q, _ in path], dtype=torch.float64)
    drawn = (new["u"] - places).abs().argmin(1).bincount(minlength=8)
    assert chisquare(drawn[chance > 0].numpy(), chains * chance[chance > 0].numpy()).pvalue > 1e-3
    assert int(drawn[chance == 0].sum()) == 0
    mean = (weights[1:] / weights[0]).clamp(max=1).mean()
    torch.testing.assert_close(info["accepted"][0], mean, rtol=1e-9, atol=0)


def test_the_funnel_keeps_its_moments() -> None:
    """Neal's funnel: chains begun at exact draws, a step size that adapts to nothing, v within 4 errors."""
    target, chains = Funnel(dim=3, scale=1.2).double(), 1000
    g = torch.Generator().manual_seed(0)
    start = target.exact_samples(chains, g)
    draws = sample(target, start, NUTS(0.35), num_samples=1, burn_in=25, generator=g)
    v = draws.value[0, :, 0]
    begun = sample(target, torch.ones_like(start), NUTS(0.35), num_samples=1, burn_in=40, generator=g).value[
        0, :, 0
    ]
    for came in (v, begun):
        for power, exact in ((1, 0.0), (2, 1.2**2)):
            error = float((came**power).std()) / math.sqrt(chains)
            assert abs(float((came**power).mean()) - exact) < 4 * error
    assert abs(float(torch.corrcoef(torch.stack([v, start[:, 0]]))[0, 1])) < 0.2  # it has moved


@energy
def posterior(theta: Tensor, x: Tensor, sign: Tensor) -> Tensor:
    """-log p(θ) p(sign | x, θ) of logistic regression, θ ~ N(0, 4 I)."""
    logits = sign * torch.einsum("bnd,bd->bn", x, theta)
    return theta.square().sum(1) / 8 + torch.nn.functional.softplus(-logits).sum(1)


@pytest.mark.parametrize("method", [NUTS(0.6), HMC(0.5, 4)], ids=["NUTS", "HMC"])
def test_ranks_of_the_truth_are_uniform(method: Sampler) -> None:
    """Simulation-based calibration (Talts et al. 2018): θ drawn, data drawn from it, θ's rank among draws."""
    rows, draws, g = 600, 14, torch.Generator().manual_seed(1)
    theta = 2 * torch.randn(rows, 2, generator=g, dtype=torch.float64)
    x = torch.randn(rows, 6, 2, generator=g, dtype=torch.float64)
    chance = torch.sigmoid(torch.einsum("bnd,bd->bn", x, theta))
    sign = torch.where(torch.rand(rows, 6, generator=g, dtype=torch.float64) < chance, 1.0, -1.0).double()
    found = sample(
        posterior,
        torch.zeros(rows, 2, dtype=torch.float64),
        method,
        given={"x": x, "sign": sign},
        num_samples=draws,
        burn_in=10,
        thin=4,
        generator=g,
    )
    for statistic in (lambda t: t[..., 0], lambda t: t[..., 1], lambda t: t.square().sum(-1)):
        ranks = (statistic(found.value) < statistic(theta)).sum(0)
        assert chisquare(ranks.bincount(minlength=draws + 1).numpy()).pvalue > 1e-3
        # The same with half the spread is noticed.
        middle = found.value.mean(0)
        narrow = (statistic(middle + (found.value - middle) / 2) < statistic(theta)).sum(0)
        assert chisquare(narrow.bincount(minlength=draws + 1).numpy()).pvalue < 1e-6


def counted(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Energy, list[int]]:
    rows: list[int] = []

    @energy
    def counting(y: Tensor, depth: Tensor) -> Tensor:
        rows.append(len(y))
        return function(y, depth)

    return counting, rows


def test_chains_that_are_done_cost_no_gradients() -> None:
    """A few flat bowls among steep ones: trajectories of 63 points beside many of 3 or so."""
    depth = torch.ones(200, dtype=torch.float64)
    depth[::20] = 1e-4
    bowl, rows = counted(lambda y, depth: 0.5 * depth * y.square().sum(1))
    g = torch.Generator().manual_seed(0)
    start = torch.randn(200, 2, generator=g, dtype=torch.float64) / depth.sqrt().unsqueeze(1)
    found = sample(bowl, start, NUTS(0.9, max_depth=6), given={"depth": depth}, num_samples=5, generator=g)
    gradients = 5 * found.report["gradients"]
    assert gradients[::20].mean() > 10 * gradients[1::20].mean()
    needed = float(gradients.sum())
    assert needed <= sum(rows[1:]) < 1.3 * needed
    assert len(rows) * 200 > 3 * needed  # what it would cost if all had to wait for the longest


def test_chains_that_end_within_a_doubling_leave_it() -> None:
    """In an empty room no trajectory turns; it ends at a wall, wherever that comes."""
    room, rows = counted(lambda y, depth: torch.where((y.abs() < depth).all(1), 0.0 * y.sum(1), torch.inf))
    g, ones = torch.Generator().manual_seed(0), torch.ones(300, 1, dtype=torch.float64)
    start = 2 * torch.rand(300, 1, generator=g, dtype=torch.float64) - 1
    found = sample(room, start, NUTS(0.05, max_depth=8), given={"depth": ones}, num_samples=3, generator=g)
    needed = float(3 * found.report["gradients"].sum())
    assert needed <= sum(rows[1:]) < 1.2 * needed  # 1.28 if they left at the end of a doubling alone
    assert int(found.nonfinite.sum()) > 800 and float(found.value.abs().max()) < 1


def test_divergences_and_lost_starts() -> None:
    @energy
    def walled(y: Tensor) -> Tensor:
        return torch.where(y[:, 0] < 2, 0.5 * y.square().sum(1) + 5000, torch.inf)

    start = torch.tensor([[0.0], [2.1], [60.0]], dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    with pytest.warns(RuntimeWarning, match=r"1 of 3 chains never left a start .* \(rows 2\)"):
        draws = sample(walled, start, NUTS(0.3), num_samples=40, generator=g)
    assert torch.isfinite(draws.energy[-1]).tolist() == [True, True, False] and int(draws.nonfinite[2]) == 40
    steep = Gaussian(torch.zeros(2, dtype=torch.float64), 1e-8 * torch.eye(2, dtype=torch.float64))
    found = sample(
        steep, torch.full((4, 2), 1e-4, dtype=torch.float64), NUTS(0.5), num_samples=10, generator=g
    )
    assert found.divergent.tolist() == [10] * 4 and found.nonfinite.tolist() == [0] * 4
    assert float(found.accepted.max()) == 0 and bool((found.value == 1e-4).all())
    with pytest.raises(ValueError, match="max_depth must be an integer of at least 1; got 0"):
        NUTS(0.1, max_depth=0)

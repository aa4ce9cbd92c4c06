"""Annealed importance sampling: closed forms with perfect steps, unbiased weights, bounds on both sides."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from ebm.infer import HMC, MALA, Langevin, log_partition
from ebm.infer.annealed_importance import _Bridge
from ebm.infer.method import State
from ebm.infer.sampler import Info, Noise, Sampler
from ebm.problem import Problem
from ebm.targets import Banana, DoubleWell, Gaussian, Mixture, Ring, Rosenbrock

STANDARD = Gaussian(torch.zeros(1, dtype=torch.float64))


class Perfect(Sampler):
    """Independent draws of the level between N(0, 1) and N(0, s²): N(0, 1/(1 - b + b/s²))."""

    def __init__(self, s: float):
        self.s = s

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        assert isinstance(problem, _Bridge)
        precision = 1 - problem.b + problem.b / self.s**2
        return {"u": u, "width": torch.full_like(u, precision**-0.5)}

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        moved = {"u": state["width"] * noise["normal"]}
        return {**state, **moved}, {"accepted": torch.ones(len(noise["normal"]), dtype=torch.bool)}


@pytest.mark.parametrize("s, levels", [(2.0, 50), (0.5, 10)])
def test_the_bounds_are_their_closed_forms(s: float, levels: int) -> None:
    """E[log w] = Σ Δb ½(1/s² - 1) · -1/(1 - b + b/s²), at the lower b of each pair, on the way back the
    upper.
    """
    wide = Gaussian(torch.zeros(1, dtype=torch.float64), torch.full((1, 1), s**2, dtype=torch.float64))
    g, chains = torch.Generator().manual_seed(0), 40_000
    exact = wide.exact_samples(chains, g)
    found = log_partition(wide, STANDARD, Perfect(s), betas=levels, chains=chains, exact=exact, generator=g)
    b = torch.linspace(0, 1, levels + 1, dtype=torch.float64)
    slope = 0.5 * (1 - s**-2) / (1 - b + b / s**2)  # ⟨E_0 - E_1⟩ at level b
    forth, back = float(slope[:-1].mean()), float(slope[1:].mean())
    ratio = math.log(s)
    if s == 2.0:
        assert (round(forth, 3), round(ratio, 3), round(back, 3)) == (0.682, 0.693, 0.705)
    errors = [float(w.std()) / math.sqrt(chains) for w in (found.log_weights, found.back_log_weights)]
    assert abs(float(found.lower) - STANDARD.log_z - forth) < 4 * errors[0]
    assert abs(float(found.upper) - STANDARD.log_z - back) < 4 * errors[1]
    gap = abs(back - forth)
    assert 4 * max(errors) < gap  # so the test can tell one from the other
    error = float(found.log_weights.exp().std()) / s / math.sqrt(chains)
    assert abs(float(found.estimate) - STANDARD.log_z - ratio) < 4 * error


@pytest.mark.parametrize(
    "target, method",
    [
        (Banana(2, scale=1.5, bend=0.4).double(), MALA(0.2)),
        (DoubleWell(3, height=2.0).double(), HMC(0.2, 4)),
        (Ring(2.0, 0.4).double(), HMC(0.3, 3)),
        (Mixture.on_circle(5, 3.0, 0.6, dtype=torch.float64), MALA(0.3)),
    ],
)
def test_log_z_lies_between_the_bounds(target: Banana, method: Sampler) -> None:
    g, chains = torch.Generator().manual_seed(0), 800
    levels = torch.linspace(0, 1, 41, dtype=torch.float64) ** 3  # small steps first, where E_1 is still steep
    base = Gaussian(torch.zeros(target.dim, dtype=torch.float64), 6 * torch.eye(target.dim).double())
    exact = target.exact_samples(chains, g)
    found = log_partition(target, base, method, betas=levels, chains=chains, exact=exact, generator=g)
    weights = found.log_weights.exp()
    error = float(weights.std() / weights.mean()) / math.sqrt(chains)
    assert error < 0.1 and abs(float(found.estimate) - target.log_z) < 4 * error
    for bound, log_weights, sign in (
        (found.lower, found.log_weights, 1),
        (found.upper, found.back_log_weights, -1),
    ):
        off = sign * (target.log_z - float(bound)) / (float(log_weights.std()) / math.sqrt(len(log_weights)))
        assert off > 2  # on its side, by more than chance
    assert float(found.upper - found.lower) < 3 and 0 < float(found.accepted) <= 1
    assert float(found.ess) == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()))
    back = -torch.logsumexp(-found.back_log_weights, 0) + math.log(chains) + base.log_z
    assert abs(float(back) - target.log_z) < 0.3


def test_one_level_is_importance_sampling() -> None:
    target, chains = Ring(2.0, 0.5).double(), 500
    base = Gaussian(torch.zeros(2, dtype=torch.float64), 4 * torch.eye(2).double())
    found = log_partition(
        target, base, MALA(0.1), betas=1, chains=chains, generator=torch.Generator().manual_seed(3)
    )
    y = base.exact_samples(chains, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found.log_weights, base(y=y) - target(y=y))
    assert math.isnan(float(found.upper)) and len(found.back_log_weights) == 0
    assert re.match(r"LogPartition: [\d.]+; at least [\d.]+; 500 weights worth", str(found))


def test_what_it_refuses() -> None:
    target, base = Rosenbrock(3).double(), Gaussian(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(TypeError, match="base is a target whose log_z"):
        log_partition(base, target, MALA(0.1))
    with pytest.raises(TypeError, match="take a sampler with a test"):
        log_partition(target, base, Langevin(0.1))
    for betas in ([0.0, 0.5], [0.1, 1.0], [0.0, 0.7, 0.5, 1.0], [1.0]):
        with pytest.raises(ValueError, match="betas rise from 0 to 1"):
            log_partition(target, base, MALA(0.1), betas=betas)
    with pytest.raises(ValueError, match="betas must be an integer of at least 1; got 0"):
        log_partition(target, base, MALA(0.1), betas=0)
    with pytest.raises(ValueError, match="chains must be an integer of at least 1"):
        log_partition(target, base, MALA(0.1), chains=0)

"""Underdamped Langevin dynamics: BAOAB by hand, its linear map's stationary law, the leapfrog at γ = 0."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov

from ebm import sample
from ebm.infer import HMC, UnderdampedLangevin
from ebm.infer.hmc import leapfrog
from ebm.infer.pose import pose
from ebm.targets import DoubleWell, Gaussian, Mixture


def stationary(step: float, friction: float, curvature: float, mass: float) -> np.ndarray:
    """The covariance of (u, p) that the linear map of BAOAB leaves as it is, for E = ½cu² and β = 1."""
    b = np.array([[1, 0], [-step / 2 * curvature, 1]])
    a = np.array([[1, step / 2 / mass], [0, 1]])
    keep = math.exp(-friction * step)
    o, noise = np.diag([1, keep]), b @ a @ np.array([[0], [math.sqrt((1 - keep**2) * mass)]])
    return solve_discrete_lyapunov(b @ a @ o @ a @ b, noise @ noise.T)


@pytest.mark.parametrize("step, friction, mass", [(1.2, 1.0, 1.0), (0.9, 0.3, 0.5), (1.3, 20.0, 2.0)])
def test_a_quadratic_is_sampled_exactly_at_any_stable_step(step: float, friction: float, mass: float) -> None:
    """Positions have the variance 1/βc whatever ε; momenta m(1 - ε²βc/4m); as for the linear map."""
    beta, chains = 1.7, 40_000
    curvature = torch.tensor([0.3, 1.0], dtype=torch.float64)
    target = Gaussian(torch.zeros(2, dtype=torch.float64), torch.diag(1 / curvature))
    g = torch.Generator().manual_seed(0)
    problem, u = pose(target, torch.zeros(chains, 2, dtype=torch.float64), None, generator=g)
    method = UnderdampedLangevin(step, friction, mass)
    state, noise = method.init(problem, u, beta), method.noise(u)
    for _ in range(150):
        method.draw(noise, g)
        state, _ = method.step(problem, state, noise)
    error = 4 * math.sqrt(2 / chains)
    for d, c in enumerate((beta * curvature).tolist()):
        exact = stationary(step, friction, c, mass)
        assert exact[0, 0] == pytest.approx(1 / c) and exact[0, 1] == pytest.approx(0, abs=1e-12)
        assert exact[1, 1] == pytest.approx(mass * (1 - step**2 * c / mass / 4))
        assert abs(float(state["u"][:, d].var()) * c - 1) < error
        assert abs(float(state["momentum"][:, d].var()) / (exact[1, 1] / mass) - 1) < error
    assert abs(exact[1, 1] / mass - 1) > 2 * error  # the momenta's bias is there to be seen


def test_a_step_by_hand() -> None:
    g = torch.Generator().manual_seed(1)
    target, beta, step, friction = DoubleWell(2).double(), 1.3, 0.2, 0.7
    mass = torch.tensor([0.5, 3.0], dtype=torch.float64)
    problem, u = pose(target, torch.randn(5, 2, generator=g, dtype=torch.float64), None, generator=g)
    method = UnderdampedLangevin(step, friction, mass)
    state = method.init(problem, u, beta)
    xi = torch.randn(5, 2, generator=g, dtype=torch.float64)
    new, info = method.step(problem, state, {"normal": xi})

    def force(q: torch.Tensor) -> torch.Tensor:
        return -beta * 4 * (q**2 - 1) * q

    q, p = u, mass.sqrt() * state["momentum"]
    p = p + step / 2 * force(q)
    q = q + step / 2 * p / mass
    p = math.exp(-friction * step) * p + math.sqrt(1 - math.exp(-2 * friction * step)) * mass.sqrt() * xi
    q = q + step / 2 * p / mass
    p = p + step / 2 * force(q)
    torch.testing.assert_close(new["u"], q, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(new["momentum"], p / mass.sqrt(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(new["value"], target(y=q), rtol=1e-12, atol=1e-12)
    assert info == {}


def test_without_friction_it_is_the_leapfrog() -> None:
    g = torch.Generator().manual_seed(2)
    problem, u = pose(DoubleWell(3).double(), torch.randn(4, 3, generator=g, dtype=torch.float64), None)
    method = UnderdampedLangevin(0.1, friction=0.0)
    state = method.init(problem, u, 2.0)
    end, p = leapfrog(problem, HMC(0.1).init(problem, u, 2.0), state["momentum"], 20)
    for _ in range(20):
        state, _ = method.step(problem, state, {"normal": torch.ones_like(u)})
    torch.testing.assert_close(state["u"], end["u"], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state["momentum"], p, rtol=1e-11, atol=1e-11)


def test_the_bias_vanishes_with_the_square_of_the_step() -> None:
    """Where the energy is not quadratic: seen at ε = 1.05, not at 0.15, where it should be 49 times less."""
    halves, centers = torch.tensor([0.5, 0.5]).double(), torch.tensor([[-1.2], [1.2]]).double()
    target, chains = Mixture(halves, centers, 0.3 * torch.eye(1).double()), 60_000
    exact, off = float(target.covariance), {}
    for step in (1.05, 0.15):
        g = torch.Generator().manual_seed(0)
        start = target.exact_samples(chains, g)
        method = UnderdampedLangevin(step)
        draws = sample(target, start, method, num_samples=1, burn_in=int(9 / step), generator=g)
        squares = draws.value[0, :, 0] ** 2
        off[step] = abs(float(squares.mean()) - exact) / (float(squares.std()) / math.sqrt(chains))
        torch.testing.assert_close(draws.energy[0], target(y=draws.value[0]))
    assert off[1.05] > 6 and off[0.15] < 4


def test_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"friction must be finite and at least 0; got -1"):
        UnderdampedLangevin(0.1, friction=-1.0)
    with pytest.raises(ValueError, match="step_size must be finite and positive"):
        UnderdampedLangevin(0.0)

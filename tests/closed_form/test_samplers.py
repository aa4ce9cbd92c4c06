"""Samplers against closed forms: moments, the acceptance ratio, the leapfrog, counts of what went wrong."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm import Choices, Energy, Samples, energy
from ebm.infer import HMC, MALA, GradientDescent, Langevin, sample
from ebm.infer.hmc import leapfrog
from ebm.infer.pose import pose
from ebm.infer.sampler import Noise, Sampler
from ebm.measure import ess
from ebm.regularizers import Box
from ebm.targets import DoubleWell, Gaussian, Mixture

COVARIANCE = torch.tensor([[2.0, 0.8, -0.3], [0.8, 1.0, 0.2], [-0.3, 0.2, 0.5]], dtype=torch.float64)
CENTER = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def gaussian() -> Gaussian:
    return Gaussian(CENTER, COVARIANCE)


def mixture() -> Mixture:
    """Two unequal modes that overlap, so that chains mix within the test."""
    means = torch.tensor([[-1.2, 0.0], [1.2, 0.6]], dtype=torch.float64)
    covariances = torch.tensor([[[0.6, 0.2], [0.2, 0.4]], [[0.3, 0.0], [0.0, 0.8]]], dtype=torch.float64)
    return Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), means, covariances)


def moments_by_quadrature(target: Energy, beta: float, edge: float = 7.0, points: int = 281) -> Tensor:
    """E[y], E[yyᵀ] (5 numbers for y in the plane) under exp(-βE), by the trapezoid rule."""
    axis = torch.linspace(-edge, edge, points, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    weight = torch.softmax(-beta * target(y=grid), 0)
    return (weight.unsqueeze(1) * plane_moments(grid)).sum(0)


def plane_moments(y: Tensor) -> Tensor:
    return torch.stack([y[..., 0], y[..., 1], y[..., 0] ** 2, y[..., 1] ** 2, y[..., 0] * y[..., 1]], -1)


def assert_moments(draws: Tensor, moments: Callable[[Tensor], Tensor], exact: Tensor, sharp: float = 0.05) -> None:
    """Within 4 standard errors. Chains are independent, so the spread of their means is an honest error.

    `sharp` bounds the errors, for a test that cannot fail is none.
    """
    means = moments(draws).mean(0)  # (B, K)
    error = means.std(0) / math.sqrt(len(means))
    assert float(error.max()) < sharp
    assert float(((means.mean(0) - exact).abs() / error).max()) < 4


def per_chain(*values: float, chains: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).repeat_interleave(chains)


# Moments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_ula_has_the_variance_of_its_closed_form(beta: float, generator: torch.Generator) -> None:
    """1/(βλ(1 - ελ/2)), with ε so large that it is far from 1/(βλ); standard errors from the ESS."""
    step, curvature = 0.8, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    target = Gaussian(torch.zeros(3, dtype=torch.float64), torch.diag(1 / curvature))
    start = torch.zeros(200, 3, dtype=torch.float64)
    draws = sample(
        target, start, Langevin(step), num_samples=400, burn_in=50, beta=beta, generator=generator
    ).value
    squares = draws.square()
    error = (squares.var((0, 1)) / ess(squares, "mean")).sqrt()
    biased, exact = 1 / (beta * curvature * (1 - step * curvature / 2)), 1 / (beta * curvature)
    assert float(((squares.mean((0, 1)) - biased).abs() / error).max()) < 4
    assert float(((squares.mean((0, 1)) - exact).abs() / error).min()) > 10


@pytest.mark.parametrize(
    "method",
    [MALA(0.25), MALA(per_chain(0.05, 0.25, 0.6, chains=500)), HMC(0.35, 6), HMC(0.2, 4, mass=1 / CENTER.abs())],
    ids=["MALA", "MALA, step per chain", "HMC", "HMC, mass"],
)
def test_exact_moments_of_a_gaussian(method: Sampler, generator: torch.Generator) -> None:
    """Mean and full covariance Σ/β, at three β in one call."""
    beta = per_chain(0.5, 1.0, 4.0, chains=500)
    start = torch.full((1500, 3), 0.5, dtype=torch.float64)
    draws = sample(gaussian(), start, method, num_samples=150, burn_in=150, beta=beta, generator=generator)
    assert bool((draws.accepted > 0).all()) and 0.3 < float(draws.accepted.mean()) < 1
    for k, b in enumerate((0.5, 1.0, 4.0)):
        scaled = (draws.value[:, 500 * k : 500 * (k + 1)] - CENTER) * math.sqrt(b)
        assert_moments(scaled, lambda d: d, torch.zeros(3, dtype=torch.float64), sharp=0.1)
        assert_moments(
            scaled, lambda d: (d.unsqueeze(-1) * d.unsqueeze(-2)).flatten(-2), COVARIANCE.flatten(), sharp=0.15
        )


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("method", [MALA(0.1), HMC(0.3, 5)], ids=["MALA", "HMC"])
@pytest.mark.parametrize("target", [DoubleWell(2).double(), mixture()], ids=["double well", "mixture"])
def test_exact_moments_of_many_modes(
    target: Energy, method: Sampler, beta: float, generator: torch.Generator
) -> None:
    start = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    draws = sample(target, start, method, num_samples=200, burn_in=100, beta=beta, generator=generator)
    assert_moments(draws.value, plane_moments, moments_by_quadrature(target, beta))


# The arithmetic of one step -------------------------------------------------------------------------------------


def acceptance(method: Sampler, target: Energy, u: Tensor, normal: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The proposal and the probability of taking it, found by trying uniform numbers (bisection)."""
    problem, u = pose(target, u, None)
    with torch.no_grad():
        state = method.init(problem, u, beta)
        low, high = torch.zeros(len(u), dtype=u.dtype), torch.ones(len(u), dtype=u.dtype)
        new, _ = method.step(problem, state, {"normal": normal, "uniform": torch.full_like(low, -1.0)})
        for _ in range(50):
            middle = (low + high) / 2
            taken = method.step(problem, state, {"normal": normal, "uniform": middle})[1]["accepted"]
            low, high = torch.where(taken, middle, low), torch.where(taken, high, middle)
    return new["u"], high


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_mala_detailed_balance(beta: float, generator: torch.Generator) -> None:
    """π(u) q(u'|u) a(u, u') = π(u') q(u|u') a(u', u), with densities written out by hand."""
    target, step, n = mixture(), 0.4, 300
    u = 1.5 * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    xi = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    proposal, forth = acceptance(MALA(step), target, u, xi, beta)

    def drift(y: Tensor) -> Tensor:
        y = y.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(target(y=y).sum(), y)
        return y.detach() - step * gradient

    def log_q(to: Tensor, start: Tensor) -> Tensor:
        return torch.distributions.Normal(drift(start), math.sqrt(2 * step / beta)).log_prob(to).sum(1)

    torch.testing.assert_close(proposal, drift(u) + math.sqrt(2 * step / beta) * xi, rtol=1e-12, atol=1e-12)
    back_xi = (u - drift(proposal)) / math.sqrt(2 * step / beta)
    returned, back = acceptance(MALA(step), target, proposal, back_xi, beta)
    torch.testing.assert_close(returned, u, rtol=1e-10, atol=1e-10)
    log_pi = -beta * target(y=u), -beta * target(y=proposal)
    ratio = log_pi[1] + log_q(u, proposal) - log_pi[0] - log_q(proposal, u)
    torch.testing.assert_close(forth, ratio.exp().clamp(max=1), rtol=1e-9, atol=1e-12)
    left = log_pi[0] + log_q(proposal, u) + forth.log()
    right = log_pi[1] + log_q(u, proposal) + back.log()
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)
    assert 0.1 < float((forth < 0.99).double().mean()) < 0.95  # both branches of the minimum were tried


def test_hmc_acceptance_by_hand(generator: torch.Generator) -> None:
    """A leapfrog written out with momentum and mass, as in Neal (2011), eqs. 2.28 to 2.30."""
    target, step, steps, beta = DoubleWell(2).double(), 0.3, 7, 1.7
    mass = torch.tensor([0.5, 3.0], dtype=torch.float64)
    u = torch.randn(100, 2, generator=generator, dtype=torch.float64)
    xi = torch.randn(100, 2, generator=generator, dtype=torch.float64)
    proposal, chance = acceptance(HMC(step, steps, mass), target, u, xi, beta)

    def force(q: Tensor) -> Tensor:
        return -beta * 4 * (q**2 - 1) * q

    def hamiltonian(q: Tensor, p: Tensor) -> Tensor:
        return beta * target(y=q) + (p**2 / (2 * mass)).sum(1)

    q, p = u, mass.sqrt() * xi
    before = hamiltonian(q, p)
    for _ in range(steps):
        p = p + step / 2 * force(q)
        q = q + step * p / mass
        p = p + step / 2 * force(q)
    torch.testing.assert_close(proposal, q, rtol=1e-11, atol=1e-11)
    expected = (before - hamiltonian(q, p)).exp().clamp(max=1)
    torch.testing.assert_close(chance, expected, rtol=1e-9, atol=1e-12)


def test_leapfrog_is_reversible_preserves_volume_and_errs_by_step_squared(generator: torch.Generator) -> None:
    problem, u = pose(
        DoubleWell(2, height=0.7).double(), torch.randn(6, 2, generator=generator, dtype=torch.float64), None
    )
    p = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    state = HMC(0.1).init(problem, u, 1.3)
    there, p_there = leapfrog(problem, state, p, 20)
    back, p_back = leapfrog(problem, {**state, **there}, -p_there, 20)
    torch.testing.assert_close(back["u"], u, rtol=0, atol=1e-12)
    torch.testing.assert_close(p_back, -p, rtol=0, atol=1e-12)

    graph = problem.rows(torch.tensor([0])).with_graph()
    one = {k: v[:1] if v.ndim and len(v) == 6 else v for k, v in state.items()}

    def flow(z: Tensor) -> Tensor:
        y = z[None, :2]
        _, gradient = graph.value_and_grad(y)
        end, momentum = leapfrog(graph, {**one, "u": y, "gradient": gradient}, z[None, 2:], 20)
        return torch.cat([end["u"][0], momentum[0]])

    jacobian = torch.autograd.functional.jacobian(flow, torch.cat([u[0], p[0]]))
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-10)
    assert float((jacobian - torch.eye(4)).abs().max()) > 0.5  # it is no trivial map

    errors = []
    for step, steps in ((0.02, 50), (0.01, 100)):
        state = HMC(step).init(problem, u, 1.3)
        end, p_end = leapfrog(problem, state, p, steps)
        kinetic = 0.5 * (p_end.square() - p.square()).sum(1)
        errors.append((1.3 * (end["value"] - state["value"]) + kinetic).abs())
    torch.testing.assert_close(errors[0] / errors[1], torch.full_like(errors[0], 4.0), rtol=0.05, atol=0)

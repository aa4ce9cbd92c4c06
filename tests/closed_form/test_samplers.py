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
from ebm.infer.sampler import Sampler
from ebm.measure import ess
from ebm.regularizers import Box
from ebm.targets import DoubleWell, Gaussian, Mixture

COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
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


def assert_moments(
    draws: Tensor, moments: Callable[[Tensor], Tensor], exact: Tensor, sharp: float = 0.06
) -> None:
    """Within 4 standard errors. Chains are independent, so the spread of their means is an honest error.

    `sharp` bounds the errors, for a test that cannot fail is none.
    """
    means = moments(draws).mean(0)  # (B, K)
    error = means.std(0) / math.sqrt(len(means))
    assert float(error.max()) < sharp
    assert float(((means.mean(0) - exact).abs() / error).max()) < 4


def per_chain(*values: float, chains: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).repeat_interleave(chains)


# Moments ---------------------------------------------------------------------------------------------


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
    [
        MALA(0.25),
        MALA(per_chain(0.1, 0.2, 0.3, chains=500)),
        HMC(0.35, 6),
        HMC(0.2, 4, mass=1 / CENTER.abs()),
    ],
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
            scaled,
            lambda d: (d.unsqueeze(-1) * d.unsqueeze(-2)).flatten(-2),
            COVARIANCE.flatten(),
            sharp=0.15,
        )


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("method", [MALA(0.15), HMC(0.3, 5)], ids=["MALA", "HMC"])
@pytest.mark.parametrize("target", [DoubleWell(2).double(), mixture()], ids=["double well", "mixture"])
def test_exact_moments_of_many_modes(
    target: Energy, method: Sampler, beta: float, generator: torch.Generator
) -> None:
    start = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    draws = sample(target, start, method, num_samples=200, burn_in=300, beta=beta, generator=generator)
    assert_moments(draws.value, plane_moments, moments_by_quadrature(target, beta))


# The arithmetic of one step --------------------------------------------------------------------------


def acceptance(
    method: Sampler, target: Energy, u: Tensor, normal: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
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
    known = torch.minimum(forth, back) > 1e-4  # bisection finds a chance to 2^-50, not relative to itself
    torch.testing.assert_close(left[known], right[known], rtol=1e-9, atol=1e-9)
    assert float(known.double().mean()) > 0.5
    assert 0.1 < float((forth < 0.99).double().mean()) < 0.95  # both branches of the minimum were tried


def test_hmc_acceptance_by_hand(generator: torch.Generator) -> None:
    """A leapfrog written out with momentum and mass, as in Neal (2011), eqs. 2.28 to 2.30."""
    target, step, steps, beta = DoubleWell(2).double(), 0.15, 5, 1.7
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


def test_ula_step_by_hand(generator: torch.Generator) -> None:
    u = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    step, beta = per_chain(0.1, 0.2, 0.3, chains=1), per_chain(1.0, 2.0, 5.0, chains=1)

    @energy
    def quartic(y: Tensor) -> Tensor:
        return (y**4).flatten(1).sum(1)

    noise = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    draws = sample(
        quartic, u, Langevin(step), num_samples=1, beta=beta, generator=torch.Generator().manual_seed(5)
    )
    e, b = step.view(3, 1, 1), beta.view(3, 1, 1)
    torch.testing.assert_close(
        draws.value[0], u - e * 4 * u**3 + (2 * e / b).sqrt() * noise, rtol=1e-14, atol=0
    )
    assert draws.energy is None and draws.accepted.tolist() == [1.0, 1.0, 1.0]


# What goes wrong is counted, chain by chain ----------------------------------------------------------


@energy
def fragile(y: Tensor, broken: Tensor) -> Tensor:
    """½|y|², and NaN beyond |y| = 1 in the chains that are broken."""
    bowl = 0.5 * y.square().sum(1)
    return torch.where(broken & (y.square().sum(1) > 1), torch.nan, bowl)


@pytest.mark.parametrize("method", [Langevin(0.2), MALA(0.2), HMC(0.5, 3)], ids=["ULA", "MALA", "HMC"])
def test_a_broken_chain_leaves_its_neighbors_alone(method: Sampler) -> None:
    def run(broken: Tensor) -> Samples:
        g = torch.Generator().manual_seed(1)
        start = torch.zeros(5, 3, dtype=torch.float64)
        return sample(fragile, start, method, given={"broken": broken}, num_samples=60, generator=g)

    healthy = run(torch.zeros(5, dtype=torch.bool))
    which = torch.tensor([False, False, True, False, False])
    if method.tested:
        broken = run(which)  # the draws are those of the energy with a wall
        assert bool(torch.isfinite(broken.value).all()) and bool(torch.isfinite(broken.energy).all())
        assert float(broken.value[:, 2].square().sum(1).max()) <= 1
    else:  # here the energy alone is NaN: the gradient is 0, and the chain walks on
        with pytest.warns(RuntimeWarning, match=r"1 of 5 chains came to where .*rows 2.*smaller step_size"):
            broken = run(which)
    others = ~which
    assert broken.nonfinite[others].tolist() == [0] * 4 and int(broken.nonfinite[2]) > 0
    assert bool((broken.value[:, others] == healthy.value[:, others]).all())
    assert bool((broken.accepted[others] == healthy.accepted[others]).all())
    assert healthy.nonfinite.tolist() == [0] * 5


def test_a_runaway_chain_is_told_and_counted(generator: torch.Generator) -> None:
    """For ε > 2/λ ULA explodes; the draws that are infinite are counted exactly."""
    target = DoubleWell(2).double()
    start = torch.full((3, 2), 1.5, dtype=torch.float64)
    step = per_chain(0.01, 2.0, 0.01, chains=1)
    with pytest.warns(RuntimeWarning, match=r"Langevin: 1 of 3 chains .* \(rows 1\)"):
        draws = sample(target, start, Langevin(step), num_samples=40, generator=generator)
    lost = (~torch.isfinite(draws.value)).any(2).sum(0)
    assert draws.nonfinite.tolist() == lost.tolist() and 20 < int(lost[1]) < 40
    assert lost[::2].tolist() == [0, 0]


def test_divergent_steps_are_counted(generator: torch.Generator) -> None:
    """Beyond 2/√λ the leapfrog's error grows without bound; a chain with a small step is not concerned."""
    step = per_chain(0.1, 2.5, chains=1)
    start = torch.ones(2, 3, dtype=torch.float64)
    target = Gaussian(torch.zeros(3, dtype=torch.float64))
    draws = sample(target, start, HMC(step, 10), num_samples=50, generator=generator)
    assert draws.divergent.tolist() == [0, 50] and draws.nonfinite.tolist() == [0, 0]
    assert float(draws.accepted[0]) > 0.9 and float(draws.accepted[1]) == 0
    assert bool((draws.value[:, 1] == 1).all())
    draws = sample(target, start, MALA(per_chain(0.1, 500.0, chains=1)), num_samples=50, generator=generator)
    assert draws.divergent.tolist() == [0, 50] and "50 divergent" in str(draws)


def test_a_start_without_density_is_left_or_told(generator: torch.Generator) -> None:
    @energy
    def walled(y: Tensor) -> Tensor:
        return torch.where(y[:, 0] < 2, 0.5 * y.square().sum(1), torch.inf)

    start = torch.tensor([[0.0], [2.1], [60.0]], dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match=r"1 of 3 chains never left a start .* \(rows 2\)"):
        draws = sample(walled, start, MALA(0.3), num_samples=300, generator=generator)
    assert torch.isfinite(draws.energy[-1]).tolist() == [True, True, False]
    assert int(draws.nonfinite[2]) == 300


# The driver ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [Langevin(0.1), MALA(0.1), HMC(0.2, 3)], ids=["ULA", "MALA", "HMC"])
def test_thinning_burn_in_and_the_generator(method: Sampler) -> None:
    def run(seed: int = 2, **options: int) -> Samples:
        start = torch.zeros(4, 2, dtype=torch.float64)
        return sample(mixture(), start, method, generator=torch.Generator().manual_seed(seed), **options)

    every = run(num_samples=30)
    assert bool((run(num_samples=30).value == every.value).all())
    assert not bool((run(seed=3, num_samples=30).value == every.value).all())
    some = run(num_samples=8, burn_in=6, thin=3)
    assert bool((some.value == every.value[8::3]).all())
    if method.tested:
        assert bool((some.energy == every.energy[8::3]).all())
        torch.testing.assert_close(every.energy[-1], mixture()(y=every.value[-1]), rtol=1e-12, atol=1e-12)
        moved = (every.value[6:] != every.value[5:-1]).any(2).double().mean(0)
        assert bool((some.accepted == moved).all())
    assert every.value.shape == (30, 4, 2) and not every.value.requires_grad


@pytest.mark.parametrize("method", [Langevin(0.1), MALA(0.1), HMC(0.2, 3)], ids=["ULA", "MALA", "HMC"])
def test_any_shape_and_several_variables(method: Sampler) -> None:
    """Two variables of shapes (3, 4) and () walk as one variable of 13 coordinates does."""

    @energy
    def both(y: Tensor, z: Tensor) -> Tensor:
        return (y**2).flatten(1).sum(1) + (z - y[:, 0, 0]) ** 2

    @energy
    def flat(v: Tensor) -> Tensor:
        return (v[:, :12] ** 2).sum(1) + (v[:, 12] - v[:, 0]) ** 2

    start = torch.randn(5, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    over = {"y": start[:, :12].view(5, 3, 4), "z": start[:, 12]}
    named = sample(both, over, method, num_samples=20, generator=torch.Generator().manual_seed(7))
    single = sample(flat, start, method, num_samples=20, generator=torch.Generator().manual_seed(7))
    assert named.value["y"].shape == (20, 5, 3, 4) and named.value["z"].shape == (20, 5)
    joined = torch.cat([named.value["y"].flatten(2), named.value["z"].unsqueeze(2)], 2)
    torch.testing.assert_close(joined, single.value, rtol=1e-10, atol=1e-10)
    # a variable of shape (B,)
    scalar = sample(both, over["z"], method, given={"y": over["y"]}, num_samples=3)
    assert scalar.value.shape == (3, 5)


def test_bad_input_is_told() -> None:
    start, target = torch.zeros(2, 3, dtype=torch.float64), gaussian()

    def refuses(error: type[Exception], words: str, method: object = Langevin(0.1), **other: object) -> None:
        settings: dict = {"over": start, "method": method, "num_samples": 1, **other}
        with pytest.raises(error, match=words):
            sample(target, **settings)

    refuses(TypeError, "must be a sampler such as", GradientDescent(0.1))
    refuses(ValueError, "num_samples must be an integer of at least 1; got 0", num_samples=0)
    refuses(ValueError, "burn_in must be an integer of at least 0; got -1", burn_in=-1)
    refuses(ValueError, "thin must be an integer of at least 1; got 0", thin=0)
    refuses(ValueError, "beta must be finite and positive; got 0", beta=0.0)
    refuses(ValueError, "beta must be finite and positive; got -1", beta=-1.0)
    refuses(ValueError, r"per row has shape \(2,\).*got \(3,\)", beta=torch.ones(3))
    refuses(ValueError, r"per row has shape \(2,\).*got \(5,\)", MALA(torch.ones(5)))
    refuses(ValueError, r"one per coordinate, shape \(3,\); got \(2,\)", HMC(0.1, 2, mass=torch.ones(2)))
    refuses(
        TypeError, "moves along a gradient, and y holds Choices", over=Choices(torch.zeros(2, 3).long(), 2)
    )
    for make in (Langevin, MALA, HMC):
        with pytest.raises(ValueError, match=r"step_size must be finite and positive; got -0\.1"):
            make(-0.1)
    with pytest.raises(ValueError, match="leapfrogs must be an integer of at least 1"):
        HMC(0.1, 0)
    with pytest.raises(ValueError, match="mass must be finite and positive"):
        HMC(0.1, 1, mass=0.0)
    with pytest.raises(TypeError, match=r"Box is \+inf outside a set.*MALA would leave it.*compose"):
        sample(target + Box("y", -1.0, 1.0), start, MALA(0.1), num_samples=1)
    for wrong in (lambda y: y.sum(), lambda y: y.sum(1, keepdim=True)):
        with pytest.raises(ValueError, match=r"must return one energy a row, shape \(2,\)"):
            sample(energy(wrong), start, Langevin(0.1), num_samples=1)


# Compiled ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not COMPILERS, reason="torch.compile needs a C++ compiler, and there is no g++ or clang++"
)
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(Langevin(0.1), id="ULA"),
        pytest.param(MALA(0.1), id="MALA", marks=pytest.mark.slow),
        pytest.param(HMC(0.1, 4, mass=2.0), id="HMC", marks=pytest.mark.slow),
        pytest.param(HMC(0.1, 11), id="HMC, gradient alone", marks=pytest.mark.slow),
    ],
)
def test_compiled_equals_eager_to_rounding(method: Sampler) -> None:
    """7 steps: a compiled call of five steps (HMC: of one), and a rest; then again with other row data."""

    @energy
    def bent(y: Tensor, center: Tensor) -> Tensor:
        return ((y - center) ** 2).sum(1) + (y[:, 0] * y[:, 1]).square()

    graphs = [_graphs_compiled()]
    for seed in (0, 1):
        g = torch.Generator().manual_seed(seed)
        start = torch.randn(6, 2, generator=g, dtype=torch.float64)
        given = {"center": torch.randn(6, 2, generator=g, dtype=torch.float64)}
        eager, fast = (
            sample(bent, start, method, given=given, num_samples=7, generator=g.manual_seed(3), compile=c)
            for c in (False, True)
        )
        torch.testing.assert_close(fast.value, eager.value, rtol=1e-10, atol=1e-10)
        assert bool((fast.accepted == eager.accepted).all())
        if method.tested:
            torch.testing.assert_close(fast.energy, eager.energy, rtol=1e-10, atol=1e-10)
        graphs.append(_graphs_compiled())
    assert graphs[0] < graphs[1] == graphs[2]  # it was compiled, and once


def _graphs_compiled() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("method", [Langevin(0.1), HMC(0.1, 12)], ids=["several steps", "gradient alone"])
def test_what_cannot_be_compiled_is_said_and_sampled_all_the_same(method: Sampler) -> None:
    @energy
    def branching(y: Tensor) -> Tensor:
        return y.square().sum(1) if float(y.detach().sum()) < 1e9 else y.sum(1)

    start = torch.zeros(3, 2, dtype=torch.float64)
    eager = sample(branching, start, method, num_samples=6, generator=torch.Generator().manual_seed(0))
    with pytest.warns(RuntimeWarning, match=r"compile cannot take this energy.*The reason: "):
        plain = sample(
            branching, start, method, num_samples=6, generator=torch.Generator().manual_seed(0), compile=True
        )
    assert bool((plain.value == eager.value).all())
    with warnings.catch_warnings():  # said once for each energy, and not tried again
        warnings.simplefilter("error")
        sample(branching, start, method, num_samples=6, compile=True)

"""Targets against independent oracles: dense grids, quadrature, scipy's functions and its minimizers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ebm.targets import (
    Ackley,
    Banana,
    DoubleWell,
    Ellipse,
    Funnel,
    Gaussian,
    Himmelblau,
    Mixture,
    Rastrigin,
    Ring,
    Rosenbrock,
    Target,
    ellipse_data,
)

N = 20_000  # exact samples a test
P_VALUE = 1e-4  # some thirty tests of a distribution together have a chance of 0.3 % of a false alarm


def tensor(*rows: object) -> Tensor:
    return torch.tensor(*rows, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


COVARIANCE_3D = tensor([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
UNEQUAL = Mixture(
    tensor([0.2, 0.5, 0.3]),
    tensor([[-2.0, 0.0], [1.5, 1.0], [1.0, -2.0]]),
    tensor([[[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.8]], [[0.6, 0.0], [0.0, 0.2]]]),
)
TARGETS: dict[str, Target] = {
    "gaussian": Gaussian(tensor([1.0, -0.5]), tensor([[2.0, 0.6], [0.6, 0.5]])),
    "gaussian 3d": Gaussian(tensor([0.0, 1.0, -1.0]), COVARIANCE_3D),
    "double well": DoubleWell(dim=2, height=2.0).double(),
    "double well 3d": DoubleWell(dim=3, height=0.7).double(),
    "eight": Mixture.on_circle(dtype=torch.float64),
    "unequal": UNEQUAL,
    "ring": Ring(radius=2.0, width=0.5).double(),
    "wide ring": Ring(radius=0.5, width=1.0).double(),
    "funnel": Funnel(dim=2, scale=1.0).double(),
    "funnel 3d": Funnel(dim=3, scale=0.8).double(),
    "banana": Banana(dim=2, scale=1.5, bend=0.4).double(),
    "banana 3d": Banana(dim=3, scale=1.5, bend=-0.3).double(),
    "rosenbrock": Rosenbrock(dim=2, curvature=20.0).double(),
    "rosenbrock 4d": Rosenbrock(dim=4).double(),
    "rastrigin": Rastrigin(dim=2, amplitude=3.0).double(),
    "himmelblau": Himmelblau().double(),
    "ackley": Ackley(dim=2).double(),
    "ackley 3d": Ackley(dim=3).double(),
}
with_density = pytest.mark.parametrize("name", [n for n, t in TARGETS.items() if t.log_z is not None])
with_samples = pytest.mark.parametrize(
    "name", [n for n, t in TARGETS.items() if t.log_z is not None and n != "himmelblau"]
)
every = pytest.mark.parametrize("name", list(TARGETS))


# The oracle for integrals: the midpoint rule on a dense grid ----------------------------------------------


class Grid(NamedTuple):
    """Points y(u) of a grid over u, their probabilities and log Z by the midpoint rule."""

    y: Tensor
    probability: Tensor
    log_z: float


class Warp(NamedTuple):
    """A map u ↦ y that lets a grid follow the density: the map, the log of its Jacobian, its inverse."""

    forward: Callable[[Tensor], Tensor]
    log_jacobian: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


def scale_others(u: Tensor, sign: float) -> Tensor:
    return torch.cat([u[:, :1], torch.exp(sign * u[:, :1] / 2) * u[:, 1:]], 1)


def shift_second(u: Tensor, sign: float) -> Tensor:
    return torch.stack([u[:, 0], u[:, 1] + sign * u[:, 0] ** 2], 1)


AS_IS = Warp(lambda u: u, lambda u: u.new_zeros(len(u)), lambda y: y)
WIDTH = Warp(  # narrows with the funnel
    lambda u: scale_others(u, 1.0),
    lambda u: 0.5 * (u.shape[1] - 1) * u[:, 0],
    lambda y: scale_others(y, -1.0),
)
PARABOLA = Warp(  # runs along Rosenbrock's valley
    lambda u: shift_second(u, 1.0), lambda u: u.new_zeros(len(u)), lambda y: shift_second(y, -1.0)
)
GRIDS: dict[str, tuple[tuple[tuple[float, float], ...], Warp]] = {
    "gaussian": (((-11, 13), (-7, 6)), AS_IS),
    "gaussian 3d": (((-11, 11), (-7, 9), (-7, 5)), AS_IS),
    "double well": (((-2.5, 2.5),) * 2, AS_IS),
    "double well 3d": (((-3, 3),) * 3, AS_IS),
    "eight": (((-8.5, 8.5),) * 2, AS_IS),
    "unequal": (((-8, 6.5), (-6, 8.5)), AS_IS),
    "ring": (((-6.2, 6.2),) * 2, AS_IS),
    "wide ring": (((-9, 9),) * 2, AS_IS),
    "funnel": (((-9, 9), (-8.5, 8.5)), WIDTH),
    "funnel 3d": (((-8, 8), (-8, 8), (-8, 8)), WIDTH),
    "banana": (((-12, 12), (-62, 9)), AS_IS),
    "banana 3d": (((-11, 11), (-9, 44), (-8, 8)), AS_IS),
    "rosenbrock": (((-5, 7), (-2, 2)), PARABOLA),
    "rastrigin": (((-6, 6),) * 2, AS_IS),
    "himmelblau": (((-6.0, 6.0),) * 2, AS_IS),
}
SIDES, BLOCKS = {2: 400, 3: 80}, {2: 20, 3: 10}  # cells along an axis, and bins into which they are gathered


@functools.cache
def grid(name: str) -> Grid:
    (box, warp), side = GRIDS[name], SIDES[TARGETS[name].dim]
    cells = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    u = torch.cartesian_prod(*(a + (b - a) * cells for a, b in box))
    y = warp.forward(u)
    log_p = warp.log_jacobian(u) - torch.cat([TARGETS[name](y=part) for part in y.split(100_000)])
    log_cell = sum(math.log((b - a) / side) for a, b in box)
    return Grid(y, log_p.softmax(0), float(log_p.logsumexp(0)) + log_cell)


# A kink at the center costs the grid its fast convergence: there it is good to its step squared.
GRID_ERROR = {"ring": 1e-5, "wide ring": 1e-4}


@with_density
def test_log_z(name: str) -> None:
    assert math.isclose(TARGETS[name].log_z, grid(name).log_z, abs_tol=GRID_ERROR.get(name, 1e-10))


@with_density
def test_mean_and_covariance(name: str) -> None:
    oracle, target, tolerance = grid(name), TARGETS[name], GRID_ERROR.get(name, 1e-9)
    mean = oracle.probability @ oracle.y
    centered = oracle.y - mean
    covariance = centered.T @ (oracle.probability[:, None] * centered)
    torch.testing.assert_close(target.mean, mean, rtol=0, atol=tolerance)
    torch.testing.assert_close(target.covariance, covariance, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("radius, width", [(2.0, 0.25), (1.0, 1.0), (0.3, 2.0)])
def test_ring_by_quadrature_along_the_radius(radius: float, width: float) -> None:
    def moment(power: int) -> float:
        def f(r: float) -> float:
            return r**power * math.exp(-((r - radius) ** 2) / (2 * width**2))

        return integrate.quad(f, 0, radius + 14 * width, points=[radius], epsabs=1e-13, epsrel=1e-13)[0]

    ring = Ring(radius, width).double()
    assert math.isclose(ring.log_z, math.log(2 * math.pi * moment(1)), abs_tol=1e-12)
    expected = tensor([0.5, 0.5]).diag() * (moment(3) / moment(1))
    torch.testing.assert_close(ring.covariance, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("height", [1e-6, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e6, 1e9])
def test_double_well_by_bessel_functions(height: float) -> None:
    x = height / 2
    z = 0.5 * math.pi * (special.ive(-0.25, x) + special.ive(0.25, x))
    assert math.isclose(DoubleWell(1, height).log_z, math.log(z), rel_tol=1e-11, abs_tol=1e-11)
    # by parts: ∫ exp(-E) dy = ∫ y E'(y) exp(-E) dy, so 1 = 4h <y^4 - y^2>; and d log Z/dh = -<(y^2 - 1)^2>
    slope = (DoubleWell(1, height * 1.0001).log_z - DoubleWell(1, height * 0.9999).log_z) / (2e-4 * height)
    second = 1 + slope + 1 / (4 * height)  # <y²> = 1 - <(y² - 1)²> + <y⁴ - y²>
    variance = float(DoubleWell(1, height).double().covariance)
    assert math.isclose(variance, second, rel_tol=1e-5)


@pytest.mark.parametrize("amplitude", [0.01, 1.0, 10.0, 200.0])
def test_rastrigin_by_quadrature(amplitude: float) -> None:
    y = np.linspace(-28, 28, 400_001)
    p = np.exp(-(y**2) - amplitude * (1 - np.cos(2 * np.pi * y)))
    z = integrate.trapezoid(p, y)
    target = Rastrigin(3, amplitude).double()
    assert math.isclose(target.log_z, 3 * math.log(z), rel_tol=1e-12)
    variance = integrate.trapezoid(y**2 * p, y) / z
    torch.testing.assert_close(
        target.covariance, variance * torch.eye(3, dtype=torch.float64), rtol=1e-12, atol=0
    )


class Largest(TorchDispatchMode):
    """Watches the number of entries of the largest tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.entries = max(self.entries, made.untyped_storage().nbytes() // made.element_size())
        return made


def test_a_mixture_of_many_numbers_copies_no_matrix_for_each_row() -> None:
    """(B, K, D) numbers are made, not (B, K, D, D)."""
    rows, k, dim = 30, 4, 20
    g = torch.Generator().manual_seed(0)
    means, y = (torch.randn(n, dim, generator=g, dtype=torch.float64) for n in (k, rows))
    root = torch.randn(k, dim, dim, generator=g, dtype=torch.float64)
    mixture = Mixture(torch.full((k,), 1 / k).double(), means, root @ root.mT + torch.eye(dim).double())
    with Largest() as largest:
        value, gradient = mixture.value_and_grad("y", y=y)
    assert largest.entries == max(rows * k * dim, k * dim * dim)
    parts = torch.distributions.MultivariateNormal(means, precision_matrix=mixture.precisions)
    known = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(mixture.weights), parts)
    torch.testing.assert_close(-value, known.log_prob(y))
    free = y.clone().requires_grad_()
    (expected,) = torch.autograd.grad(known.log_prob(free).sum(), free)
    torch.testing.assert_close(-gradient, expected)


def test_gaussian_and_mixture_are_scipys_densities() -> None:
    y = 3 * torch.randn(50, 3, dtype=torch.float64, generator=generator())
    target = TARGETS["gaussian 3d"]
    expected = stats.multivariate_normal([0, 1, -1], COVARIANCE_3D.numpy()).logpdf(y.numpy())
    torch.testing.assert_close(-target(y=y) - target.log_z, torch.from_numpy(expected))
    y = y[:, :2]
    parts = torch.distributions.MultivariateNormal(UNEQUAL.means, precision_matrix=UNEQUAL.precisions)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(UNEQUAL.weights), parts)
    torch.testing.assert_close(-UNEQUAL(y=y), mixture.log_prob(y))


def test_classical_functions_are_their_formulas() -> None:
    y = 2 * torch.randn(20, 5, dtype=torch.float64, generator=generator())
    rosenbrock = Rosenbrock(5).double()
    value, gradient = rosenbrock.value_and_grad("y", y=y)
    torch.testing.assert_close(value, torch.from_numpy(optimize.rosen(y.numpy().T)))
    torch.testing.assert_close(gradient, torch.from_numpy(optimize.rosen_der(y.numpy().T).T.copy()))
    rows = y.numpy()
    bowl, ripple = np.sqrt((rows**2).mean(1)), np.cos(2 * np.pi * rows).mean(1)
    expected = -20 * np.exp(-0.2 * bowl) - np.exp(ripple) + 20 + np.e
    torch.testing.assert_close(Ackley(5).double()(y=y), torch.from_numpy(expected))
    expected = 10 * 5 + (rows**2 - 10 * np.cos(2 * np.pi * rows)).sum(1)
    torch.testing.assert_close(Rastrigin(5).double()(y=y), torch.from_numpy(expected))


# Minima ---------------------------------------------------------------------------------------------------


@every
def test_minima_are_stationary_and_have_the_lowest_energy(name: str) -> None:
    target = TARGETS[name]
    y = target.minima.clone().requires_grad_()
    energy = target(y=y)
    torch.testing.assert_close(energy, torch.full_like(energy, target.minimum), rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    assert float(gradient.abs().max()) < 1e-8
    assert float(target.distance_to_minima(y.detach()).max()) < 1e-12
    near = y.detach().repeat(200, 1)
    near = near + 0.1 * torch.randn(near.shape, dtype=near.dtype, generator=generator())
    assert float(target(y=near).min()) >= target.minimum


@every
def test_multi_start_search_finds_these_minima_and_no_lower_one(name: str) -> None:
    """scipy's L-BFGS from 40 starts at once: the sum of their energies is least where each of them is."""
    target = TARGETS[name]
    xmin, xmax, ymin, ymax = target.extent
    low, high = tensor([xmin] + [ymin] * (target.dim - 1)), tensor([xmax] + [ymax] * (target.dim - 1))
    starts = torch.rand(40, target.dim, dtype=torch.float64, generator=generator(1))
    # in the plot, and around the origin
    starts = torch.cat([starts[:20] * (high - low) + low, 4 * starts[20:] - 2])

    def objective(rows: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = target.value_and_grad("y", y=torch.from_numpy(rows).view_as(starts))
        return float(value.sum()), gradient.flatten().numpy()

    options = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-9}
    end = optimize.minimize(objective, starts.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
    y = torch.from_numpy(end.x).view_as(starts)
    energy = target(y=y)
    assert float(energy.min()) >= target.minimum - 1e-10
    best = y[energy < target.minimum + 1e-6]
    assert float(target.distance_to_minima(best).max()) < 1e-2
    if "ring" not in name:  # there, 64 points stand for a circle
        assert float((target.minima[:, None] - best).norm(dim=2).amin(1).max()) < 1e-2


@pytest.mark.parametrize("name", [n for n, t in TARGETS.items() if t.dim == 2])
def test_no_point_of_a_dense_grid_is_lower(name: str) -> None:
    target = TARGETS[name]
    xmin, xmax, ymin, ymax = target.extent
    assert xmin < xmax and ymin < ymax
    axes = (torch.linspace(a, b, 401, dtype=torch.float64) for a, b in ((xmin, xmax), (ymin, ymax)))
    y = torch.cartesian_prod(*axes)
    energy = target(y=y)
    assert float(energy.min()) >= target.minimum - 1e-12
    inside = (target.minima - tensor([xmin, ymin]) > 0) & (tensor([xmax, ymax]) - target.minima > 0)
    assert bool(inside.all())


def test_himmelblau_minima_are_the_roots_of_a_quartic() -> None:
    roots = np.roots([1, 0, -22, 1, 114])  # y_2 = 11 - y_1² in y_1 + y_2² = 7
    expected = sorted((float(r.real), float(11 - r.real**2)) for r in roots)
    torch.testing.assert_close(tensor(sorted(Himmelblau().double().minima.tolist())), tensor(expected))


def test_double_well_lists_all_sign_vectors_or_says_why_not() -> None:
    assert {tuple(m) for m in DoubleWell(3).minima.tolist()} == {
        (a, b, c) for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)
    }
    wells = DoubleWell(17)
    with pytest.raises(ValueError, match=r"2\^17 minima .* distance_to_minima"):
        _ = wells.minima
    torch.testing.assert_close(wells.distance_to_minima(torch.zeros(1, 17)), torch.tensor([math.sqrt(17)]))


def test_modes_that_have_merged_are_one_and_lower_modes_are_left_out() -> None:
    half, identity = tensor([0.5, 0.5]), torch.eye(2, dtype=torch.float64)
    merged = Mixture(half, tensor([[-0.8, 0.0], [0.8, 0.0]]), identity)  # two modes only beyond ±1
    torch.testing.assert_close(merged.minima, tensor([[0.0, 0.0]]), rtol=0, atol=1e-12)
    apart = Mixture(half, tensor([[-1.2, 0.0], [1.2, 0.0]]), identity)
    assert apart.minima.shape == (2, 2)
    x = optimize.brentq(lambda x: x - 1.2 * math.tanh(1.2 * x), 0.1, 1.2, xtol=1e-15)
    torch.testing.assert_close(apart.minima.abs().amax(0), tensor([x, 0.0]), rtol=1e-12, atol=1e-12)
    assert UNEQUAL.minima.shape == (1, 2)
    assert Mixture.on_circle(modes=8).minima.shape == (8, 2)  # in float32 too, where equal is to rounding


def test_distances_to_a_circle_and_to_points() -> None:
    y = tensor([[0.0, 0.0], [3.0, 4.0], [0.0, -2.0]])
    torch.testing.assert_close(Ring(2.0, 0.5).distance_to_minima(y), tensor([2.0, 3.0, 0.0]))
    torch.testing.assert_close(Rosenbrock(2).double().distance_to_minima(y)[0], tensor(math.sqrt(2)))


# Samples --------------------------------------------------------------------------------------------------


@functools.cache
def samples(name: str) -> Tensor:
    return TARGETS[name].exact_samples(N, generator(7))


@with_samples
def test_samples_have_the_exact_moments(name: str) -> None:
    target, y = TARGETS[name], samples(name)
    assert y.shape == (N, target.dim) and y.dtype == torch.float64
    d = y - target.mean
    products = d.unsqueeze(2) * d.unsqueeze(1)  # (N, D, D)
    for draws, expected in ((y, target.mean), (products, target.covariance)):
        error = draws.std(0) / math.sqrt(N)
        assert bool(((draws.mean(0) - expected).abs() <= 4 * error).all())


def bins_p_value(name: str, y: Tensor) -> float:
    """Pearson's test of the counts of samples in bins of the joint distribution (chances from the grid)."""
    (box, warp), dim = GRIDS[name], TARGETS[name].dim
    side, blocks = SIDES[dim], BLOCKS[dim]
    chance = (
        grid(name).probability.view((blocks, side // blocks) * dim).sum(tuple(range(1, 2 * dim, 2))).flatten()
    )
    low, high = tensor([a for a, _ in box]), tensor([b for _, b in box])
    index = ((warp.inverse(y) - low) / (high - low) * blocks).long().clamp(0, blocks - 1)
    flat = (index * blocks ** torch.arange(dim - 1, -1, -1)).sum(1)
    counts = torch.bincount(flat, minlength=blocks**dim).double()
    common = len(y) * chance >= 10  # the rare bins are one
    observed = torch.cat([counts[common], counts[~common].sum()[None]])
    expected = len(y) * torch.cat([chance[common], chance[~common].sum()[None]])
    return stats.chisquare(observed.numpy(), expected.numpy()).pvalue


@with_samples
def test_samples_have_the_right_joint_distribution(name: str) -> None:
    assert bins_p_value(name, samples(name)) > P_VALUE


def test_the_test_of_the_joint_distribution_notices_a_ring_five_percent_too_wide() -> None:
    wrong = Ring(radius=2.0, width=0.525).double().exact_samples(N, generator(7))
    assert bins_p_value("ring", wrong) < P_VALUE


@with_samples
def test_samples_have_the_right_first_marginal(name: str) -> None:
    """Kolmogorov and Smirnov's test; the warps keep the first coordinate."""
    (a, b), *_ = GRIDS[name][0]
    side = SIDES[TARGETS[name].dim]
    cdf = grid(name).probability.view(side, -1).sum(1).cumsum(0).numpy()
    edges = np.linspace(a, b, side + 1)[1:]
    assert stats.kstest(samples(name)[:, 0].numpy(), lambda x: np.interp(x, edges, cdf)).pvalue > P_VALUE


@pytest.mark.parametrize("name", ["gaussian", "mixture"])
def test_a_loaded_target_draws_from_what_was_loaded(name: str) -> None:
    wide, narrow = torch.eye(2) * 9, torch.eye(2) * 0.01
    if name == "gaussian":
        old, new = Gaussian(torch.zeros(2), wide), Gaussian(torch.ones(2), narrow)
    else:
        half, means = torch.full((2,), 0.5), torch.ones(2, 2)
        old, new = Mixture(half, 0 * means, wide), Mixture(half, means, narrow)
    old.load_state_dict(new.state_dict())
    assert torch.equal(old.exact_samples(5, generator(3)), new.exact_samples(5, generator(3)))


@with_samples
def test_samples_are_reproducible_and_may_be_none(name: str) -> None:
    target = TARGETS[name]
    torch.testing.assert_close(
        target.exact_samples(5, generator(3)), target.exact_samples(5, generator(3)), rtol=0, atol=0
    )
    assert not torch.equal(target.exact_samples(5, generator(3)), target.exact_samples(5, generator(4)))
    assert target.exact_samples(0).shape == (0, target.dim)


@pytest.mark.parametrize("name", ["himmelblau", "ackley", "rosenbrock 4d"])
def test_no_exact_sampler_is_an_error_that_teaches(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no exact sampler; run a Markov chain instead: sample\(E"):
        TARGETS[name].exact_samples(3)


def test_answers_that_do_not_exist_are_none() -> None:
    for name in ("ackley", "rosenbrock 4d"):
        target = TARGETS[name]
        assert target.log_z is None and target.mean is None and target.covariance is None
    far = torch.tensor([[1e6, 0.0]], dtype=torch.float64)
    assert float(TARGETS["ackley"](y=far)) < 20 + math.e  # bounded, so exp(-E) has no integral


# Gradients, dtypes, shapes --------------------------------------------------------------------------------


@every
def test_closed_form_gradient_is_autograd(name: str) -> None:
    target = TARGETS[name]
    assert target.closed_form == ("y",) and target.variables == ("y",)
    y = 2 * torch.randn(40, target.dim, dtype=torch.float64, generator=generator(2))
    y.requires_grad_()
    energy = target(y=y)
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    value, closed = target.value_and_grad("y", y=y.detach())
    torch.testing.assert_close(value, energy.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(closed, gradient, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(lambda v: target(y=v), (y[:3],))
    assert torch.autograd.gradcheck(lambda v: target.value_and_grad("y", y=v), (y[:3],))


@pytest.mark.parametrize("target", [Ring(), Ackley()], ids=["ring", "ackley"])
def test_gradient_at_a_kink_is_zero(target: Target) -> None:
    y = torch.zeros(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(target(y=y).sum(), y)
    assert gradient.tolist() == [[0.0, 0.0]]
    assert target.value_and_grad("y", y=y.detach())[1].tolist() == [[0.0, 0.0]]


@every
def test_rows_and_dtype_follow_the_input(name: str) -> None:
    target = TARGETS[name]
    y = torch.randn(2 * target.dim, 6, dtype=torch.float64, generator=generator(5))
    y = y.T[:, ::2]  # not contiguous
    together = target(y=y)
    apart = torch.cat([target(y=row[None]) for row in y])
    torch.testing.assert_close(together, apart)
    assert target(y=y[:0]).shape == (0,)
    assert target.value_and_grad("y", y=y[:0])[1].shape == (0, target.dim)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "make",
    [Ackley, Banana, DoubleWell, Ellipse, Funnel, Himmelblau, Mixture.on_circle, Rastrigin, Ring, Rosenbrock],
)
def test_answers_follow_the_dtype_of_the_module(make: Callable[[], Target], dtype: torch.dtype) -> None:
    target = make().to(dtype)
    for answer in (target.minima, target.mean, target.covariance):
        assert answer is None or (answer.dtype == dtype and not answer.requires_grad)
    assert target.distance_to_minima(target.minima).dtype == dtype
    assert isinstance(target.minimum, float) and target.minima.shape[1] == target.dim
    if "y" in target.closed_form:
        value, gradient = target.value_and_grad("y", y=target.minima)
        assert value.dtype == gradient.dtype == dtype


def test_double_precision_loses_nothing_of_the_constructors_numbers() -> None:
    assert Funnel(scale=0.1).double().minima[0, 0] == -0.5 * 0.1**2
    assert Himmelblau().double()(y=Himmelblau().double().minima).max() < 1e-28


# The ellipse ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(2.0, 1.5), (1.0, -3.0), (1.2, 1.2), (2.0, 0.0), (0.0, 0.0)])
def test_ellipse_infers_the_nearest_point(weights: tuple[float, float]) -> None:
    ellipse = Ellipse(weights).double()
    y = 2 * torch.randn(60, 2, dtype=torch.float64, generator=generator())
    y = torch.cat([y, tensor([[0.0, 0.0], [0.3, 0.0], [0.0, -0.4], [5.0, 0.0], [0.0, 5.0], [-0.2, 0.0]])])
    z = ellipse.infer(y)
    assert z.shape == (len(y), 1) and float(z.min()) >= 0 and float(z.max()) <= 2 * math.pi
    found = ellipse(y=y, z=z).detach()
    points = ellipse.decode(ellipse.angles(20_000)).detach()
    brute = torch.cdist(y, points, compute_mode="donot_use_mm_for_euclid_dist").amin(1).square()
    # The grid is never better, and worse by half a curvature of E over z times its half step squared at most.
    assert float((found - brute).max()) < 1e-12
    curvature = 2 * (
        ellipse.weights.abs().max().item() * y.norm(dim=1) + ellipse.weights.square().max().item()
    )
    assert bool((brute - found <= 0.5 * curvature * (math.pi / 20_000) ** 2 + 1e-12).all())
    torch.testing.assert_close(ellipse.distance_to_minima(y).detach(), found.sqrt())


def test_ellipse_energy_and_gradient() -> None:
    ellipse = Ellipse().double()
    y = torch.randn(5, 2, dtype=torch.float64, generator=generator()).requires_grad_()
    z = torch.rand(5, 1, dtype=torch.float64, generator=generator()).requires_grad_()
    expected = (y[:, 0] - 2 * z[:, 0].cos()) ** 2 + (y[:, 1] - 1.5 * z[:, 0].sin()) ** 2
    torch.testing.assert_close(ellipse(y=y, z=z), expected)
    assert ellipse.variables == ("y", "z")
    assert torch.autograd.gradcheck(lambda y, z: ellipse(y=y, z=z), (y, z))
    assert ellipse(y=ellipse.minima, z=ellipse.angles()).tolist() == [ellipse.minimum] * 48


def test_ellipse_with_its_latent_integrated_out() -> None:
    ellipse = Ellipse().double()
    axis = torch.linspace(-8, 8, 161, dtype=torch.float64)
    y, angles = torch.cartesian_prod(axis, axis), ellipse.angles(96)
    points = ellipse.decode(angles).detach()
    log_p = -torch.cdist(y, points).square()  # (Y, Z)
    log_z = log_p.logsumexp((0, 1)) + 2 * math.log(0.1) + math.log(2 * math.pi / 96)
    assert math.isclose(ellipse.log_z, float(log_z), abs_tol=1e-10)
    p = (log_p.logsumexp(1)).softmax(0)
    torch.testing.assert_close(ellipse.mean, p @ y, rtol=0, atol=1e-10)
    torch.testing.assert_close(ellipse.covariance, y.T @ (p[:, None] * y), rtol=1e-10, atol=1e-10)
    draws = ellipse.exact_samples(N, generator(7))
    products = draws.unsqueeze(2) * draws.unsqueeze(1)
    for statistic, expected in ((draws, ellipse.mean), (products, ellipse.covariance)):
        assert bool(((statistic.mean(0) - expected).abs() <= 4 * statistic.std(0) / math.sqrt(N)).all())
    marginal = p.view(161, 161).sum(1).numpy()
    cdf = integrate.cumulative_trapezoid(marginal, initial=0) / integrate.trapezoid(marginal)
    assert stats.kstest(draws[:, 0].numpy(), lambda x: np.interp(x, axis.numpy(), cdf)).pvalue > P_VALUE


@pytest.mark.parametrize("beta", [0.0, 1e-4, 0.3, 1.0, 10.0, 1e3, math.inf])
def test_ellipse_free_energies_at_the_center(beta: float) -> None:
    ellipse = Ellipse().double()
    energy = ellipse(y=torch.zeros(4096, 2, dtype=torch.float64), z=ellipse.angles(4096))
    if beta == 0:
        expected = energy.mean()
    elif math.isinf(beta):
        expected = energy.min()
    else:
        expected = -((-beta * energy).logsumexp(0) - math.log(4096)) / beta
    torch.testing.assert_close(ellipse.free_energy_at_center(beta), expected, rtol=1e-10, atol=1e-10)
    if math.isinf(beta):
        assert ellipse.free_energy_at_center(beta).item() == 2.25  # min w_i², not infinity


def test_ellipse_mean_energy_is_the_limit_of_beta_to_zero() -> None:
    ellipse = Ellipse().double()
    y = ellipse_data(generator=generator(), dtype=torch.float64)
    energies = torch.stack([ellipse(y=y, z=z.expand(24, 1)) for z in ellipse.angles()], 1)  # (24, 48)
    torch.testing.assert_close(ellipse.mean_energy(y), energies.mean(1))
    beta = 1e-6
    nearly = -((-beta * energies).logsumexp(1) - math.log(48)) / beta
    torch.testing.assert_close(ellipse.mean_energy(y), nearly, rtol=0, atol=1e-3)


def test_ellipse_collapses_below_the_critical_beta() -> None:
    """The Hessian of the mean free energy at w = 0 changes sign there, along the data's longer axis."""
    y = ellipse_data(generator=generator(), dtype=torch.float64)
    beta, angles = Ellipse.critical_beta(y), Ellipse().double().angles()

    def mean_free_energy(w: Tensor, beta: float) -> Tensor:
        points = w * torch.cat([angles.cos(), angles.sin()], 1)
        energy = (y.unsqueeze(1) - points).square().sum(2)
        return (-((-beta * energy).logsumexp(1) - math.log(48)) / beta).mean()

    for factor, stable in ((0.99, True), (1.01, False)):
        hessian = torch.autograd.functional.hessian(
            lambda w, b=factor * beta: mean_free_energy(w, b), torch.zeros(2, dtype=torch.float64)
        )
        assert bool((torch.linalg.eigvalsh(hessian) > 0).all()) == stable
    assert math.isclose(beta, 0.2497, abs_tol=0.1)  # 1/(2 · (2²/2 + 0.05²)) for infinitely many points


def test_ellipse_data_has_its_distribution_and_trains_its_energy() -> None:
    data = ellipse_data(n=N, generator=generator(), dtype=torch.float64)
    squares, expected = data.square(), tensor([2.0 + 0.0025, 1.125 + 0.0025])
    assert bool(((squares.mean(0) - expected).abs() <= 4 * squares.std(0) / math.sqrt(N)).all())
    exact = ellipse_data(n=50, noise=0.0, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close((exact / tensor([2.0, 1.5])).norm(dim=1), torch.ones(50, dtype=torch.float64))
    y = ellipse_data(generator=generator(), dtype=torch.float64)
    assert y.shape == (24, 2) and torch.equal(y, ellipse_data(generator=generator(), dtype=torch.float64))
    ellipse = Ellipse((1.0, 1.0)).double()
    for _ in range(200):  # infer z, then the least-squares w
        z = ellipse.infer(y)
        waves = torch.cat([z.cos(), z.sin()], 1)
        ellipse.weights.data = (waves * y).sum(0) / waves.square().sum(0)
    error = 0.05 / waves.square().sum(0).sqrt()
    assert bool(((ellipse.weights.detach() - tensor([2.0, 1.5])).abs() <= 4 * error).all())


# Errors ---------------------------------------------------------------------------------------------------

eye, zero = torch.eye(2), torch.zeros(2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Gaussian(torch.zeros(2, 2)), r"mean of shape \(D,\); got \(2, 2\)"),
        (lambda: Gaussian(zero, torch.eye(3)), r"covariance of shape \(2, 2\).*got \(3, 3\).*torch.diag"),
        (lambda: Gaussian(zero, torch.tensor([[1.0, 0.5], [0.0, 1.0]])), r"symmetric.*\|Σ - Σᵀ\| is 0.5"),
        (
            lambda: Gaussian(zero, torch.tensor([[1.0, 2.0], [2.0, 1.0]])),
            r"positive definite.*eigenvalue is -1",
        ),
        (lambda: Gaussian(zero, torch.zeros(2, 2)), r"positive definite.*Σ \+ ε I"),
        (lambda: Gaussian(torch.tensor([math.nan, 0.0])), r"finite mean"),
        (lambda: Mixture(torch.tensor([0.5, 0.6]), torch.zeros(2, 2), eye), r"add up to 1.*weights.sum\(\)"),
        (lambda: Mixture(torch.tensor([1.5, -0.5]), torch.zeros(2, 2), eye), r"positive weights"),
        (
            lambda: Mixture(torch.ones(1), torch.zeros(2, 2), eye),
            r"one weight a component, \(2,\); got \(1,\)",
        ),
        (lambda: Mixture(torch.ones(1), zero, eye), r"means of shape \(K, D\)"),
        (lambda: Mixture(torch.ones(1), torch.zeros(1, 2), torch.eye(3)), r"\(1, 2, 2\), or \(2, 2\) shared"),
        (lambda: Mixture(torch.ones(1), torch.zeros(1, 2), -eye), r"Mixture needs positive definite"),
        (lambda: Mixture.on_circle(modes=0), r"modes >= 1"),
        (lambda: Mixture.on_circle(width=-1.0), r"positive, finite width; got width=-1.0"),
        (lambda: DoubleWell(dim=0), r"DoubleWell needs dim >= 1, an integer; got dim=0"),
        (lambda: DoubleWell(dim=1.5), r"an integer; got dim=1.5"),
        (lambda: DoubleWell(height=0.0), r"positive, finite height; got height=0.0"),
        (lambda: Ring(radius=-1.0), r"positive, finite radius; got radius=-1.0"),
        (lambda: Ring(width=math.inf), r"positive, finite width; got width=inf"),
        (lambda: Funnel(dim=1), r"Funnel needs dim >= 2"),
        (lambda: Funnel(scale=math.nan), r"positive, finite scale"),
        (lambda: Banana(dim=1), r"Banana needs dim >= 2"),
        (lambda: Banana(bend=math.inf), r"finite bend"),
        (lambda: Rosenbrock(dim=1), r"Rosenbrock needs dim >= 2"),
        (lambda: Rosenbrock(curvature=-1.0), r"positive, finite curvature"),
        (lambda: Rastrigin(amplitude=-1.0), r"positive, finite amplitude"),
        (lambda: Ackley(dim=-2), r"Ackley needs dim >= 1"),
        (lambda: Ellipse((1.0, 2.0, 3.0)), r"two weights, \(w_1, w_2\)"),
        (lambda: Ellipse((1.0, math.nan)), r"finite weights"),
        (lambda: Ellipse()(y=eye, z=zero), r"z of shape \(B, 1\); got \(2,\)"),
        (lambda: Ellipse().free_energy_at_center(-1.0), r"beta in \[0, inf\]; got beta=-1.0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_integers_are_refused_where_a_density_needs_floats() -> None:
    with pytest.raises(TypeError, match=r"floating point mean; got torch.int64. Pass mean.float\(\)"):
        Gaussian(torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="floating point weights"):
        Ellipse(torch.tensor([2, 1]))

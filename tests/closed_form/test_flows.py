"""Normalizing flows: inverses, determinants, the Gaussian as a flow, densities that integrate to 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm.data import two_moons
from ebm.loss import AverageEnergy
from ebm.nets import AffineCoupling, LULinear, Permutation, SplineCoupling, Standardize, checkerboard
from ebm.nets.coupling import Coupling
from ebm.nets.invertible import Invertible
from ebm.regularized import Flow
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64
SIZE = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def stirred(module: nn.Module, scale: float = 0.4) -> nn.Module:
    """The module in float64, each parameter moved at random: a fresh flow is nearly the identity."""
    with torch.no_grad():
        for seed, parameter in enumerate(module.double().parameters()):
            parameter += scale * draw(*parameter.shape, seed=100 + seed)
    return module


MAKERS: dict[str, Callable[[], Invertible]] = {
    "permutation": lambda: Permutation(torch.tensor([3, 0, 4, 1, 2])),
    "standardization": lambda: Standardize.from_data(3 * draw(20, SIZE) + 1),
    "rotation": lambda: LULinear.rotation(SIZE, generator=seeded()),
    "affine coupling": lambda: AffineCoupling(checkerboard(SIZE), (16,), generator=seeded()),
    "affine, odd": lambda: AffineCoupling(checkerboard(SIZE, odd=True), (16,), bound=0.5, generator=seeded()),
    "splines": lambda: SplineCoupling(checkerboard(SIZE), (16,), bins=6, reach=2.0, generator=seeded()),
    "two pieces": lambda: SplineCoupling(checkerboard(SIZE, odd=True), (16,), bins=2, generator=seeded()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_layer_is_inverted(name: str) -> None:
    layer, y = stirred(MAKERS[name](), 0.1), 2 * draw(200, SIZE)
    for dtype, tol in ((DOUBLE, 1e-10), (torch.float32, 1e-5)):
        layer, y = layer.to(dtype), y.to(dtype)
        u, log_det = layer(y)
        assert u.shape == y.shape and u.dtype == log_det.dtype == dtype and log_det.shape == (200,)
        torch.testing.assert_close(layer.inverse(u), y, rtol=tol, atol=tol)
        torch.testing.assert_close(layer(layer.inverse(y))[0], y, rtol=tol, atol=tol)


@pytest.mark.parametrize("name", ["splines", "two pieces"])
@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
def test_where_a_spline_is_nearly_flat_its_inverse_loses_no_more_digits_than_it_must(
    name: str, dtype: torch.dtype
) -> None:
    """u is known to eps·|u|, so y = τ⁻¹(u) at best to eps·|u| / τ'."""
    layer, y = stirred(MAKERS[name]()).to(dtype), 2 * draw(2000, SIZE).to(dtype)
    assert isinstance(layer, SplineCoupling)
    with torch.no_grad():
        u, log_slope = layer.move(y[:, layer.moved], layer._theta(y))
        error = (layer.inverse(layer(y)[0]) - y)[:, layer.moved].abs()
        assert log_slope.exp().min() < 1e-5
        lost = u.abs().clamp(min=1) / log_slope.exp().clamp(max=1)
        assert (error <= 100 * torch.finfo(dtype).eps * lost).all()


@pytest.mark.parametrize("name", MAKERS)
def test_the_determinant_is_that_of_autograds_jacobian(name: str) -> None:
    layer = stirred(MAKERS[name]())
    for row in 2 * draw(8, 1, SIZE):
        jacobian = torch.autograd.functional.jacobian(lambda y: layer(y)[0][0], row)[:, 0]
        torch.testing.assert_close(layer(row)[1][0], torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("name", ["affine coupling", "splines", "two pieces"])
def test_a_coupling_keeps_its_half_and_begins_as_the_identity(name: str) -> None:
    fresh, y = MAKERS[name]().double(), draw(6, SIZE)
    assert isinstance(fresh, Coupling)
    u, log_det = fresh(y)
    torch.testing.assert_close(u, y)
    torch.testing.assert_close(log_det, torch.zeros(6, dtype=DOUBLE), atol=1e-6, rtol=0)
    u = stirred(fresh)(y)[0]
    assert torch.equal(u[:, fresh.kept], y[:, fresh.kept])
    changed = u[:, fresh.moved] != y[:, fresh.moved]
    assert changed[y[:, fresh.moved].abs() < 2].all()  # that is where every spline here is curved


def test_a_spline_is_monotone_continuous_and_ends_in_the_identity() -> None:
    layer = stirred(SplineCoupling(checkerboard(2), (8,), bins=7, reach=2.0, generator=seeded()), 1.0)
    moved = torch.linspace(-2.5, 2.5, 40_001, dtype=DOUBLE)
    y = torch.stack([torch.full_like(moved, 0.3), moved], 1)
    u, log_slope = (part.detach() for part in layer(y))
    steps, width = u[:, 1].diff(), float(moved[1] - moved[0])
    assert (steps > 0).all()
    between = 0.5 * (log_slope[1:].exp() + log_slope[:-1].exp())  # the slope is continuous, not smooth
    torch.testing.assert_close(steps / width, between, rtol=2e-3, atol=2e-3)
    outside = moved.abs() >= 2
    torch.testing.assert_close(u[outside, 1], moved[outside])
    assert (u[~outside, 1] - moved[~outside]).abs().max() > 0.1


def test_an_affine_scale_is_bounded() -> None:
    layer = stirred(AffineCoupling(checkerboard(4), (8,), bound=0.5, generator=seeded()), 50.0)
    assert layer(draw(50, 4))[1].abs().max() <= 2 * 0.5 + 1e-12


def test_an_lu_layer_is_its_matrix() -> None:
    weight, bias, y = draw(4, 4, seed=3), draw(4, seed=4), draw(6, 4)
    layer = LULinear(weight, bias)
    torch.testing.assert_close(layer.weight, weight)
    torch.testing.assert_close(layer(y)[0], y @ weight.T + bias)
    rotation = LULinear.rotation(6, generator=seeded(), like=y).weight
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(6, dtype=DOUBLE))


def test_masks_of_images_are_checkerboards() -> None:
    board = checkerboard(2, 3, 4).view(2, 3, 4)
    c, i, j = torch.meshgrid(*map(torch.arange, (2, 3, 4)), indexing="ij")
    assert torch.equal(board, (c + i + j) % 2 == 0)
    assert torch.equal(~board.flatten(), checkerboard(2, 3, 4, odd=True))


# --- the energy ---------------------------------------------------------------------------------------------


def flow_of(kind: str, y: Tensor, scale: float = 0.3) -> Flow:
    flow = Flow.from_data(y, kind, couplings=3, hidden=(16,), generator=seeded())  # type: ignore[arg-type]
    stirred(flow, 0.5 * scale if kind == "spline" else scale)
    return flow


@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_a_flow_keeps_the_contract_inverts_and_adds_its_determinants(kind: str) -> None:
    y = draw(5, 2, 2) @ draw(2, 2, seed=9)
    flow = flow_of(kind, draw(50, 2, 2))
    check_energy(flow, {"y": y})
    u, log_det = flow.transform(y)
    torch.testing.assert_close(flow.decode(u), y, rtol=1e-10, atol=1e-10)
    for i, row in enumerate(y):
        jacobian = torch.autograd.functional.jacobian(lambda r: flow.encode(r[None])[0], row).view(4, 4)
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian).logabsdet)
    normal = scipy.stats.norm.logpdf(u.detach().numpy()).sum(1)
    torch.testing.assert_close(flow(y=y).detach(), -torch.from_numpy(normal) - log_det.detach())
    y, flow = y.float(), flow.float()
    torch.testing.assert_close(flow.decode(flow.encode(y)), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_its_density_integrates_to_one_and_samples_have_its_entropy(kind: str) -> None:
    flow = flow_of(kind, draw(50, 2), 0.2)
    axis = torch.linspace(-14, 14, 1201, dtype=DOUBLE)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        energy = torch.cat([flow(y=part) for part in grid.split(200_000)])
        cell = float(axis[1] - axis[0]) ** 2
        p = cell * (-energy).exp()
        assert float(p.sum()) == pytest.approx(1, abs=1e-4)
        samples = flow.sample(4000, seeded(1))
        assert torch.equal(samples, flow.sample(4000, seeded(1))) and samples.shape == (4000, 2)
        for statistic, expected in (
            (flow(y=samples), (p * energy).sum()),
            (samples[:, 0], (p * grid[:, 0]).sum()),
            (samples[:, 1].abs(), (p * grid[:, 1].abs()).sum()),
        ):
            error = float(statistic.std()) / math.sqrt(4000)
            assert abs(float(statistic.mean() - expected)) < 4 * error
    assert flow.sample(0).shape == (0, 2)


def test_an_affine_flow_is_the_gaussian() -> None:
    factor, mean, y = draw(3, 3, seed=2), draw(3, seed=5), draw(7, 3)
    covariance = factor @ factor.T
    whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
    flow = Flow([Standardize(mean, torch.zeros(3, dtype=DOUBLE)), LULinear(whiten)])
    oracle = scipy.stats.multivariate_normal(mean.numpy(), covariance.numpy())
    torch.testing.assert_close(flow(y=y).detach(), -torch.from_numpy(oracle.logpdf(y.numpy())))


def test_fitted_by_maximum_likelihood_it_is_the_sample_gaussian() -> None:
    y = draw(400, 3) @ draw(3, 3, seed=2) + draw(3, seed=5)
    flow = Flow([Standardize.from_data(y), LULinear.rotation(3, generator=seeded(1), like=y)])
    adam, steps = partial(torch.optim.Adam, lr=0.05), 600
    schedule = partial(CosineAnnealingLR, T_max=steps)
    fit(
        flow,
        AverageEnergy(),
        y,
        optimizer=adam,
        steps=steps,
        batch_size=400,
        schedule=schedule,
        progress=False,
    )
    covariance = torch.cov(y.T, correction=0)
    oracle = scipy.stats.multivariate_normal(y.mean(0).numpy(), covariance.numpy())
    torch.testing.assert_close(
        flow(y=y).detach(), -torch.from_numpy(oracle.logpdf(y.numpy())), atol=1e-4, rtol=0
    )


def test_a_spline_flow_fits_two_moons_far_better_than_a_gaussian() -> None:
    y, held_out = (two_moons(n, noise=0.1, generator=seeded(n)) for n in (2000, 1000))
    flow = Flow.from_data(y, couplings=4, hidden=(32,), generator=seeded(1))
    adam, steps = partial(torch.optim.Adam, lr=5e-3), 250
    schedule = partial(CosineAnnealingLR, T_max=steps)
    fit(
        flow,
        AverageEnergy(),
        y,
        optimizer=adam,
        steps=steps,
        batch_size=256,
        schedule=schedule,
        generator=seeded(2),
        progress=False,
    )
    gaussian = scipy.stats.multivariate_normal(y.mean(0).numpy(), torch.cov(y.T).numpy())
    with torch.no_grad():
        gain = -torch.from_numpy(gaussian.logpdf(held_out.numpy())) - flow(y=held_out)
    error = float(gain.std()) / math.sqrt(len(gain))
    assert float(gain.mean()) - 4 * error > 0.5  # nats a point


# --- what is told -------------------------------------------------------------------------------------------


def test_bad_input_is_told() -> None:
    one, two = Standardize(torch.zeros(1), torch.zeros(1)), Standardize(torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="at least one layer"):
        Flow([])
    with pytest.raises(ValueError, match="Standardize of 1 is followed by a Standardize of 2"):
        Flow([one, two])
    with pytest.raises(ValueError, match=r"rows of shape \(3, 2\) don't hold 2 numbers"):
        Flow([two], (3, 2))
    with pytest.raises(ValueError, match=r"over y \(B, 2\); got \(4, 3\)"):
        Flow([two])(y=torch.zeros(4, 3))
    with pytest.raises(ValueError, match='"spline" or "affine"; got \'planar\''):
        Flow.from_data(torch.zeros(4, 2), "planar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"coordinates \[1\] are constant"):
        Flow.from_data(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 2 rows, \[1\]"):
        Flow.from_data(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
    with pytest.raises(ValueError, match="at least 2 rows"):
        Flow.from_data(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="so D is 2 at least"):
        AffineCoupling(checkerboard(1))
    with pytest.raises(ValueError, match="bound is the greatest"):
        AffineCoupling(checkerboard(2), bound=0.0)
    with pytest.raises(ValueError, match="2 <= bins < 1000"):
        SplineCoupling(checkerboard(2), bins=1)
    with pytest.raises(ValueError, match="singular"):
        LULinear(torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"each of 0, ..., D-1 once; got \[0, 2\]"):
        Permutation(torch.tensor([0, 2]))

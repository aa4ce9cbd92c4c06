"""Contractive and saturating auto-encoders: Jacobians three ways, denoising as their limit, flat parts."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.data import ring
from ebm.energy import Energy
from ebm.loss import AverageEnergy
from ebm.measure.collapse import CollapseReport, collapse_report
from ebm.nets import mlp
from ebm.regularized import ContractiveAutoEncoder, SaturatingAutoEncoder
from ebm.regularized.contractive import SigmoidEncoder
from ebm.regularized.saturating import Rectifier, SaturatedLine, Saturating, Shrink
from ebm.regularizers import squared_jacobian
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def smooth(*sizes: int, seed: int = 1) -> nn.Sequential:
    return mlp(*sizes, activation=nn.Tanh, generator=seeded(seed)).double()


def jacobian_of(f: nn.Module, row: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda y: f(y[None])[0], row)


# --- the Jacobian -------------------------------------------------------------------------------------------


def test_the_norm_is_that_of_the_jacobian() -> None:
    y = draw(6, 2, 3)
    f = nn.Sequential(nn.Flatten(), smooth(6, 8, 5), nn.Unflatten(1, (5, 1)))
    expected = torch.stack([jacobian_of(f, row).square().sum() for row in y])
    torch.testing.assert_close(squared_jacobian(f, y), expected)
    with torch.no_grad():
        silent = squared_jacobian(f, y)
    torch.testing.assert_close(silent, expected)
    assert not silent.requires_grad
    assert squared_jacobian(lambda u: torch.ones(len(u), 4), y).tolist() == [0.0] * 6


def test_the_closed_form_of_a_sigmoid_layer_is_autograds_with_its_gradients() -> None:
    encoder, y = SigmoidEncoder(5, 7, generator=seeded()).double(), draw(4, 5).requires_grad_()
    weights = list(encoder.parameters())
    closed, general = encoder.squared_jacobian(y), squared_jacobian(encoder, y)
    torch.testing.assert_close(closed, general)
    expected = torch.stack([jacobian_of(encoder, row).square().sum() for row in y.detach()])
    torch.testing.assert_close(closed, expected)
    for one, other in zip(
        torch.autograd.grad(closed.sum(), [y, *weights]),
        torch.autograd.grad(general.sum(), [y, *weights]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
        assert one.any()


@pytest.mark.parametrize("of", ["code", "reconstruction"])
def test_random_signs_estimate_it_without_bias(of: str) -> None:
    f, g, rows = smooth(3, 6, 4), smooth(4, 6, 3, seed=2), 40_000
    size = 4 if of == "code" else 3
    model = ContractiveAutoEncoder(f, g, 0.7, of=of, probes=1, size=size)  # type: ignore[arg-type]
    y = draw(1, 3).expand(rows, 3)
    with torch.no_grad():
        values = model.bind({"y": y}, seeded(3))()
        exact = model.eval()(y=y[:1])
        jacobian = jacobian_of(f if of == "code" else nn.Sequential(f, g), y[0])
        error = (y[0] - g(f(y[:1]))).square().sum()
        torch.testing.assert_close(exact[0], error + 0.7 * jacobian.square().sum())
        spread = float(values.std()) / math.sqrt(rows)
        assert spread > 0 and abs(float(values.mean() - exact)) < 4 * spread
        several = ContractiveAutoEncoder(f, g, 0.7, of=of, probes=4, size=size)  # type: ignore[arg-type]
        narrower = several.bind({"y": y}, seeded(3))()
        assert float(narrower.std()) == pytest.approx(0.5 * float(values.std()), rel=0.05)


def test_the_energies_keep_their_contract() -> None:
    f, g, y = smooth(3, 6, 4), smooth(4, 6, 3, seed=2), draw(4, 3)
    sigmoid = SigmoidEncoder(3, 4, generator=seeded()).double()
    check_energy(ContractiveAutoEncoder(f, g, 0.7), {"y": y})
    check_energy(ContractiveAutoEncoder(f, g, 0.7, of="reconstruction"), {"y": y})
    check_energy(ContractiveAutoEncoder(sigmoid, g, 0.7), {"y": y})
    check_energy(ContractiveAutoEncoder(f, g, 0.7, probes=2, size=4), {"y": y})
    for phi in (Rectifier(), SaturatedLine(), Shrink(0.1)):
        check_energy(SaturatingAutoEncoder(f, g, phi, 0.3), {"y": y})


# --- denoising as the limit ---------------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(20)


def denoising_loss(r: nn.Module, y: Tensor, sigma: float) -> Tensor:
    """⟨|y - r(y + σε)|²⟩ in the plane by Gauss-Hermite quadrature, y (2,)."""
    nodes, weights = torch.from_numpy(NODES), torch.from_numpy(WEIGHTS / WEIGHTS.sum())
    noise = torch.cartesian_prod(nodes, nodes)
    with torch.no_grad():
        errors = (y - r(y + sigma * noise)).square().sum(1)
    return (torch.cartesian_prod(weights, weights).prod(1) * errors).sum()


def test_for_a_linear_map_denoising_is_contraction_whatever_the_noise() -> None:
    r, y = nn.Linear(2, 2).double(), draw(2)
    for sigma in (0.1, 1.0, 5.0):
        expected = (y - r(y)).square().sum() + sigma**2 * r.weight.square().sum()
        torch.testing.assert_close(denoising_loss(r, y, sigma), expected.detach())


def test_where_reconstruction_is_exact_little_noise_is_contraction() -> None:
    f, g = smooth(2, 8, 3), smooth(3, 8, 2, seed=2)
    r = nn.Sequential(f, g)
    y = draw(2)
    with torch.no_grad():
        for _ in range(500):
            y = r(y[None])[0]
        assert (y - r(y[None])[0]).abs().max() < 1e-14
    contractive = ContractiveAutoEncoder(f, g, 1.0, of="reconstruction")
    norm = contractive(y=y[None])[0].detach()
    off = [abs(float(denoising_loss(r, y, s) / (s**2 * norm)) - 1) for s in (1.0, 0.1, 0.01)]
    assert off[0] > off[1] > off[2] and off[2] < 1e-3
    assert off[2] / off[1] == pytest.approx(0.01, rel=0.1)  # the ratio's distance from 1 is of order σ²


def test_elsewhere_the_curvature_of_the_reconstruction_comes_in_too() -> None:
    f, g, y = smooth(2, 8, 3), smooth(3, 8, 2, seed=2), 2 * draw(2, seed=4)
    r = nn.Sequential(f, g)
    left = y - r(y[None])[0]
    laplacian = torch.stack(
        [torch.autograd.functional.hessian(lambda u, i=i: r(u[None])[0, i], y).trace() for i in range(2)]
    )
    with_curvature = (jacobian_of(r, y).square().sum() - left @ laplacian).detach()
    rest = [(denoising_loss(r, y, s) - left.square().sum().detach()) / s**2 for s in (0.1, 0.01)]
    assert abs(rest[1] / with_curvature - 1) < 1e-3
    assert abs(rest[1] - with_curvature) < 0.02 * abs(rest[0] - with_curvature)
    assert abs(left @ laplacian) > 0.05 * with_curvature  # which is not nothing


def test_the_loss_of_the_package_is_the_quadratures() -> None:
    r, y, rows, sigma = smooth(2, 8, 2), draw(2), 100_000, 0.3
    with torch.no_grad():
        energy = AutoEncoder(r)
        loss = float(Denoising(Gaussian(sigma))(energy, seeded(5), y=y.expand(rows, 2)).loss)
        noise = sigma * torch.randn(rows, 2, generator=seeded(6), dtype=DOUBLE)
        spread = float((y - r(y + noise)).square().sum(1).std()) / math.sqrt(rows)
    assert abs(loss - float(denoising_loss(r, y, sigma))) < 4 * spread


# --- flat parts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", [Rectifier(), SaturatedLine(), Shrink(0.6)], ids=repr)
def test_the_complement_is_the_distance_to_the_nearest_flat_part(phi: Saturating) -> None:
    b = torch.linspace(-4, 4, 80_001, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(phi(b).sum(), b)
    flat = b.detach()[slope == 0]
    assert 0 < len(flat) < len(b)
    a = torch.linspace(-2, 2, 41, dtype=DOUBLE)
    expected = (a[:, None] - flat).abs().amin(1)
    torch.testing.assert_close(phi.complement(a), expected, atol=2e-4, rtol=0)


def test_a_saturating_energy_is_its_formula() -> None:
    f, g, y = smooth(3, 6, 4), smooth(4, 6, 3, seed=2), draw(5, 3)
    model = SaturatingAutoEncoder(f, g, Shrink(0.1), 0.3)
    z = f(y).sign() * (f(y).abs() - 0.1).clamp(min=0)
    torch.testing.assert_close(model.encode(y), z)
    torch.testing.assert_close(model(y=y), (y - g(z)).square().sum(1) + 0.3 * z.abs().sum(1))


# --- with the regularizer, and without ----------------------------------------------------------------------


def report_of(energy: Energy) -> CollapseReport:
    fit(
        energy,
        AverageEnergy(),
        ring(2000, generator=seeded(), dtype=DOUBLE),
        optimizer=partial(torch.optim.Adam, lr=5e-3),
        steps=400,
        batch_size=100,
        generator=seeded(3),
        progress=False,
    )
    return collapse_report(energy, ring(500, generator=seeded(9), dtype=DOUBLE), beta=8, generator=seeded(4))


def test_contraction_keeps_the_energy_from_being_flat() -> None:
    f, g = smooth(2, 32, 8), smooth(8, 32, 2, seed=2)
    alive = report_of(ContractiveAutoEncoder(f, g, 0.1, of="reconstruction"))
    f, g = smooth(2, 32, 8), smooth(8, 32, 2, seed=2)
    flat = report_of(ContractiveAutoEncoder(f, g, 1e-9, of="reconstruction"))
    assert alive.verdict == "alive", alive
    assert flat.verdict == "flat energy", flat
    assert flat.mean < 0.05 * alive.mean  # and that is the better reconstruction


def test_bad_settings_are_told() -> None:
    f = nn.Identity()
    with pytest.raises(ValueError, match="contraction must be finite and positive; got -1"):
        ContractiveAutoEncoder(f, f, -1)
    with pytest.raises(ValueError, match='of is "code" or "reconstruction"; got \'both\''):
        ContractiveAutoEncoder(f, f, 1.0, of="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="probes need the size of what they probe"):
        ContractiveAutoEncoder(f, f, 1.0, probes=2)
    with pytest.raises(ValueError, match="saturation must be finite and positive; got 0"):
        SaturatingAutoEncoder(f, f, Rectifier(), 0)
    with pytest.raises(ValueError, match="threshold must be finite and positive"):
        Shrink(0.0)

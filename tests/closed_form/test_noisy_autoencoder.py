"""The noisy auto-encoder: the capacity of its code, its free energy, and what becomes of it without noise."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor, nn

from ebm.loss import AverageEnergy
from ebm.measure.collapse import BOX, SHUFFLED, CollapseReport, collapse_report
from ebm.nets import mlp
from ebm.regularized import NoisyAutoEncoder
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def model(inputs: int, size: int, noise: float, width: int = 16) -> NoisyAutoEncoder:
    encoder = mlp(inputs, width, size, generator=seeded(1)).double()
    decoder = mlp(size, width, inputs, generator=seeded(2)).double()
    return NoisyAutoEncoder(encoder, decoder, size, noise)


# --- the channel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "noise"), [(1, 1.0), (8, 0.5), (64, 2.0), (3, 10.0)])
def test_capacity_is_that_of_the_gaussian_channel(size: int, noise: float) -> None:
    """What z = x + noise tells of a Gaussian x of power 1 is h(z) - h(noise), in bits; D such numbers."""
    told = scipy.stats.norm(scale=math.hypot(1, noise)).entropy() - scipy.stats.norm(scale=noise).entropy()
    assert model(3, size, noise).capacity == pytest.approx(size * told / math.log(2), rel=1e-12)


def test_capacity_without_noise_has_no_bound() -> None:
    assert model(3, 4, 0.0).capacity == math.inf


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_a_code_on_the_circle_tells_at_most_the_capacity(noise: float) -> None:
    """D = 2, μ uniform on the circle of radius √2: |z| is Rice's, and h(z) - h(noise) an integral."""
    mu = model(5, 2, noise).encode(draw(300, 5))
    torch.testing.assert_close(mu.square().sum(1), torch.full((300,), 2.0, dtype=DOUBLE))
    radius = scipy.stats.rice(math.sqrt(2) / noise, scale=noise)

    def surprise(r: float) -> float:
        return float(-radius.pdf(r) * (radius.logpdf(r) - math.log(2 * math.pi * r)))

    entropy = scipy.integrate.quad(surprise, 1e-9, math.sqrt(2) + 9 * noise)[0]
    told = (entropy - math.log(2 * math.pi * math.e * noise**2)) / math.log(2)
    capacity = model(5, 2, noise).capacity
    assert 0.95 * capacity < told <= capacity  # the circle is nearly the best that two numbers can do


# --- the free energy ----------------------------------------------------------------------------------------


def test_free_energy_averages_over_the_noise() -> None:
    """For a linear decoder W, ⟨|y - W(μ + sε)|²⟩ = |y - Wμ|² + s² |W|² (Frobenius)."""
    noise, draws = 0.8, 40_000
    decoder = mlp(4, 3, generator=seeded(2)).double()[0]
    linear = NoisyAutoEncoder(mlp(3, 8, 4, generator=seeded(1)).double(), decoder, 4, noise)
    y = draw(1, 3)
    with torch.no_grad():
        free = linear.free_energy.train()
        values = free.bind({"y": y.expand(draws, 3)}, seeded(3))()
        still = linear(y=y, z=linear.encode(y))
        exact = still + noise**2 * linear.decoder.weight.square().sum()
        assert abs(float(values.mean() - exact)) < 4 * float(values.std()) / math.sqrt(draws)
        assert float(exact - still) > 40 * float(values.std()) / math.sqrt(draws)  # so the noise is seen
        torch.testing.assert_close(free.eval()(y=y), still)  # evaluated, it is the energy of the code itself


def test_it_is_the_variational_free_energy_up_to_the_entropy_of_the_noise() -> None:
    """⟨E⟩_q - H(q) = -log ∫ e^{-E(y, z)} dz + KL(q ‖ p(z|y)), everything on a grid but ⟨E⟩_q."""
    noise, draws = 0.5, 60_000
    tiny = model(2, 1, noise)
    y, z = draw(1, 2, seed=4), np.linspace(-8, 8, 8001)
    with torch.no_grad():
        values = tiny.free_energy.bind({"y": y.expand(draws, 2)}, seeded(3))()  # a new energy is in training
        e = tiny(y=y.expand(len(z), 2), z=torch.from_numpy(z)[:, None]).numpy()
        q = scipy.stats.norm(float(tiny.encode(y)), noise)
    log_z = math.log(scipy.integrate.trapezoid(np.exp(-e), z))  # of z in [-8, 8], which is all that q sees
    divergence = scipy.integrate.trapezoid(q.pdf(z) * (q.logpdf(z) + e + log_z), z)
    assert divergence > 0.1
    error = float(values.std()) / math.sqrt(draws)
    assert abs(float(values.mean()) - q.entropy() - (divergence - log_z)) < 4 * error < 0.02


def test_one_draw_a_bind_from_its_generator() -> None:
    noisy = model(3, 4, 0.5)
    y, seen = draw(6, 3), draw(6, 3, seed=1)
    free = noisy.free_energy
    bound = free.bind({"y": y}, seeded(3))
    epsilon = torch.randn(6, 4, generator=seeded(3), dtype=DOUBLE)
    torch.testing.assert_close(bound(), noisy(y=y, z=noisy.encode(y) + 0.5 * epsilon))
    assert torch.equal(bound(), bound()) and not torch.equal(bound(), free.bind({"y": y}, seeded(4))())
    index = torch.tensor([4, 1])
    torch.testing.assert_close(bound.rows(index)(), bound()[index])  # each row keeps its draw
    other = free.bind({"y": y, "seen": seen}, seeded(3))()
    torch.testing.assert_close(other, noisy(y=y, z=noisy.encode(seen) + 0.5 * epsilon))
    silent = model(3, 4, 0.0)
    torch.testing.assert_close(silent.free_energy(y=y), silent(y=y, z=silent.encode(y)))


def test_both_energies_keep_their_contract() -> None:
    noisy = model(3, 4, 0.5)
    check_energy(noisy, {"y": draw(4, 3), "z": draw(4, 4, seed=1)})
    check_energy(noisy.free_energy.eval(), {"y": draw(4, 3)})


@pytest.mark.parametrize(("size", "noise"), [(0, 1.0), (2, -0.1), (2, math.inf), (2, math.nan)])
def test_bad_settings_are_told(size: int, noise: float) -> None:
    with pytest.raises(
        ValueError, match=r"size must be an integer of at least 1|noise must be finite and at least 0"
    ):
        NoisyAutoEncoder(nn.Identity(), nn.Identity(), size, noise)


# --- with the noise, and without ----------------------------------------------------------------------------


def parities(rows: int, seed: int) -> Tensor:
    """Four free signs and two products of them, a bit blurred: 16 clusters that span all 6 dimensions."""
    g = seeded(seed)
    signs = 2.0 * torch.randint(2, (rows, 4), generator=g, dtype=DOUBLE) - 1
    products = signs.view(rows, 2, 2).prod(2)
    return torch.cat([signs, products], 1) + 0.3 * torch.randn(rows, 6, generator=g, dtype=DOUBLE)


def report_of(noise: float) -> CollapseReport:
    """The collapse report after training, on other data."""
    free = model(6, 8, noise, width=64).free_energy
    adam = partial(torch.optim.Adam, lr=1e-2)
    y = parities(2000, 0)
    fit(
        free,
        AverageEnergy(),
        y,
        optimizer=adam,
        steps=300,
        batch_size=100,
        generator=seeded(3),
        progress=False,
    )
    return collapse_report(free, parities(1000, 9), generator=seeded(4))


def test_trained_through_four_bits_it_is_alive_and_without_noise_it_collapses() -> None:
    assert model(6, 8, 1.0).capacity == 4  # as many bits as data
    alive, flat = report_of(1.0), report_of(0.0)
    assert alive.verdict == "alive", alive
    assert flat.verdict == "flat energy", flat
    assert flat.mean < 0.05 * alive.mean  # and that is the better loss, by far
    for name in (BOX, SHUFFLED):
        assert alive.off_data[name].gap > 1.0 > 0.1 > flat.off_data[name].gap

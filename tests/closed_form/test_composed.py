"""Energies composed and sampled without training: products, mixtures, differences, tempering."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import Energy, energy, min_over, sample
from ebm.contrastive import MixtureOfEnergies
from ebm.infer import HMC, Enumerate
from ebm.infer.starts import Zeros
from ebm.targets import Gaussian, Mixture

DOUBLE = torch.float64
MEANS = torch.tensor([[1.0, 0.0], [-0.5, 1.0]], dtype=DOUBLE)
COVARIANCES = torch.tensor([[[1.0, 0.3], [0.3, 0.5]], [[0.6, -0.2], [-0.2, 1.5]]], dtype=DOUBLE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussians() -> tuple[Gaussian, Gaussian]:
    one, two = (Gaussian(m, c) for m, c in zip(MEANS, COVARIANCES, strict=True))
    return one, two


def check_moments(E: Energy, mean: Tensor, covariance: Tensor, beta: float = 1.0) -> None:
    """Those of 4,000 HMC chains, independent of each other, within 4 standard errors."""
    chains = 4000
    start = torch.randn(chains, 2, generator=seeded(1), dtype=DOUBLE)
    draws = sample(E, start, HMC(0.2, 5), num_samples=1, burn_in=100, beta=beta, generator=seeded(2)).value[0]
    error = (covariance.diagonal() / chains).sqrt()
    assert bool(((draws.mean(0) - mean).abs() < 4 * error).all())
    d = covariance.diagonal()
    spread = ((covariance.square() + d.outer(d)) / chains).sqrt()  # of a Gaussian's covariances
    assert bool(((draws.T.cov() - covariance).abs() < 4 * spread).all())


def test_a_product_has_the_sum_of_precisions() -> None:
    one, two = gaussians()
    covariance = torch.linalg.inv(one.precision + two.precision)
    mean = covariance @ (one.precision @ MEANS[0] + two.precision @ MEANS[1])
    check_moments(one + two, mean, covariance)


def test_not_takes_a_precision_away() -> None:
    one, two = gaussians()
    covariance = torch.linalg.inv(one.precision - 0.3 * two.precision)
    mean = covariance @ (one.precision @ MEANS[0] - 0.3 * two.precision @ MEANS[1])
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0
    check_moments(one - 0.3 * two, mean, covariance)


@pytest.mark.parametrize("by_sampler", [False, True])
def test_tempering_divides_the_variance(by_sampler: bool) -> None:
    one, _ = gaussians()
    E, beta = (one, 2.5) if by_sampler else (2.5 * one, 1.0)
    check_moments(E, MEANS[0], COVARIANCES[0] / 2.5, beta)


def test_a_mixture_adds_densities_and_log_z_is_known() -> None:
    """Parts divided by their Z make `targets.Mixture`; as they are, Z = Σ w_k Z_k, here by quadrature."""
    one, two = gaussians()
    w, y = torch.tensor([0.3, 0.7], dtype=DOUBLE), 2 * torch.randn(50, 2, generator=seeded(3), dtype=DOUBLE)
    z = torch.tensor([one.log_z, two.log_z], dtype=DOUBLE).exp()
    torch.testing.assert_close(
        MixtureOfEnergies([one, two], w / z)(y=y), Mixture(w, MEANS, COVARIANCES)(y=y), rtol=1e-12, atol=1e-12
    )
    axis = torch.linspace(-9, 9, 721, dtype=DOUBLE)
    E = MixtureOfEnergies([one, two], w)
    total = (-E(y=torch.cartesian_prod(axis, axis))).exp().sum() * (18 / 720) ** 2
    assert float(total) == pytest.approx(float((w * z).sum()), rel=1e-9)
    share = E.responsibilities(y=y)
    densities = torch.stack([(-g(y=y)).exp() for g in (one, two)], 1) * w
    torch.testing.assert_close(share, densities / densities.sum(1, keepdim=True))


def test_samples_of_a_mixture_have_the_shares_of_its_parts() -> None:
    """Two blobs far apart; 4,000 chains begun in either with probability ½ move between them through the
    mixture's wide third part."""
    blobs = [Gaussian(torch.tensor([m], dtype=DOUBLE), torch.eye(1, dtype=DOUBLE) * v) for m, v in
             ((-2.0, 0.3), (2.0, 0.3), (0.0, 4.0))]  # fmt: skip
    share = torch.tensor([0.5, 0.2, 0.3], dtype=DOUBLE)
    weights = share / torch.tensor([b.log_z for b in blobs], dtype=DOUBLE).exp()
    start = 2 * torch.randint(2, (4000, 1), generator=seeded(4)).double() - 1
    E = MixtureOfEnergies(blobs, weights)
    y = sample(E, start, HMC(0.4, 6), num_samples=1, burn_in=150, generator=seeded(5)).value[0]
    left = sum(float(s) * 0.5 * math.erfc(m / math.sqrt(2 * v)) for s, m, v in
               zip(share, (-2.0, 2.0, 0.0), (0.3, 0.3, 4.0), strict=True))  # fmt: skip
    assert abs(float((y < 0).double().mean()) - left) < 4 * math.sqrt(left * (1 - left) / 4000)


def test_a_large_beta_makes_it_the_minimum() -> None:
    one, two = gaussians()
    y = torch.randn(40, 2, generator=seeded(6), dtype=DOUBLE)
    least = torch.minimum(one(y=y), two(y=y))
    for beta in (1.0, 10.0, 1e3):
        E = MixtureOfEnergies([one, two], [1.0, 1.0], beta)
        below = least - E(y=y)
        assert bool((below >= -1e-12).all()) and bool((below <= math.log(2) / beta + 1e-12).all())

    @energy
    def chosen(y: Tensor, k: Tensor) -> Tensor:
        return k[:, 0] * one(y=y) + k[:, 1] * two(y=y)

    hard = min_over(chosen, "k", Enumerate(torch.eye(2, dtype=DOUBLE)), start=Zeros(2))
    torch.testing.assert_close(hard(y=y), E(y=y), rtol=0, atol=1e-3)


def test_parts_may_have_variables_of_their_own() -> None:
    @energy
    def near(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(1)

    x, y = torch.randn(2, 5, 2, generator=seeded(7), dtype=DOUBLE)
    one, _ = gaussians()
    E = MixtureOfEnergies([near, one], [2.0, 3.0])
    assert E.variables == ("x", "y")
    expected = -(2 * (-near(x=x, y=y)).exp() + 3 * (-one(y=y)).exp()).log()
    torch.testing.assert_close(E(x=x, y=y), expected)
    bound = E.bind({"x": x})
    rows = torch.tensor([3, 1])
    torch.testing.assert_close(bound.rows(rows)(y=y[rows]), expected[rows])
    torch.testing.assert_close((E + 0.5 * one)(x=x, y=y), expected + 0.5 * one(y=y))


def test_what_does_not_fit_is_told() -> None:
    one, two = gaussians()
    with pytest.raises(ValueError, match="at least one"):
        MixtureOfEnergies([])
    with pytest.raises(TypeError, match="energies for parts"):
        MixtureOfEnergies([one, 3])  # type: ignore[list-item]
    for weights in ([1.0], [1.0, 0.0], [1.0, math.inf], [1.0, math.nan]):
        with pytest.raises(ValueError, match="one positive weight for each of 2"):
            MixtureOfEnergies([one, two], weights)
    with pytest.raises(ValueError, match="beta"):
        MixtureOfEnergies([one, two], beta=0.0)

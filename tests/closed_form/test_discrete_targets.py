"""Ising and Potts models against sums written out, one-dimensional chains, and Onsager's free energy."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import integrate
from torch import Tensor

from ebm.targets import Ising, Potts, chessboard, ising_strip_log_z, neighbors

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def couplings(sites: int, seed: int = 0) -> Tensor:
    j = draw(sites, sites, seed=seed)
    return (0.5 * (j + j.T)).fill_diagonal_(0)


def chain(sites: int, strength: float) -> Tensor:
    j = torch.zeros(sites, sites, dtype=DOUBLE)
    for i in range(sites - 1):
        j[i, i + 1] = j[i + 1, i] = strength
    return j


def test_ising_is_the_sum_over_pairs_and_all_its_answers_are_sums_over_states() -> None:
    j, h = couplings(4), draw(4, seed=1)
    target = Ising(j, h)
    states = list(itertools.product((0, 1), repeat=4))
    energies = []
    for state in states:
        s = [2 * bit - 1 for bit in state]
        pairs = sum(float(j[a, b]) * s[a] * s[b] for a in range(4) for b in range(a + 1, 4))
        energies.append(-pairs - sum(float(h[a]) * s[a] for a in range(4)))
    y = torch.tensor(states, dtype=DOUBLE)
    torch.testing.assert_close(target(y=y), torch.tensor(energies, dtype=DOUBLE))
    torch.testing.assert_close(target(y=y.view(-1, 2, 2)), target(y=y))  # any shape
    weights = [math.exp(-e) for e in energies]
    z = sum(weights)
    assert target.log_z == pytest.approx(math.log(z), abs=1e-12)
    assert target.minimum == pytest.approx(min(energies), abs=1e-12)
    assert target.minima.tolist() == [list(states[energies.index(min(energies))])]
    for a in range(4):
        mean = sum(w * s[a] for w, s in zip(weights, states, strict=True)) / z
        assert float(target.mean[a]) == pytest.approx(mean, abs=1e-12)
        for b in range(4):
            both = sum(w * s[a] * s[b] for w, s in zip(weights, states, strict=True)) / z
            expected = both - mean * float(target.mean[b])
            assert float(target.covariance[a, b]) == pytest.approx(expected, abs=1e-12)
    draws = target.exact_samples(20_000, torch.Generator().manual_seed(0))
    error = (target.covariance.diagonal() / len(draws)).sqrt()
    assert bool(((draws.mean(0) - target.mean).abs() < 4 * error).all())


def test_a_chain_and_a_ring_of_spins_are_what_ising_found() -> None:
    """Open: Z = 2^D cosh(J)^(D-1); closed: (2 cosh J)^D + (2 sinh J)^D."""
    sites, strength = 7, 0.8
    open_z = sites * math.log(2) + (sites - 1) * math.log(math.cosh(strength))
    assert Ising(chain(sites, strength)).log_z == pytest.approx(open_z, abs=1e-12)
    j = chain(sites, strength)
    j[0, -1] = j[-1, 0] = strength
    closed = math.log((2 * math.cosh(strength)) ** sites + (2 * math.sinh(strength)) ** sites)
    assert Ising(j).log_z == pytest.approx(closed, abs=1e-12)
    assert Ising.lattice(1, sites, strength, periodic=False, dtype=DOUBLE).log_z == pytest.approx(open_z)


def test_the_lattice_has_its_neighbors_and_its_chessboard() -> None:
    for height, width, periodic in ((3, 4, True), (4, 4, True), (2, 3, False), (1, 1, False), (1, 4, False)):
        bonds = neighbors(height, width, periodic)
        for a, b in itertools.product(range(height * width), repeat=2):
            (r, c), (q, d) = divmod(a, width), divmod(b, width)
            down, right = abs(r - q), abs(c - d)
            if periodic:
                down, right = min(down, height - down), min(right, width - right)
            assert bool(bonds[a, b]) == (down + right == 1), (a, b)
        color = chessboard(height, width)
        if not periodic or height % 2 == width % 2 == 0:
            first, second = bonds.nonzero(as_tuple=True)
            assert bool((color[first] != color[second]).all())


@pytest.mark.parametrize(
    "height, width, periodic", [(3, 3, True), (3, 4, True), (4, 3, False), (5, 1, False), (1, 5, False)]
)
def test_the_transfer_matrix_is_the_sum_over_states(height: int, width: int, periodic: bool) -> None:
    values = (-0.6, 0.3)
    j, h = (torch.tensor(v, dtype=DOUBLE, requires_grad=True) for v in values)
    log_z = ising_strip_log_z(height, width, j, h, periodic)
    target = Ising.lattice(height, width, *values, periodic, DOUBLE)
    assert float(log_z.detach()) == pytest.approx(target.log_z, abs=1e-11)
    spins, p = 2 * target.states - 1, target.probabilities
    bonds = neighbors(height, width, periodic).double()
    of_bonds, of_spins = torch.autograd.grad(log_z, (j, h))  # the moments
    torch.testing.assert_close(of_bonds, 0.5 * (p * (spins @ bonds * spins).sum(1)).sum())
    torch.testing.assert_close(of_spins, (p * spins.sum(1)).sum())


@pytest.mark.parametrize("coupling", [0.25, 0.6])
def test_a_wide_strip_has_onsagers_free_energy(coupling: float) -> None:
    """log Z per site = ½ log 2 + (1/2π) ∫ log[cosh² 2J + √(1 + k² - 2k cos 2θ)/k] dθ over (0, π), up to a
    part exp(-width/ξ) of it; at J > J_c the two orders add log 2 to the whole log Z."""
    k = 1 / math.sinh(2 * coupling) ** 2
    inner = lambda t: math.log(  # noqa: E731
        math.cosh(2 * coupling) ** 2 + math.sqrt(1 + k * k - 2 * k * math.cos(2 * t)) / k
    )
    onsager = 0.5 * math.log(2) + integrate.quad(inner, 0, math.pi, epsabs=1e-13)[0] / (2 * math.pi)
    errors = []
    for width in (4, 6, 8, 10):
        height = 2**14
        found = ising_strip_log_z(height, width, torch.tensor(coupling, dtype=DOUBLE))
        errors.append(abs(float(found) / (height * width) - onsager))
    assert errors[3] < 5e-5 and all(b < 0.5 * a for a, b in itertools.pairwise(errors)), errors


def test_potts_of_two_values_is_ising_of_half_the_coupling() -> None:
    """[y_i = y_j] = ½ (1 + s_i s_j), and a field (0, 2h) is h s + h."""
    j, h = couplings(5), draw(5, seed=1)
    potts, ising = Potts(j, 2, torch.stack([0 * h, 2 * h], 1)), Ising(0.5 * j, h)
    constant = 0.25 * j.sum() + h.sum()
    index = ising.states.long()
    torch.testing.assert_close(potts(y=index) + constant, ising(y=ising.states))
    assert potts.log_z - float(constant) == pytest.approx(ising.log_z, abs=1e-12)
    torch.testing.assert_close(potts.mean[:, 1], ising.mean)
    torch.testing.assert_close(potts.covariance[1::2, 1::2], ising.covariance)


def test_potts_is_the_sum_over_pairs_and_its_chain_has_a_closed_form() -> None:
    """Open chain: Z = K (e^J + K - 1)^(D-1)."""
    j, h = couplings(3), draw(3, 4, seed=1)
    target = Potts(j, 4, h)
    states = list(itertools.product(range(4), repeat=3))
    energies = [
        -sum(float(j[a, b]) for a in range(3) for b in range(a) if s[a] == s[b])
        - sum(float(h[a, s[a]]) for a in range(3))
        for s in states
    ]
    index, expected = torch.tensor(states), torch.tensor(energies, dtype=DOUBLE)
    torch.testing.assert_close(target(y=index), expected)
    torch.testing.assert_close(target(y=torch.eye(4, dtype=DOUBLE)[index]), expected)
    torch.testing.assert_close(target.states, torch.eye(4, dtype=DOUBLE)[index])
    best = target.distance_to_minima(target.states)
    assert int(best.argmin()) == energies.index(min(energies)) and float(best.min()) == 0
    assert Potts(chain(5, 0.7), 3).log_z == pytest.approx(math.log(3) + 4 * math.log(math.exp(0.7) + 2))
    assert len(Potts.lattice(2, 2, 3, periodic=False).minima) == 3  # all of one color


def test_bad_models_are_told() -> None:
    j = torch.zeros(3, 3, dtype=DOUBLE)
    with pytest.raises(ValueError, match=r"symmetric coupling matrix with zeros on its diagonal"):
        Ising(j + torch.eye(3))
    with pytest.raises(ValueError, match=r"couplings of shape \(D, D\); got \(3, 2\)"):
        Ising(j[:, :2])
    with pytest.raises(TypeError, match="floating point couplings"):
        Ising(j.long())
    with pytest.raises(ValueError, match=r"a field of shape \(3,\); got \(2,\)"):
        Ising(j, torch.zeros(2))
    with pytest.raises(ValueError, match=r"2\^25 states, more than the 2\^20"):
        _ = Ising.lattice(5, 5).log_z
    with pytest.raises(ValueError, match="sides of 3 sites at least, so that no pair"):
        Ising.lattice(2, 5)
    with pytest.raises(ValueError, match="values >= 2"):
        Potts(j, 1)
    with pytest.raises(ValueError, match=r"one-hot states \(B, 3, 4\).*got \(2, 3, 5\)"):
        Potts(j, 4)(y=torch.zeros(2, 3, 5, dtype=DOUBLE))
    with pytest.raises(ValueError, match=r"at most 12 sites"):
        ising_strip_log_z(3, 13, torch.tensor(0.1))

"""Sparse coding: codes against scikit-learn's lasso and the KKT conditions, dictionaries against the ones that made the data."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import sparse_encode
from torch import Tensor
from torch.nn.functional import normalize

from ebm import Energy, minimize
from ebm.infer import FISTA, ProximalGradient, SpaRSA
from ebm.infer.starts import Zeros
from ebm.regularized import Reconstruction, SparseCoding
from ebm.regularizers import L1

SPARSITY = 0.3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def atoms(count: int = 12, size: int = 8) -> Tensor:
    return normalize(torch.randn(count, size, generator=generator(), dtype=torch.float64), dim=1)


def rows(count: int = 40, size: int = 8) -> Tensor:
    return torch.randn(count, size, generator=generator(1), dtype=torch.float64)


def test_codes_equal_scikit_learns_lasso():
    model, y = SparseCoding(atoms(), SPARSITY), rows()
    ours = model.infer(y, tol=1e-12, max_steps=20_000)
    theirs = sparse_encode(y.numpy(), atoms().numpy(), algorithm="lasso_cd", alpha=SPARSITY, max_iter=100_000)
    # scikit-learn stops at a duality gap of 1e-4 |y|²; both are then within that of the least energy
    assert (model(y=y, z=ours) <= model(y=y, z=torch.from_numpy(theirs)) + 1e-12).all()
    assert torch.allclose(ours, torch.from_numpy(theirs), atol=0.05)


def test_codes_fulfill_the_kkt_conditions():
    y, dictionary = rows(), atoms()
    z = SparseCoding(dictionary, SPARSITY).infer(y, tol=1e-12, max_steps=20_000)
    correlation = (y - z @ dictionary) @ dictionary.T
    active = z != 0
    assert 0 < active.double().mean() < 1
    assert torch.allclose(correlation[active], SPARSITY * z[active].sign(), atol=1e-10)
    assert (correlation[~active].abs() <= SPARSITY + 1e-10).all()


@pytest.mark.parametrize("method", [ProximalGradient(), FISTA(), SpaRSA()], ids=lambda m: type(m).__name__)
def test_it_is_the_sum_of_reconstruction_and_a_weighted_norm(method):
    y, dictionary = rows(), atoms()
    model, plain = SparseCoding(dictionary, SPARSITY), Reconstruction(dictionary) + SPARSITY * L1("z")
    z = model.infer(y, method, tol=1e-11, max_steps=50_000)
    other = minimize(plain, Zeros(12), SpaRSA(), given={"y": y}, tol=1e-11, max_steps=50_000)
    assert torch.equal(model(y=y, z=z), plain(y=y, z=z))
    assert torch.allclose(z, other.value, atol=1e-8)
    assert torch.allclose(model.free_energy(y=y), other.energy, atol=1e-7)


def test_the_duality_gap_bounds_the_true_gap_and_closes():
    model, y = SparseCoding(atoms(), SPARSITY), rows()
    best = model(y=y, z=model.infer(y, tol=1e-13, max_steps=50_000))
    for tol in (1.0, 1e-1, 1e-3):
        z = model.infer(y, tol=tol)
        assert (model.duality_gap(y, z) >= model(y=y, z=z) - best - 1e-13).all()
    assert (model.duality_gap(y, torch.zeros(40, 12, dtype=torch.float64)) > 1e-3).any()
    assert (model.duality_gap(y, model.infer(y, tol=1e-12, max_steps=50_000)) < 1e-10).all()


def planted(count: int = 4000) -> tuple[Tensor, Tensor]:
    """Data that are sums of two atoms each, and the atoms."""
    truth, g = atoms(16, 10), generator(2)
    which = torch.rand(count, 16, generator=g, dtype=torch.float64).argsort(1)[:, :2]
    weight = 1 + torch.rand(count, 2, generator=g, dtype=torch.float64)
    sign = torch.randint(2, (count, 2), generator=g) * 2 - 1
    codes = torch.zeros(count, 16, dtype=torch.float64).scatter_(1, which, weight * sign)
    return codes @ truth, truth


def test_learning_finds_the_dictionary_that_made_the_data():
    y, truth = planted()
    model = SparseCoding(normalize(y[:16], dim=1), 0.3)
    model.fit(y, steps=150, generator=generator(3), progress=False)
    match = (truth @ model.dictionary.T).abs().amax(1)
    chance = (truth @ normalize(y[:16], dim=1).T).abs().amax(1)
    assert (match > 0.98).all(), match
    assert (chance > 0.98).sum() <= 2


def test_learning_lowers_the_free_energy_of_data_not_seen():
    y, _ = planted()
    model = SparseCoding.random(16, 10, 0.1, generator()).double()
    before = model.free_energy(y=y[3000:]).mean()
    model.fit(y[:3000], steps=60, generator=generator(3), progress=False)
    assert model.free_energy(y=y[3000:]).mean() < 0.8 * before
    assert (torch.linalg.vector_norm(model.dictionary, dim=1) <= 1 + 1e-12).all()


def test_a_dead_atom_is_replaced():
    y, _ = planted()
    dictionary = normalize(y[:16], dim=1)
    dictionary[3] = 0.0
    model = SparseCoding(dictionary, 0.1)
    model.fit(y, steps=1, generator=generator(), progress=False)
    assert torch.linalg.vector_norm(model.dictionary[3]) == pytest.approx(1.0)


def test_learning_goes_on_after_an_interruption(monkeypatch):
    y, _ = planted()
    model, calls = SparseCoding.random(16, 10, 0.1, generator()).double(), []
    start = model.free_energy(y=y).mean()
    infer = SparseCoding.infer

    def interrupted(self: SparseCoding, *args, **kwargs) -> Tensor:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return infer(self, *args, **kwargs)

    monkeypatch.setattr(SparseCoding, "infer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(y, steps=50, generator=generator(1), progress=False)
    middle = model.free_energy(y=y).mean()
    model.fit(y, steps=50, generator=generator(2), progress=False)
    assert start > middle > model.free_energy(y=y).mean()


def test_same_generator_same_dictionary():
    y, _ = planted()
    found = []
    for _ in range(2):
        model = SparseCoding.random(16, 10, 0.1, generator()).double()
        model.fit(y, steps=5, generator=generator(7), progress=False)
        found.append(model.dictionary)
    assert torch.equal(*found)


def test_codes_move_with_the_data_as_the_closed_form_on_the_support_says():
    y, dictionary = rows(3).requires_grad_(), atoms()
    model: Energy = SparseCoding(dictionary, SPARSITY)
    z = minimize(
        model, Zeros(12), SpaRSA(), given={"y": y}, tol=1e-12, max_steps=50_000, differentiate="implicit"
    ).value
    weight = torch.randn(3, 12, generator=generator(5), dtype=torch.float64)
    (found,) = torch.autograd.grad((weight * z).sum(), y)
    for row in range(3):
        support = z[row] != 0
        part = dictionary[support]  # z_S = (D_S D_Sᵀ)⁻¹ (D_S y - λ sign)
        expected = weight[row, support] @ torch.linalg.solve(part @ part.T, part)
        assert torch.allclose(found[row], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SparseCoding(torch.zeros(3), 0.1), "one atom a row"),
        (lambda: SparseCoding(torch.zeros(3, 2), -0.1), "sparsity must be finite and positive"),
        (lambda: SparseCoding.random(0, 4), "num_atoms must be an integer of at least 1"),
        (lambda: SparseCoding.random(4, 4).fit(torch.zeros(3, 5)), r"shape \(N, 4\)"),
        (
            lambda: SparseCoding.random(4, 4).fit(torch.full((3, 4), torch.nan)),
            r"rows \[0, 1, 2\] of the data",
        ),
        (lambda: SparseCoding.random(4, 4).fit(torch.zeros(0, 4)), "N >= 1"),
    ],
)
def test_errors_teach(build, words):
    with pytest.raises(ValueError, match=words):
        build()

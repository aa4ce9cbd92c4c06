"""Sparse coding: the sum it is, its certificate, its free energy, and dictionaries that are found again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm import minimize
from ebm.infer import FISTA, CoordinateDescent, SpaRSA
from ebm.infer.starts import Zeros
from ebm.regularized import Reconstruction, SparseCoding
from ebm.regularized.dictionary_update import PATIENCE, DictionaryStatistics
from ebm.regularizers import L1, Box, GroupL1, NonNegativeL1
from ebm.testing import check_binding, check_derivatives, check_energy


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


@pytest.fixture
def model():
    return SparseCoding(unit(draw(10, 8)), 0.4)


@pytest.fixture
def y():
    return draw(5, 8, seed=1)


@pytest.mark.parametrize("atoms", [10, 30], ids=["with the Gram matrix", "with two products"])
def test_energies_keep_their_contract(atoms, y):
    reconstruction = Reconstruction(unit(draw(atoms, 8)))
    example = {"y": y, "z": draw(5, atoms, seed=2)}
    assert reconstruction.compact == (atoms == 10)
    check_energy(reconstruction, example)
    check_derivatives(reconstruction, example)
    check_binding(reconstruction, example)
    check_energy(SparseCoding(unit(draw(atoms, 8)), 0.4), example)


@pytest.mark.parametrize("atoms", [10, 30])
def test_a_bound_reconstruction_equals_the_direct_formula(atoms, y):
    dictionary, z = unit(draw(atoms, 8)), draw(5, atoms, seed=2)
    bound = Reconstruction(dictionary).bind({"y": y})
    expected = 0.5 * ((y - z @ dictionary) ** 2).sum(1)
    torch.testing.assert_close(bound(z=z), expected)
    index = torch.tensor([3, 1])
    torch.testing.assert_close(bound.rows(index)(z=z[index]), expected[index])
    torch.testing.assert_close(bound.repeat(2)(z=z.repeat_interleave(2, 0)), expected.repeat_interleave(2))


def test_it_is_the_sum(model, y):
    total = Reconstruction(model.dictionary) + 0.4 * L1("z")
    z = draw(5, 10, seed=2)
    torch.testing.assert_close(model(y=y, z=z), total(y=y, z=z))
    one, other = (minimize(e, Zeros(10), SpaRSA(), given={"y": y}, tol=1e-10) for e in (model, total))
    assert torch.equal(one.value, other.value)
    assert torch.equal(one.value, model.infer(y, tol=1e-10).value)
    assert set(model.terms(y=y, z=z)) == {"Reconstruction", "L1"}
    again = SparseCoding(torch.zeros(10, 8, dtype=torch.float64), 0.4)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(y=y, z=z), model(y=y, z=z))


@pytest.mark.parametrize("regularizer", [L1("z"), NonNegativeL1("z"), GroupL1("z", 5)], ids=repr)
def test_the_duality_gap_bounds_the_excess_and_closes(regularizer, y):
    model = SparseCoding(unit(draw(10, 8)), 0.4, regularizer)
    best = model.infer(y, tol=1e-12)
    assert model.duality_gap(y, best.value).abs().max() < 1e-10
    for seed in range(5):
        z = (best.value + 0.1 * draw(5, 10, seed=seed)) * torch.rand(1, dtype=y.dtype)
        z = z.clamp(min=0) if isinstance(regularizer, NonNegativeL1) else z
        excess = model(y=y, z=z) - best.energy
        assert (excess > 1e-6).all() and (model.duality_gap(y, z) >= excess - 1e-12).all()


def test_the_smallest_sparsity_without_a_code(model, y):
    largest = (y @ model.dictionary.T).abs().amax(1)
    for row in range(5):
        for factor, count in ((1.001, 0), (0.999, 1)):
            z = SparseCoding(model.dictionary, float(factor * largest[row])).infer(y[row : row + 1]).value
            assert int((z != 0).sum()) == count


def test_free_energy_and_its_gradient(model, y):
    y = y.clone().requires_grad_()
    codes = model.infer(y.detach(), tol=1e-10)
    free = model.free_energy(y=y)
    torch.testing.assert_close(free, codes.energy, atol=1e-8, rtol=0)
    (slope,) = torch.autograd.grad(free.sum(), y)
    torch.testing.assert_close(slope, y.detach() - model.decode(codes.value), atol=1e-4, rtol=0)


def test_a_start_and_a_method_of_ones_own(y):
    dictionary = unit(draw(10, 8))
    expected = SparseCoding(dictionary, 0.4).infer(y, tol=1e-11)
    for method in (FISTA(), CoordinateDescent()):
        model = SparseCoding(dictionary, 0.4, method=method)
        torch.testing.assert_close(model.infer(y, tol=1e-11).value, expected.value, atol=1e-8, rtol=0)
    warm = SparseCoding(dictionary, 0.4).infer(y, start=expected.value, tol=1e-8)
    assert (warm.steps == 0).all()


def test_statistics_hold_what_the_paper_says():
    statistics = DictionaryStatistics(unit(draw(4, 6)))
    first, second = (draw(7, 6, seed=1), draw(7, 4, seed=2)), (draw(7, 6, seed=3), draw(7, 4, seed=4))
    statistics.add(*first)
    statistics.add(*second)
    kept = (1 / 2) ** 2
    torch.testing.assert_close(
        statistics.code_products, kept * first[1].T @ first[1] + second[1].T @ second[1]
    )
    torch.testing.assert_close(
        statistics.data_products, kept * first[1].T @ first[0] + second[1].T @ second[0]
    )


def test_every_atom_update_lowers_the_error_and_ends_at_the_best_atoms():
    dictionary, z, y = unit(draw(4, 6)), draw(50, 4, seed=2), draw(50, 6, seed=3)
    statistics = DictionaryStatistics(dictionary)
    statistics.add(y, z)

    def error(atoms: Tensor) -> float:
        return float(0.5 * ((y - z @ atoms) ** 2).sum())

    before = error(dictionary)
    for _ in range(200):
        statistics.improve(dictionary)
        after = error(dictionary)
        assert after <= before + 1e-10
        before = after
    torch.testing.assert_close(dictionary.norm(dim=1), torch.ones(4, dtype=torch.float64))
    slope = -z.T @ (y - z @ dictionary)  # at the best atoms of length 1, the slope is along each atom
    across = slope - (slope * dictionary).sum(1, keepdim=True) * dictionary
    assert across.abs().max() < 1e-8
    for seed in range(20):
        assert error(unit(dictionary + 0.05 * draw(4, 6, seed=seed))) > before


def test_a_planted_dictionary_is_found_again():
    """From random data, up to sign and order; local minima are told by their energy (seed 0 ends in one)."""
    truth = unit(draw(12, 16))
    active = torch.rand(4000, 12, generator=torch.Generator().manual_seed(7)).argsort(1) < 2
    codes = torch.where(active, draw(4000, 12, seed=8).sign() * (1 + draw(4000, 12, seed=9).abs()), 0.0)
    y = codes @ truth
    reached = []
    for seed in (0, 2):
        generator = torch.Generator().manual_seed(seed)
        model = SparseCoding.from_data(y, 12, sparsity=0.3, generator=generator)
        assert (model.dictionary @ truth.T).abs().amax(0).min() < 0.6  # some atoms are in no row of the start
        history = model.fit(y, steps=40, batch_size=200, generator=generator, progress=False)
        energy = history.column("energy")
        assert len(history) == 40 and energy[-1] < 0.8 * energy[0]
        reached.append((float(model.infer(y).energy.mean()), (model.dictionary @ truth.T).abs().amax(0)))
    (lowest, found), (other, stuck) = sorted(reached, key=lambda pair: pair[0])
    assert (found > 0.99).all() and lowest < other and (stuck < 0.95).any()


def test_dead_atoms_are_replaced_by_the_data_explained_worst():
    dictionary, y = unit(draw(3, 4)), draw(6, 4, seed=1)
    statistics = DictionaryStatistics(dictionary)
    z = draw(6, 3, seed=2)
    z[:, 1] = 0
    for _ in range(PATIENCE):
        assert statistics.replace_idle(dictionary, y, torch.arange(6.0)) == 0
        statistics.add(y, z)
    kept = dictionary.clone()
    assert statistics.replace_idle(dictionary, y, torch.tensor([0.0, 5.0, 1.0, 2.0, 3.0, 4.0])) == 1
    torch.testing.assert_close(dictionary[1], y[1] / y[1].norm())
    assert torch.equal(dictionary[[0, 2]], kept[[0, 2]])
    assert not statistics.code_products[1].any() and statistics.code_products[0, 0] > 0


def test_an_interrupt_keeps_what_was_learned(monkeypatch):
    y = draw(300, 6)
    model = SparseCoding.from_data(y, 8, 0.2, generator=torch.Generator().manual_seed(0))
    before, calls = model.dictionary.clone(), []
    improve = DictionaryStatistics.improve

    def interrupted(self, dictionary):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        improve(self, dictionary)

    monkeypatch.setattr(DictionaryStatistics, "improve", interrupted)
    history = model.fit(y, steps=50, batch_size=50, progress=False)
    assert len(history) == 3 and history.interrupted
    assert torch.isfinite(model.dictionary).all() and not torch.equal(model.dictionary, before)


def test_the_same_generator_learns_the_same():
    y = draw(300, 6)

    def learn() -> Tensor:
        g = torch.Generator().manual_seed(3)
        model = SparseCoding.from_data(y, 8, 0.2, generator=g)
        model.fit(y, steps=5, batch_size=64, generator=g, progress=False)
        return model.dictionary

    assert torch.equal(learn(), learn())


def test_bad_input(model, y):
    with pytest.raises(ValueError, match=r"a dictionary is \(K, P\)"):
        SparseCoding(torch.zeros(3))
    with pytest.raises(ValueError, match="sparsity must be finite and positive"):
        SparseCoding(torch.eye(3), -0.1)
    with pytest.raises(ValueError, match='the regularizer is an energy of "z"'):
        SparseCoding(torch.eye(3), 0.1, L1("s"))
    with pytest.raises(ValueError, match=r"y must be \(B, 8\)"):
        model.infer(y[:, :5])
    with pytest.raises(ValueError, match=r"z must be \(B, 10\)"):
        model(y=y, z=torch.zeros(5, 9, dtype=torch.float64))
    with pytest.raises(ValueError, match="6 atoms need as many rows of data that aren't zero; there are 5"):
        SparseCoding.from_data(y, 6)
    y[3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 5 rows, \[3\]"):
        model.fit(y, progress=False)
    with pytest.raises(TypeError, match="needs a regularizer with a dual_norm; Box has none"):
        SparseCoding(torch.eye(3), 0.1, Box("z", 0.0, 1.0)).duality_gap(torch.zeros(1, 3), torch.zeros(1, 3))

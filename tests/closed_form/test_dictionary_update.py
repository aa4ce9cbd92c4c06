"""Dictionary learning's statistics: online sums are weighted sums, and a pass is the batch solver's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm.regularized import SparseCoding
from ebm.regularized.dictionary_update import FORGETTING, DictionaryStatistics

BATCHES, ROWS, ATOMS, SIZE = 5, 12, 4, 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def data() -> tuple[Tensor, Tensor]:
    """y (batches, rows, size) and sparse codes z (batches, rows, atoms)."""
    z = draw(BATCHES, ROWS, ATOMS, seed=1)
    return draw(BATCHES, ROWS, SIZE, seed=2), torch.where(z.abs() > 0.7, z, 0.0)


def weights() -> Tensor:
    """What is left of each batch at the end: the product of all that was kept after it."""
    kept = torch.tensor([(t / (t + 1)) ** FORGETTING for t in range(BATCHES)], dtype=torch.float64)
    return torch.stack([kept[t + 1 :].prod() for t in range(BATCHES)])


def error(y: Tensor, z: Tensor, dictionary: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ_t w_t Σ_i ½ |y_ti - z_ti D|², row by row."""
    weight = torch.ones(len(y), dtype=y.dtype) if weight is None else weight
    return (weight * 0.5 * (y - z @ dictionary).square().sum((1, 2))).sum()


def taken_in(dictionary: Tensor) -> DictionaryStatistics:
    statistics = DictionaryStatistics(dictionary)
    for batch, codes in zip(*data(), strict=True):
        statistics.add(batch, codes)
    return statistics


def test_sums_with_forgetting_are_weighted_sums() -> None:
    y, z = data()
    statistics, weight = taken_in(unit(draw(ATOMS, SIZE))), weights()
    # the products telescope: after T batches the t-th has the weight (t / T)², t = 1, ..., T
    steps = torch.arange(1.0, BATCHES + 1, dtype=torch.float64)
    torch.testing.assert_close(weight, (steps / BATCHES) ** 2)
    a = sum(w * torch.outer(c, c) for w, codes in zip(weight, z, strict=True) for c in codes)
    b = sum(
        w * torch.outer(c, r)
        for w, codes, rows in zip(weight, z, y, strict=True)
        for c, r in zip(codes, rows, strict=True)
    )
    torch.testing.assert_close(statistics.code_products, a)
    torch.testing.assert_close(statistics.data_products, b)


def test_one_batch_of_everything_is_the_batch_problem() -> None:
    y, z = data()
    statistics = DictionaryStatistics(unit(draw(ATOMS, SIZE)))
    statistics.add(y.flatten(0, 1), z.flatten(0, 1))
    torch.testing.assert_close(statistics.code_products, torch.einsum("tij,tik->jk", z, z))
    torch.testing.assert_close(statistics.data_products, torch.einsum("tij,tik->jk", z, y))


def test_many_batches_of_the_same_are_one_batch_but_for_a_factor() -> None:
    y, z = (part[0] for part in data())
    once, often = (DictionaryStatistics(unit(draw(ATOMS, SIZE))) for _ in range(2))
    once.add(y, z)
    for _ in range(7):
        often.add(y, z)
    factor = sum((t / 7) ** 2 for t in range(1, 8))
    torch.testing.assert_close(often.code_products, factor * once.code_products)
    torch.testing.assert_close(often.data_products, factor * once.data_products)
    one, other = unit(draw(ATOMS, SIZE)), unit(draw(ATOMS, SIZE))
    once.improve(one)
    often.improve(other)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("atom", range(ATOMS))
def test_an_atom_is_the_best_of_length_one_for_the_weighted_error(atom: int) -> None:
    """Brute force: no point of a dense sample of the sphere has less, and the best near it is no better."""
    y, z = data()
    statistics, weight = taken_in(unit(draw(ATOMS, SIZE))), weights()
    before, after = unit(draw(ATOMS, SIZE, seed=3)), unit(draw(ATOMS, SIZE, seed=3))
    statistics.improve(after)
    during = torch.cat([after[:atom], before[atom:]])  # as it was when its turn came
    torch.testing.assert_close(after.norm(dim=1), torch.ones(ATOMS, dtype=torch.float64))

    def with_atom(candidate: Tensor) -> Tensor:
        return error(y, z, torch.cat([during[:atom], candidate[None], during[atom + 1 :]]), weight)

    found = with_atom(after[atom])
    assert found < with_atom(before[atom])
    everywhere = unit(draw(2000, SIZE, seed=4))
    nearby = unit(after[atom] + 1e-3 * draw(500, SIZE, seed=5))
    values = torch.func.vmap(with_atom)(torch.cat([everywhere, nearby]))
    assert (values > found).all()
    # and it is stationary on the sphere: the slope points along the atom alone
    candidate = after[atom].clone().requires_grad_()
    (slope,) = torch.autograd.grad(with_atom(candidate), candidate)
    assert (slope - (slope @ after[atom]) * after[atom]).abs().max() < 1e-10


def batch_solver(y: Tensor, z: Tensor, dictionary: Tensor, passes: int) -> Tensor:
    """Block coordinate descent from residuals, without A and B: each atom is fitted to what others leave."""
    rows, codes, atoms = y.flatten(0, 1), z.flatten(0, 1), [*dictionary.unbind()]
    for _ in range(passes):
        for j in range(len(atoms)):
            others = sum(torch.outer(codes[:, k], atoms[k]) for k in range(len(atoms)) if k != j)
            target = codes[:, j] @ (rows - others)
            atoms[j] = target / target.norm()
    return torch.stack(atoms)


def test_passes_over_all_data_are_the_batch_solvers() -> None:
    y, z = data()
    dictionary = unit(draw(ATOMS, SIZE, seed=3))
    statistics = DictionaryStatistics(dictionary)
    statistics.add(y.flatten(0, 1), z.flatten(0, 1))
    values = [error(y, z, dictionary)]
    for passes in range(1, 31):
        statistics.improve(dictionary)
        values.append(error(y, z, dictionary))
        if passes in (1, 2, 30):
            expected = batch_solver(y, z, unit(draw(ATOMS, SIZE, seed=3)), passes)
            torch.testing.assert_close(dictionary, expected)
    fall = -torch.stack(values).diff()
    assert (fall > -1e-12).all() and fall[0] > 0.01 and fall[-1] < 1e-3 * fall[0]


def test_an_atom_without_use_stays_and_moves_no_other() -> None:
    y, z = data()
    z[:, :, 2] = 0
    dictionary = unit(draw(ATOMS, SIZE, seed=3))
    statistics = DictionaryStatistics(dictionary)
    statistics.add(y.flatten(0, 1), z.flatten(0, 1))
    before, rest = dictionary.clone(), [0, 1, 3]
    statistics.improve(dictionary)
    assert torch.equal(dictionary[2], before[2])
    alone = DictionaryStatistics(before[rest])
    alone.add(y.flatten(0, 1), z.flatten(0, 1)[:, rest])
    few = before[rest].clone()
    alone.improve(few)
    torch.testing.assert_close(dictionary[rest], few)


def test_learning_online_ends_near_learning_in_batches_of_everything() -> None:
    """On planted data both reach, from one start, free energies that differ by less than 1 %."""
    truth = unit(draw(8, 10, seed=6))
    generator = torch.Generator().manual_seed(7)
    active = torch.rand(600, 8, generator=generator).argsort(1) < 2
    y = torch.where(active, draw(600, 8, seed=8).sign() * (1 + draw(600, 8, seed=9).abs()), 0.0) @ truth
    start = unit(truth + 0.15 * draw(8, 10, seed=10))
    reached = []
    for batch_size, steps in ((600, 20), (60, 60)):
        model = SparseCoding(start.clone(), 0.3)
        before = model.infer(y).energy.mean()
        generator = torch.Generator().manual_seed(11)
        model.fit(y, steps=steps, batch_size=batch_size, generator=generator, progress=False)
        reached.append(model.infer(y).energy.mean())
        assert reached[-1] < 0.95 * before
        assert ((model.dictionary * truth).sum(1) > 0.99).all()
    torch.testing.assert_close(reached[0], reached[1], rtol=0.01, atol=0)

"""Convolutional sparse coding: the matrix it stands for, its codes and certificate, atoms found again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv_transpose2d, pad

from ebm import minimize
from ebm.infer import FISTA, CoordinateDescent
from ebm.infer.starts import Zeros
from ebm.regularized import ConvolutionalReconstruction, ConvolutionalSparseCoding, SparseCoding
from ebm.regularized.convolutional_sparse_coding import PASSES
from ebm.regularized.convolutional_update import (
    ConvolutionalStatistics,
    draw_windows,
    sliding,
    unit,
    window_energy,
    windows_at,
)
from ebm.regularized.dictionary_update import FORGETTING, PATIENCE, DictionaryStatistics
from ebm.regularizers import L1, Box, NonNegativeL1

# data without the batch, and the window: a signal, images of one and two channels, a volume
CASES = [((2, 9), (3,)), ((1, 6, 7), (3, 2)), ((2, 5, 4), (2, 3)), ((1, 3, 4, 3), (2, 2, 2))]
EVERY = pytest.mark.parametrize(("data", "window"), CASES, ids=str)
ATOMS = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def atoms_of(data: tuple[int, ...], window: tuple[int, ...], seed: int = 5) -> Tensor:
    return unit(draw(ATOMS, data[0], *window, seed=seed))


def codes_of(data: tuple[int, ...], window: tuple[int, ...], batch: int = 4, seed: int = 3) -> Tensor:
    return draw(batch, ATOMS, *(n + m - 1 for n, m in zip(data[1:], window, strict=True)), seed=seed)


def as_matrix(dictionary: Tensor, sides: tuple[int, ...]) -> Tensor:
    """The dictionary (codes, pixels) written down: each atom laid in each place, and what shows of it."""
    rows = []
    for atom in dictionary:
        for place in torch.cartesian_prod(
            *(torch.arange(n + m - 1) for n, m in zip(sides, atom.shape[1:], strict=True))
        ).reshape(-1, len(sides)):
            canvas = atom.new_zeros(
                atom.shape[0], *(n + 2 * (m - 1) for n, m in zip(sides, atom.shape[1:], strict=True))
            )
            there = tuple(slice(int(p), int(p) + m) for p, m in zip(place, atom.shape[1:], strict=True))
            canvas[(slice(None), *there)] = atom
            seen = tuple(slice(m - 1, m - 1 + n) for n, m in zip(sides, atom.shape[1:], strict=True))
            rows.append(canvas[(slice(None), *seen)].flatten())
    return torch.stack(rows)


# --- the energy ---------------------------------------------------------------------------------------------


@EVERY
def test_it_is_the_reconstruction_of_the_matrix_it_stands_for(data, window) -> None:
    dictionary, y, z = atoms_of(data, window), draw(4, *data), codes_of(data, window)
    matrix, energy = as_matrix(dictionary, data[1:]), ConvolutionalReconstruction(dictionary)
    assert energy.code_shape(y) == z.shape[1:] and matrix.shape == (z[0].numel(), y[0].numel())
    torch.testing.assert_close(energy.decode(z).flatten(1), z.flatten(1) @ matrix)
    torch.testing.assert_close(energy.correlate(y).flatten(1), y.flatten(1) @ matrix.T)
    torch.testing.assert_close(energy(y=y, z=z), 0.5 * (y.flatten(1) - z.flatten(1) @ matrix).square().sum(1))


@EVERY
def test_every_pixel_is_reached_by_as_much_of_the_atoms(data, window) -> None:
    dictionary = atoms_of(data, window)
    reach = as_matrix(dictionary, data[1:]).square().sum(0).view(data)
    per_channel = dictionary.square().flatten(2).sum((0, 2))
    torch.testing.assert_close(reach, per_channel.view(-1, *(1,) * len(window)).expand(data))


def test_images_are_torchs_transposed_convolution() -> None:
    dictionary, z = draw(3, 2, 4, 3), draw(2, 3, 9, 8, seed=1)
    expected = conv_transpose2d(z, dictionary)[:, :, 3:-3, 2:-2]
    torch.testing.assert_close(ConvolutionalReconstruction(dictionary).decode(z), expected)


@EVERY
def test_closed_gradients_are_autograds(data, window) -> None:
    energy = ConvolutionalReconstruction(atoms_of(data, window))
    values = {"y": draw(4, *data).requires_grad_(), "z": codes_of(data, window).requires_grad_()}
    expected = energy(**values)
    for name, slope in zip(values, torch.autograd.grad(expected.sum(), list(values.values())), strict=True):
        with torch.no_grad():
            value, gradient = energy.value_and_grad(name, **values)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, slope)
        assert slope.any()


@EVERY
def test_the_curvature_is_that_of_the_matrix(data, window) -> None:
    """No larger on any data, up to what lies between two frequencies, and reached on large data."""
    dictionary = atoms_of(data, window)
    curvature = ConvolutionalReconstruction(dictionary).curvature()
    norms = [
        float(torch.linalg.matrix_norm(as_matrix(dictionary, sides), 2)) ** 2
        for sides in (data[1:], tuple(2 * n for n in data[1:]))
    ]
    assert norms[0] < norms[1] < 1.05 * curvature
    assert norms[1] > (0.7 if len(window) < 3 else 0.4) * curvature
    if len(window) == 1:
        long = float(torch.linalg.matrix_norm(as_matrix(dictionary, (200,)), 2)) ** 2
        assert long == pytest.approx(curvature, rel=0.05)


# --- inference ----------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("regularizer", [L1("z"), NonNegativeL1("z")], ids=repr)
def test_codes_and_free_energy_are_those_of_sparse_coding_with_the_matrix(data, window, regularizer) -> None:
    dictionary, y = atoms_of(data, window)[:2], draw(4, *data)
    model = ConvolutionalSparseCoding(dictionary, 0.8, regularizer)
    method = CoordinateDescent() if len(window) < 3 else FISTA()
    plain = SparseCoding(as_matrix(dictionary, data[1:]), 0.8, regularizer, method)
    found = model.infer(y, tol=1e-10)
    expected = plain.infer(y.flatten(1), tol=1e-10)
    assert found.converged.all() and expected.converged.all() and found.value.any()
    torch.testing.assert_close(found.energy, expected.energy, atol=1e-10, rtol=0)
    torch.testing.assert_close(found.value.flatten(1), expected.value, atol=1e-8, rtol=0)
    gap = model.duality_gap(y, found.value)
    assert gap.abs().max() < 1e-9
    for seed in range(3):
        z = found.value * torch.rand(found.value.shape, generator=seeded(seed), dtype=y.dtype)
        excess = model(y=y, z=z) - found.energy
        assert (excess > 1e-3).all() and (model.duality_gap(y, z) >= excess - 1e-12).all()
        torch.testing.assert_close(model.duality_gap(y, z), plain.duality_gap(y.flatten(1), z.flatten(1)))


def test_it_is_the_sum_and_its_free_energy_has_the_gradient_of_its_residual() -> None:
    dictionary, y = atoms_of((1, 6, 7), (3, 2))[:2], draw(4, 1, 6, 7).requires_grad_()
    model = ConvolutionalSparseCoding(dictionary, 0.8)
    total = ConvolutionalReconstruction(dictionary) + 0.8 * L1("z")
    z = codes_of((1, 6, 7), (3, 2))[:, :2]
    torch.testing.assert_close(model(y=y, z=z), total(y=y, z=z))
    assert set(model.terms(y=y, z=z)) == {"ConvolutionalReconstruction", "L1"}
    codes = model.infer(y.detach(), tol=1e-10)
    one = minimize(total, Zeros(*z.shape[1:]), model.method, given={"y": y.detach()}, tol=1e-10)
    assert torch.equal(one.value, codes.value)
    free = model.free_energy(y=y)
    torch.testing.assert_close(free, codes.energy, atol=1e-8, rtol=0)
    (slope,) = torch.autograd.grad(free.sum(), y)
    torch.testing.assert_close(slope, y.detach() - model.decode(codes.value), atol=1e-4, rtol=0)
    assert (model.infer(y.detach(), start=codes.value, tol=1e-8).steps == 0).all()


def test_with_atoms_of_one_pixel_it_is_sparse_coding() -> None:
    dictionary, y = unit(draw(5, 4)), draw(6, 4, seed=1)
    plain = SparseCoding(dictionary, 0.3)
    model = ConvolutionalSparseCoding(dictionary[:, :, None], 0.3)
    expected = plain.infer(y, tol=1e-11).value
    torch.testing.assert_close(model.infer(y[:, :, None], tol=1e-11).value[..., 0], expected)


def test_a_shifted_scene_has_shifted_codes() -> None:
    """One scene seen through two frames: where all that is laid is seen by both, the codes agree."""
    dictionary = unit(draw(2, 1, 3, 3))
    scene = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    scene[..., 8:12, 8:12] = draw(4, 4)
    model = ConvolutionalSparseCoding(dictionary, 0.2)
    one, other = (model.infer(scene[..., i : i + 14, j : j + 14], tol=1e-11) for i, j in ((2, 2), (4, 3)))
    torch.testing.assert_close(one.energy, other.energy)
    torch.testing.assert_close(one.value[..., 2:, 1:], other.value[..., :-2, :-1], atol=1e-8, rtol=0)


# --- the atoms' half ----------------------------------------------------------------------------------------


def total_error(y: Tensor, z: Tensor, dictionary: Tensor) -> Tensor:
    return ConvolutionalReconstruction(dictionary)(y=y, z=z).sum()


@EVERY
def test_the_statistics_are_the_quadratic_in_the_atoms(data, window, monkeypatch) -> None:
    """½ dᵀAd - Bᵀd + ½|y|² is the error of any atoms, also where windows come in small blocks."""
    y, z, truth = draw(4, *data), codes_of(data, window), atoms_of(data, window)
    for block in (1, 2**22):
        monkeypatch.setattr("ebm.regularized.convolutional_update.BLOCK", block)
        statistics = ConvolutionalStatistics(truth)
        statistics.add(y, z)
        for seed in range(3):
            atoms = draw(*truth.shape, seed=seed)
            flat = atoms.movedim(1, -1).reshape(-1, data[0])
            quadratic = 0.5 * (flat * (statistics.code_products @ flat)).sum()
            quadratic = quadratic - (flat * statistics.data_products).sum() + 0.5 * y.square().sum()
            torch.testing.assert_close(quadratic, total_error(y, z, atoms))
    older = (draw(2, *data, seed=7), codes_of(data, window, 2, seed=8))
    both, first, last = (ConvolutionalStatistics(truth) for _ in range(3))
    both.add(*older)
    both.add(y, z)
    first.add(*older)
    last.add(y, z)
    expected = 0.5**FORGETTING * first.code_products + last.code_products
    torch.testing.assert_close(both.code_products, expected)
    both.add(y, z, kept=0.0)
    torch.testing.assert_close(both.code_products, last.code_products)
    torch.testing.assert_close(both.data_products, last.data_products)


@EVERY
def test_no_step_of_the_atoms_raises_the_error_and_they_end_where_it_is_stationary(data, window) -> None:
    y, z, dictionary = draw(4, *data), codes_of(data, window), atoms_of(data, window)
    z = torch.where(z.abs() > 0.8, z, 0.0)
    statistics = ConvolutionalStatistics(dictionary)
    statistics.add(y, z)
    before = first = total_error(y, z, dictionary)
    for _ in range(30):
        statistics.improve(dictionary)
        after = total_error(y, z, dictionary)
        assert after <= before + 1e-10
        before = after
    assert before < 0.95 * first
    statistics.improve(dictionary, 3000)
    torch.testing.assert_close(dictionary.flatten(1).norm(dim=1), torch.ones(ATOMS, dtype=torch.float64))
    best = dictionary.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total_error(y, z, best), best)
    slope, best = slope.flatten(1), best.detach().flatten(1)
    across = slope - (slope * best).sum(1, keepdim=True) * best
    assert across.abs().max() < 1e-6
    for seed in range(10):
        near = unit(dictionary + 0.05 * draw(*dictionary.shape, seed=seed))
        assert total_error(y, z, near) > total_error(y, z, dictionary)


def test_with_atoms_of_one_pixel_the_update_is_that_of_sparse_coding() -> None:
    start, y, z = unit(draw(4, 6)), draw(30, 6, seed=1), draw(30, 4, seed=2)
    z = torch.where(z.abs() > 1, z, 0.0)
    expected, here = start.clone(), start.clone()[:, :, None]
    plain, convolved = DictionaryStatistics(expected), ConvolutionalStatistics(here)
    for rows in (slice(0, 10), slice(10, 30)):
        plain.add(y[rows], z[rows])
        convolved.add(y[rows, :, None], z[rows, :, None])
    torch.testing.assert_close(convolved.code_products, plain.code_products)
    plain.improve(expected)
    convolved.improve(here)
    torch.testing.assert_close(here[..., 0], expected)


def test_idle_atoms_get_the_windows_that_are_explained_worst() -> None:
    data, window = (2, 6, 5), (2, 3)
    dictionary, y, z = atoms_of(data, window), draw(4, *data), codes_of(data, window)
    statistics = ConvolutionalStatistics(dictionary)
    statistics.add(y, z)
    z[:, 1] = 0
    residual = 0.1 * draw(4, *data, seed=9)
    residual[2, :, 3:5, 1:4] += 3
    for _ in range(PATIENCE):
        assert statistics.replace_idle(dictionary, residual) == 0
        statistics.add(y, z)
    kept = dictionary.clone()
    assert statistics.replace_idle(dictionary, residual) == 1
    torch.testing.assert_close(dictionary[1], unit(residual[2:3, :, 3:5, 1:4])[0])
    assert torch.equal(dictionary[[0, 2]], kept[[0, 2]])
    products = statistics.code_products.view(ATOMS, 6, ATOMS, 6)  # of the first codes, when 1 was in use
    assert not products[1].any() and not products[:, :, 1].any() and products[0, :, 2].any()
    assert not statistics.data_products[6:12].any() and statistics.idle.tolist() == [0, 0, 0]


def test_windows() -> None:
    y = draw(3, 2, 5, 6)
    energy = window_energy(y, (2, 3))
    assert sliding(y, (2, 3)).shape == (3, 2, 4, 4, 2, 3)
    torch.testing.assert_close(energy[1, 2, 3], y[1, :, 2:4, 3:6].square().sum())
    came = windows_at(y, (2, 3), torch.tensor([1, 0]), torch.tensor([2 * 4 + 3, 0]))
    torch.testing.assert_close(came, torch.stack([y[1, :, 2:4, 3:6], y[0, :, :2, :3]]))


def test_windows_are_drawn_in_proportion_to_their_squares_and_differ() -> None:
    y, trials = torch.tensor([[[1.0, 0.0, 2.0, 0.0, 3.0]]], dtype=torch.float64), 2000
    generator, counts = seeded(), torch.zeros(4)
    for _ in range(trials):
        counts[int(draw_windows(y, (1,), 1, generator))] += 1
    for size in (1, 2, 3):
        share = size**2 / 14
        error = math.sqrt(share * (1 - share) / trials)
        assert abs(float(counts[size]) / trials - share) < 4 * error
    assert sorted(draw_windows(y, (1,), 3, generator).flatten().tolist()) == [1, 2, 3]


# --- learning -----------------------------------------------------------------------------------------------


def planted(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 12, 12) of three atoms, two of each laid at random, and the atoms, (3, 1, 4, 4)."""
    truth = unit(draw(3, 1, 4, 4, seed=40))
    place = torch.rand(images, 3, 225, generator=seeded(seed), dtype=torch.float64).argsort(-1) < 2
    strength = draw(images, 3, 225, seed=seed + 1)
    z = (place * (strength.sign() + 0.5 * strength)).view(images, 3, 15, 15)
    return ConvolutionalReconstruction(truth).decode(z) + 0.01 * draw(images, 1, 12, 12, seed=3), truth


def likeness(dictionary: Tensor, truth: Tensor) -> Tensor:
    """The largest |⟨d_k, truth_j⟩| over all shifts, for each true atom, (J,)."""
    sides = [n - 1 for n in dictionary.shape[2:] for _ in range(2)]
    return ConvolutionalReconstruction(truth).correlate(pad(dictionary, sides)).abs().flatten(2).amax((0, 2))


def test_planted_atoms_are_found_again_up_to_shift_and_sign() -> None:
    """In windows with a margin, from windows of the data; local minima are told by their energy (seed 2)."""
    y, truth = planted(60, seed=10)
    best = float(ConvolutionalSparseCoding(pad(truth, (1, 1, 1, 1)), 0.2).infer(y).energy.mean())
    reached = []
    for seed in (1, 2):
        generator = seeded(seed)
        model = ConvolutionalSparseCoding.from_data(y, 3, 6, 0.2, generator=generator)
        assert likeness(model.dictionary, truth).min() < 0.6
        history = model.fit(y, steps=20, batch_size=20, generator=generator, progress=False)
        energy = history.column("energy")
        assert len(history) == 20 and energy[-3:].mean() < 0.8 * energy[0]
        reached.append((float(model.infer(y).energy.mean()), likeness(model.dictionary, truth).min()))
    (lowest, found), (other, stuck) = sorted(reached)
    assert found > 0.99 and lowest == pytest.approx(best, rel=0.01)
    assert stuck < 0.9 and other > 1.1 * best


def test_on_all_data_at_once_the_energy_never_rises() -> None:
    y, _ = planted(12, seed=20)
    model = ConvolutionalSparseCoding.from_data(y, 3, 5, 0.15, generator=seeded())
    history = model.fit(y, steps=25, batch_size=100, progress=False)
    fall = -history.column("energy").diff()
    assert (fall > -1e-9).all() and fall[0] > 1e-3
    torch.testing.assert_close(model.dictionary.flatten(1).norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_on_all_data_at_once_it_alternates_between_codes_and_the_atoms_that_suit_them() -> None:
    y, _ = planted(12, seed=20)
    model = ConvolutionalSparseCoding.from_data(y, 3, 5, 0.15, generator=seeded())
    other, z = ConvolutionalSparseCoding(model.dictionary.clone(), 0.15, method=model.method), None
    for _ in range(4):
        codes = other.infer(y, z, tol=0.1)
        z, statistics = codes.value, ConvolutionalStatistics(other.dictionary)
        statistics.add(y, z)
        statistics.improve(other.dictionary, PASSES)
    history = model.fit(y, steps=4, batch_size=12, progress=False)
    torch.testing.assert_close(model.dictionary, other.dictionary)
    assert history.rows[-1]["energy"] == pytest.approx(float(codes.energy.mean()))


def test_an_interrupt_keeps_what_was_learned(monkeypatch) -> None:
    y, _ = planted(20, seed=30)
    model = ConvolutionalSparseCoding.from_data(y, 3, 3, 0.3, generator=seeded())
    before, calls, improve = model.dictionary.clone(), [], ConvolutionalStatistics.improve

    def interrupted(self, dictionary, passes):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        improve(self, dictionary, passes)

    monkeypatch.setattr(ConvolutionalStatistics, "improve", interrupted)
    history = model.fit(y, steps=50, batch_size=5, progress=False)
    assert len(history) == 3 and history.interrupted
    assert torch.isfinite(model.dictionary).all() and not torch.equal(model.dictionary, before)


def test_the_same_generator_learns_the_same() -> None:
    y, _ = planted(20, seed=30)

    def learn() -> Tensor:
        generator = seeded(3)
        model = ConvolutionalSparseCoding.from_data(y, 3, (3, 4), 0.3, generator=generator)
        model.fit(y, steps=3, batch_size=8, generator=generator, progress=False)
        return model.dictionary

    assert learn().shape == (3, 1, 3, 4) and torch.equal(learn(), learn())


def test_bad_input() -> None:
    y = draw(4, 1, 6, 7)
    model = ConvolutionalSparseCoding(atoms_of((1, 6, 7), (3, 2)), 0.3)
    with pytest.raises(ValueError, match=r"a dictionary is \(K, C, h, w\).*got shape \(3, 2\)"):
        ConvolutionalReconstruction(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="sparsity must be finite and positive"):
        ConvolutionalSparseCoding(torch.zeros(1, 1, 2, 2), -0.1)
    with pytest.raises(ValueError, match='the regularizer is an energy of "z"'):
        ConvolutionalSparseCoding(torch.zeros(1, 1, 2, 2), 0.1, L1("s"))
    with pytest.raises(ValueError, match=r"y must be \(B, 1, H, W\): .* got y of shape \(4, 2, 6, 7\)"):
        model.infer(draw(4, 2, 6, 7))
    with pytest.raises(ValueError, match=r"y must be \(B, 1, H, W\)"):
        model.infer(y[0])
    with pytest.raises(ValueError, match=r"z must be \(B, 3, H \+ 2, W \+ 1\)"):
        model.decode(draw(4, 2, 8, 8))
    with pytest.raises(ValueError, match=r"the codes of y, \(4, 1, 6, 7\), are \(B, 3, 8, 8\)"):
        model(y=y, z=draw(4, 3, 6, 7))
    with pytest.raises(ValueError, match=r"no side smaller than the window's, \(7, 7\); got shape"):
        ConvolutionalSparseCoding.from_data(y, 2, 7)
    with pytest.raises(
        ValueError, match="3 atoms need as many windows of data that aren't zero; there are 0"
    ):
        ConvolutionalSparseCoding.from_data(torch.zeros_like(y), 3, 2)
    with pytest.raises(TypeError, match="needs a regularizer with a dual_norm; Box has none"):
        box = ConvolutionalSparseCoding(torch.ones(1, 1, 1), 0.1, Box("z", 0.0, 1.0))
        box.duality_gap(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
    y[3, 0, 2] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 4 rows, \[3\]"):
        model.fit(y, progress=False)

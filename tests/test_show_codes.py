"""Spectra against numpy's singular values, histograms against its counts, filters against their patches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from ebm.show import code_spectrum, energy_histogram, filters


def flat() -> Axes:
    return Figure().subplots()


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_spectra_are_the_singular_values_and_eigenvalues() -> None:
    codes = {"one": randn(50, 6) * torch.logspace(0, -3, 6) + 3, "other": randn(40, 4, seed=1)}
    ax = flat()
    assert code_spectrum(codes, ax) is ax
    for (name, z), line in zip(codes.items(), ax.lines, strict=True):
        centered = z.numpy() - z.numpy().mean(0)
        sigma = np.linalg.svd(centered, compute_uv=False)
        np.testing.assert_allclose(line.get_ydata(), sigma, rtol=1e-9)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(sigma) + 1))
        p = sigma / sigma.sum()
        rank = math.exp(-(p * np.log(p)).sum())
        assert line.get_label() == f"{name}: effective rank {rank:.1f} of {z.shape[1]}"
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "singular value"
    ax = code_spectrum(codes, flat(), kind="eigenvalues", relative=True)
    for z, line in zip(codes.values(), ax.lines, strict=True):
        expected = np.sort(np.linalg.eigvalsh(np.cov(z.numpy().T)))[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected / expected[0], rtol=1e-6, atol=1e-12)
    assert ax.get_ylabel() == "eigenvalue, relative"
    line = code_spectrum(codes["other"], flat(), kind="eigenvalues").lines[0]
    np.testing.assert_allclose(line.get_ydata(), np.linalg.eigvalsh(np.cov(codes["other"].numpy().T))[::-1])


def test_a_dead_direction_does_not_stretch_the_axis() -> None:
    z = randn(30, 4) * torch.tensor([1.0, 1.0, 1.0, 0.0])
    ax = code_spectrum(z, flat())
    low, high = ax.get_ylim()
    assert high / low < 1e4
    assert ax.lines[0].get_label() == "effective rank 3.0 of 4"
    code_spectrum(torch.ones(5, 3), flat())  # complete collapse: nothing to see, and no error


def test_histograms_count_all_and_name_gap_and_area() -> None:
    on, off = randn(300), {"near": randn(200, seed=1) + 1, "far": randn(100, seed=2) * 3 + 8}
    ax = flat()
    assert energy_histogram(on, off, ax, name="test digits", ceiling=9.0, bins=40) is ax
    low = min(float(v.min()) for v in (on, *off.values()))
    for values, patch in zip((on, *off.values()), ax.patches, strict=True):
        drawn = patch.get_data()  # type: ignore[attr-defined]
        counts, edges = np.histogram(values.clamp(max=9.0).numpy(), 40, (low, 9.0))
        np.testing.assert_allclose(drawn.values, 100 * counts / len(values))
        np.testing.assert_allclose(drawn.edges, edges)
        assert drawn.values.sum() == pytest.approx(100)
    words = ["test digits"]
    for name, values in off.items():
        labels = np.r_[np.zeros(300), np.ones(len(values))]
        area = roc_auc_score(labels, np.r_[on.numpy(), values.numpy()])
        words.append(f"{name}: gap {float(values.mean() - on.mean()):.3g}, AUROC {area:.2f}")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == words
    assert ax.get_xlabel() == "energy (9 and above in the last bin)" and ax.get_ylabel() == "% of points"
    ax = energy_histogram(on, off["far"], flat())
    assert ax.get_xlabel() == "energy" and ax.get_xlim()[1] == pytest.approx(float(off["far"].max()))


def test_equal_energies_have_a_histogram_too() -> None:
    ax = energy_histogram(torch.zeros(5), torch.zeros(3), flat())
    assert ax.get_legend().get_texts()[1].get_text() == "other points: gap 0, AUROC 0.50"


def test_filters_lie_in_their_places_on_one_scale() -> None:
    atoms = randn(5, 3, 2)
    ax = flat()
    assert filters(atoms, ax, columns=2) is ax
    canvas = np.asarray(ax.images[0].get_array())
    assert canvas.shape == (3 * 4 - 1, 2 * 3 - 1)
    for k, atom in enumerate(atoms.numpy()):
        top, left = 4 * (k // 2), 3 * (k % 2)
        np.testing.assert_allclose(canvas[top : top + 3, left : left + 2], atom / np.abs(atoms.numpy()).max())
    assert ax.images[0].get_clim() == (-1, 1)
    assert np.isnan(np.ma.filled(ax.images[0].get_array(), np.nan)[3]).all()  # type: ignore[arg-type]


def test_filters_are_sorted_and_may_have_scales_of_their_own() -> None:
    atoms = torch.stack([torch.full((4,), 0.5), torch.full((4,), -2.0), torch.ones(4)])
    ax = filters(atoms, flat(), columns=3, order=torch.tensor([1.0, 3.0, 2.0]))
    assert np.asarray(ax.images[0].get_array())[0, ::3].tolist() == [-1.0, 0.5, 0.25]
    ax = filters(atoms, flat(), columns=3, shared=False)
    assert np.asarray(ax.images[0].get_array())[0, ::3].tolist() == [1.0, -1.0, 1.0]
    assert np.asarray(filters(atoms, flat()).images[0].get_array()).shape == (5, 5)  # 2 columns of three
    filters(torch.zeros(2, 4), flat())  # dead filters are gray


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: code_spectrum(randn(5, 2), flat(), kind="values"), "'singular values' or 'eigenvalues'"),  # type: ignore[arg-type]
        (lambda: code_spectrum(randn(5), flat()), r"codes have shape \(N, D\)"),
        (
            lambda: code_spectrum({str(k): randn(5, 2) for k in range(9)}, flat()),
            "one to 7 in a picture; got 9",
        ),
        (lambda: energy_histogram(randn(3, 1), randn(3), flat()), r"energies \(data\) are a vector"),
        (lambda: energy_histogram(randn(3), {"data": randn(3)}, flat()), "'data' is that of the data"),
        (lambda: energy_histogram(randn(3), randn(3) * torch.inf, flat()), "3 NaN or infinite"),
        (lambda: energy_histogram(randn(3), randn(3), flat(), bins=0), "bins is 1 or more"),
        (lambda: filters(randn(3, 5), flat()), r"of square patches, one at least; got \(3, 5\)"),
        (lambda: filters(randn(3, 4) * torch.nan, flat()), r"filters \[0, 1, 2\] hold NaN"),
        (lambda: filters(randn(3, 4), flat(), order=torch.ones(2)), r"a number a filter, \(3,\); got \(2,\)"),
        (lambda: filters(randn(3, 4), flat(), columns=0), "columns is 1 or more"),
    ],
)
def test_bad_input_is_told(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

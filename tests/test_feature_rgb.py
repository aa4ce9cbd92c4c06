"""Codes as colors against numpy's singular vectors; pictures side by side; refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ebm.show import feature_rgb, mosaic


def codes(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 5.0, 0.2, 3.0, 2.0], dtype=torch.float64)
    return torch.randn(7, 12, 5, generator=generator, dtype=torch.float64) * scale + 4


@pytest.mark.parametrize("centered", [False, True])
def test_colors_are_the_principal_components(centered: bool) -> None:
    s = codes()
    found = feature_rgb(s, (3, 4), constant=s.mean(0) if centered else None)
    flat = (s - s.mean(0) if centered else s).numpy().reshape(84, 5)
    flat = flat - flat.mean(0)
    axes = np.linalg.svd(flat, full_matrices=False)[2][:3]
    axes = axes * np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])[:, None]
    values = flat @ axes.T
    low, high = np.quantile(values, 0.01, 0), np.quantile(values, 0.99, 0)
    expected = np.clip((values - low) / (high - low), 0, 1).reshape(7, 3, 4, 3)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.min() == 0 and found.max() == 1


def test_a_constant_in_all_images_changes_no_color_once_it_is_taken_off() -> None:
    s, place = codes(), 10 * codes(1)[:1]
    one, two = (feature_rgb(each, (3, 4), constant=each.mean(0)) for each in (s, s + place))
    np.testing.assert_allclose(one, two, atol=1e-9)


def test_pictures_lie_side_by_side() -> None:
    ax = Figure().subplots()
    pictures = np.random.default_rng(0).random((5, 2, 3))
    assert mosaic(pictures, ax, columns=3, gap=0.5) is ax
    assert [image.get_extent() for image in ax.images[2:4]] == [[3.0, 4.0, 1.0, 0.0], [0.0, 1.0, 2.5, 1.5]]
    np.testing.assert_array_equal(ax.images[4].get_array(), pictures[4])
    assert ax.get_xlim() == (0, 4.0) and ax.get_ylim() == (2.5, 0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"of P = 3 x 3 patches with D >= 3; got \(7, 12, 5\)"):
        feature_rgb(codes(), (3, 3))
    with pytest.raises(ValueError, match="one picture or more; got 0"):
        mosaic(np.zeros((0, 2, 2)), Figure().subplots(), columns=1)

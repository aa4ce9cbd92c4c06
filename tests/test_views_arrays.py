"""Views of rows of any shape, noise, scaling and masks: what they do, and how their parameters are drawn."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm.views import GaussianNoise, MaskEntries, MaskPatches, Scaling


def close_to(mean: float, values: Tensor) -> bool:
    """Whether the mean of independent values is within 4 standard errors of what it should be."""
    return abs(values.mean().item() - mean) < 4 * values.std().item() / math.sqrt(values.numel())


def test_noise(generator: torch.Generator) -> None:
    units = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    x = torch.zeros(20000, 3, dtype=torch.float64)
    view, (scale, noise) = GaussianNoise((0.5, 1.5), units=units)(x, generator)
    assert torch.equal(view, scale[:, None] * noise * units)
    assert 0.5 <= scale.min() < 0.51 and 1.49 < scale.max() < 1.5 and close_to(1.0, scale)
    assert stats.kstest(noise.flatten(), "norm").pvalue > 1e-3
    assert close_to(0.0, scale * noise[:, 0])
    assert torch.equal(GaussianNoise(0.0)(x, generator).value, x)


def test_scaling(generator: torch.Generator) -> None:
    x = torch.ones(20000, 2, dtype=torch.float64)
    view, (factor,) = Scaling((0.5, 2.0))(x, generator)
    assert torch.equal(view, factor[:, None].expand(-1, 2))
    assert stats.kstest(factor.log(), stats.uniform(-math.log(2), 2 * math.log(2)).cdf).pvalue > 1e-3


def test_masked_entries(generator: torch.Generator) -> None:
    x = torch.rand(5000, 8, dtype=torch.float64)
    view, (hidden,) = MaskEntries(0.3, value=-1.0)(x, generator)
    assert torch.equal(view == -1, hidden) and torch.equal(view[~hidden], x[~hidden])
    assert close_to(0.3, hidden.double())


def test_masked_patches_are_as_many_as_said_and_all_alike(generator: torch.Generator) -> None:
    x = 1 + torch.rand(4000, 2, 4, 6, dtype=torch.float64)
    view, (hidden,) = MaskPatches(2, 0.4)(x, generator)
    assert (hidden.sum(1) == round(0.4 * 6)).all()
    for patch in range(6):
        row, column = 2 * (patch // 3), 2 * (patch % 3)
        cells = view[:, :, row : row + 2, column : column + 2].flatten(1)
        original = x[:, :, row : row + 2, column : column + 2].flatten(1)
        assert torch.equal(cells, torch.where(hidden[:, patch, None], 0.0, original))
        assert close_to(1 / 3, hidden[:, patch].double())  # 2 of 6
    with pytest.raises(ValueError, match="don't divide images of 4 x 6"):
        MaskPatches(4, 0.5)(x)

"""Points off the data against the distributions that they promise; AUROC against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ebm.measure.off_data import auroc, compare, in_box, noisy, shuffled

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_equals_that_of_scikit_learn(ties: bool) -> None:
    on, off = draw(70), draw(45, seed=1) + 0.5
    if ties:
        on, off = (2 * on).round(), (2 * off).round()
    labels = np.repeat([0, 1], [70, 45])
    expected = roc_auc_score(labels, torch.cat([on, off]).numpy())
    assert auroc(on, off) == pytest.approx(expected, abs=1e-12)
    assert auroc(off, on) == pytest.approx(1 - expected, abs=1e-12)
    assert auroc(3 * on + 7, 3 * off + 7) == auroc(on, off) and auroc(on, on) == 0.5
    assert compare(on, off).auroc == auroc(on, off)


def test_the_standardized_gap_is_cohens_d() -> None:
    on, off = draw(70), 2 * draw(45, seed=1) + 0.5
    found, a, b = compare(on, off), on.numpy(), off.numpy()
    assert (found.mean, found.std) == pytest.approx((b.mean(), b.std(ddof=1)))
    assert found.gap == pytest.approx(b.mean() - a.mean())
    unit = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert found.standardized_gap == pytest.approx((b.mean() - a.mean()) / unit)
    one = torch.ones(3, dtype=DOUBLE)
    assert [compare(one, c * one).standardized_gap for c in (0, 1, 2)] == [-math.inf, 0.0, math.inf]


def test_points_off_the_data() -> None:
    y = draw(500, 2) @ torch.tensor([[1.0, 3.0], [0.0, 0.5]], dtype=DOUBLE)  # two coordinates, much alike
    points, other, many = in_box(y, 20_000, seeded()), shuffled(y, 20_000, seeded()), y.repeat(40, 1)
    spoilt = noisy(many, seeded())
    low, high = y.amin(0).numpy(), y.amax(0).numpy()
    for i in range(2):
        uniform = scipy.stats.uniform(low[i], high[i] - low[i])
        assert scipy.stats.kstest(points[:, i].numpy(), uniform.cdf).pvalue > 1e-4
        values, counts = other[:, i].unique(return_counts=True)
        assert torch.equal(values, y[:, i].unique())  # each from its own column, all as often
        assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-4
        noise = (spoilt - many)[:, i] / many[:, i].std()
        assert scipy.stats.kstest(noise.numpy(), "norm").pvalue > 1e-4
    assert float(torch.corrcoef(y.T)[0, 1]) > 0.9
    for drawn in (points, other):
        assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 4 / math.sqrt(20_000)
    assert shuffled(y.view(500, 2, 1), 7).shape == in_box(y.view(500, 2, 1), 7).shape == (7, 2, 1)

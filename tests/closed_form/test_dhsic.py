"""HSIC and dHSIC: their sums written out, Gaussians in closed form, and a test that permutes."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import torch

from ebm.measure import dhsic, hsic, pairwise_hsic

module = sys.modules[dhsic.__module__]


def rows(n, *dims, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=g, dtype=torch.float64) for d in dims]


def kernels(parts, widths):
    """K^d as nested loops over the rows."""
    return [
        np.array([[math.exp(-sum((a - b) ** 2) / (2 * s**2)) for b in x.numpy()] for a in x.numpy()])
        for x, s in zip(parts, widths, strict=True)
    ]


def by_tuples(parts, widths):
    """Means over all (i, j), all (i_1, j_1, ..., i_d, j_d) and all (i, j_1, ..., j_d)."""
    k, n = kernels(parts, widths), len(parts[0])
    d, each = len(k), range(n)
    joint = np.mean([math.prod(m[i, j] for m in k) for i in each for j in each])
    apart = np.mean(
        [
            math.prod(m[t[2 * c], t[2 * c + 1]] for c, m in enumerate(k))
            for t in itertools.product(each, repeat=2 * d)
        ]
    )
    mixed = np.mean(
        [math.prod(m[t[0], t[c + 1]] for c, m in enumerate(k)) for t in itertools.product(each, repeat=d + 1)]
    )
    return joint + apart - 2 * mixed


@pytest.mark.parametrize("dims", [(1, 1), (2, 3), (1, 2, 1)])
def test_it_is_the_sum_over_all_tuples_of_rows(dims):
    widths = [0.7, 1.3, 0.9][: len(dims)]
    parts = rows(5, *dims)
    value = dhsic(*parts, bandwidth=widths)
    assert value.dtype == torch.float64 and value.shape == ()
    assert float(value) == pytest.approx(by_tuples(parts, widths), abs=1e-14)


def test_of_two_variables_it_is_the_trace():
    x, y = rows(40, 2, 1)
    y = y + x[:, :1] ** 2
    k, m = kernels([x, y], [0.8, 1.1])
    h = np.eye(40) - 1 / 40
    trace = np.trace(k @ h @ m @ h) / 40**2
    assert trace > 1e-3
    assert float(hsic(x, y, bandwidth=[0.8, 1.1])) == pytest.approx(trace, rel=1e-12)
    assert torch.equal(hsic(x, y, bandwidth=[0.8, 1.1]), dhsic(x, y, bandwidth=[0.8, 1.1]))


def test_pairs_of_columns_are_those_of_hsic():
    (z,) = rows(60, 4)
    z = z @ rows(4, 4, seed=1)[0]
    pairs = [float(hsic(z[:, i], z[:, j])) for i, j in itertools.combinations(range(4), 2)]
    assert float(pairwise_hsic(z)) == pytest.approx(np.mean(pairs), rel=1e-12)
    own = [0.5, 1.0, 2.0, 3.0]
    pairs = [
        float(hsic(z[:, i], z[:, j], bandwidth=[own[i], own[j]]))
        for i, j in itertools.combinations(range(4), 2)
    ]
    assert float(pairwise_hsic(z, bandwidth=own)) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch):
    x, y, z = rows(53, 1, 2, 1)
    whole = [dhsic(x, y, z), pairwise_hsic(torch.cat([x, y, z], 1))]
    monkeypatch.setattr(module, "ENTRIES", 400)  # blocks of 7 rows, and of 1
    for a, b in zip(whole, [dhsic(x, y, z), pairwise_hsic(torch.cat([x, y, z], 1))], strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-12)


def test_the_median_heuristic_halves_the_median_of_squares():
    x, y = rows(31, 2, 1)
    widths = [
        math.sqrt(np.median([((a - b) ** 2).sum() for a, b in itertools.combinations(v.numpy(), 2)]) / 2)
        for v in (x, y)
    ]  # 465 pairs, an odd number: one of them is the median
    assert float(hsic(x, y)) == pytest.approx(float(hsic(x, y, bandwidth=widths)), rel=1e-12)
    assert float(hsic(1e9 + 1e3 * x, y)) == pytest.approx(float(hsic(x, y)), rel=1e-6)  # units don't matter


def gaussian(correlation, width):
    """dHSIC of N(0, C), unit variances: E of each of the three terms is a Gaussian integral."""
    c, s, d = np.asarray(correlation), width**2, len(correlation)
    eye = np.eye(d)
    joint = np.linalg.det(eye + 2 * c / s) ** -0.5  # x - x' is N(0, 2C)
    apart = (1 + 2 / s) ** (-d / 2)
    # over x' alone, E exp(-(x - x')²/2s) = √(s/(s+1)) exp(-x²/2(s+1))
    mixed = (s / (s + 1)) ** (d / 2) * np.linalg.det(eye + c / (s + 1)) ** -0.5
    return joint + apart - 2 * mixed


@pytest.mark.parametrize(
    "correlation",
    [[[1, 0.6], [0.6, 1]], [[1, 0], [0, 1]], [[1, 0.5, 0], [0.5, 1, -0.4], [0, -0.4, 1]]],
    ids=["pair", "independent", "three"],
)
def test_gaussians_have_the_value_of_the_population(correlation):
    """A sample of n is off by b/n + O(1/n²); twice the value at 2n minus that at n is free of b/n."""
    d, width, n, repeats = len(correlation), 0.9, 200, 150
    root = torch.linalg.cholesky(torch.tensor(correlation, dtype=torch.float64))
    g = torch.Generator().manual_seed(0)
    found = []
    for _ in range(repeats):
        x = torch.randn(2 * n, d, generator=g, dtype=torch.float64) @ root.T
        halves = [dhsic(*half.T, bandwidth=width) for half in x.split(n)]
        found.append(float(2 * dhsic(*x.T, bandwidth=width) - sum(halves) / 2))
    error = np.std(found, ddof=1) / math.sqrt(repeats)
    exact = gaussian(correlation, width)
    assert exact == pytest.approx(0, abs=1e-15) or exact > 20 * error  # the test can tell the value from 0
    assert abs(np.mean(found) - exact) < 4 * error + 1 / n**2


def permuted(x, y, g, times=199):
    """The p-value of independence: how often pairs drawn anew at random are as dependent."""
    value = float(hsic(x, y))
    more = sum(float(hsic(x, y[torch.randperm(len(y), generator=g)])) >= value for _ in range(times))
    return (1 + more) / (1 + times)


def test_a_permutation_test_finds_dependence_without_correlation_and_only_that():
    g = torch.Generator().manual_seed(0)
    x, y = rows(80, 1, 1, seed=3)
    assert permuted(x, x**2 + 0.5 * y, g) == 1 / 200
    p = [permuted(*rows(40, 1, 1, seed=10 + seed), g, times=39) for seed in range(30)]
    # under independence p is uniform on 1/40, ..., 1: mean 41/80, standard deviation 0.2886
    assert abs(np.mean(p) - 41 / 80) < 4 * 0.2886 / math.sqrt(30)


def test_pairs_can_be_independent_where_three_variables_are_not():
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=2)))
    z = torch.cat([signs, signs.prod(1, keepdim=True)], 1)
    assert abs(float(pairwise_hsic(z, bandwidth=1.0))) < 1e-15
    q = math.exp(-2)  # K between 1 and -1; of three, one or all differ
    exact = (1 + 3 * q**2) / 4 - ((1 + q) / 2) ** 3
    assert float(dhsic(*z.T, bandwidth=1.0)) == pytest.approx(exact, rel=1e-12)


def test_it_is_differentiable():
    x, y, z = (v.requires_grad_() for v in rows(7, 1, 2, 1))
    assert torch.autograd.gradcheck(lambda *parts: dhsic(*parts, bandwidth=1.0), (x, y, z))
    assert torch.autograd.gradcheck(lambda z: pairwise_hsic(z, bandwidth=1.0), (y,))
    (slope,) = torch.autograd.grad(pairwise_hsic(y), y)
    assert bool(slope.isfinite().all()) and bool(slope.abs().max() > 0)


def test_float32_is_widened():
    x, y = rows(50, 1, 1)
    assert float(hsic(x.float() + 1000, y.float())) == pytest.approx(float(hsic(x, y)), rel=1e-3)


ONE = torch.arange(4.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dhsic(ONE), ValueError, "two variables or more; got 1"),
        (lambda: hsic(ONE, ONE[:3]), ValueError, r"one example; got \[4, 3\] rows"),
        (lambda: hsic(ONE, ONE.long()), TypeError, "variable 1 .* floating-point .* got torch.int64"),
        (lambda: hsic(ONE[:1], ONE[:1]), ValueError, r"n >= 2; got \(1,\)"),
        (lambda: hsic(ONE, ONE.view(1, 2, 2)), ValueError, r"variable 1 has shape .* got \(1, 2, 2\)"),
        (lambda: hsic(ONE, ONE / 0), ValueError, "variable 1 holds NaN or infinity"),
        (lambda: hsic(ONE, ONE, bandwidth=0.0), ValueError, "positive and finite; got 0.0"),
        (lambda: hsic(ONE, ONE, bandwidth=[1.0]), ValueError, r"one for each of 2 variables; got \[1.0\]"),
        (
            lambda: hsic(ONE, torch.ones(4)),
            ValueError,
            "rows of variable 1 or more are equal",
        ),
        (lambda: pairwise_hsic(ONE), ValueError, r"columns of codes \(n, D\), D >= 2; got \(4,\)"),
        (lambda: pairwise_hsic(ONE.view(4, 1)), ValueError, r"got \(4, 1\)"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()

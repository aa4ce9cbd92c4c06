"""Mixtures of regressions against least squares, brute force and what was planted; EM never rises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from ebm.regularized import MixtureRegression


def planted(generator: Generator, n: int = 3000) -> tuple[Tensor, Tensor, Tensor, MixtureRegression]:
    weight = torch.tensor(
        [[[2.0, 0.0], [0.0, 1.0]], [[-1.0, 1.0], [1.0, 0.0]], [[0.0, -2.0], [1.0, 1.0]]]
    ).double()
    bias = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, -3.0]]).double()
    std, share = torch.tensor([0.1, 0.2, 0.3]).double(), torch.tensor([0.5, 0.3, 0.2]).double()
    model = MixtureRegression(weight, bias, std.log(), share.log())
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    z = torch.multinomial(share, n, replacement=True, generator=generator)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64) * std[z, None]
    return x, model.decode(x)[torch.arange(n), z] + noise, z, model


def test_the_energy_is_minus_the_log_of_a_density(generator: Generator) -> None:
    x, y, _, model = planted(generator, 50)
    for z in range(3):
        normal = torch.distributions.Normal(model.decode(x)[:, z], float(model.log_std[z].exp()))
        log_p = normal.log_prob(y).sum(1) + model.log_share[z]
        found = model(x=x, y=y, z=torch.full((50,), z))
        torch.testing.assert_close(found, -log_p)
    every = torch.stack([model(x=x, y=y, z=torch.full((50,), z)) for z in range(3)], 1)
    torch.testing.assert_close(model.free_energy(x=x, y=y), -(-every).logsumexp(1))
    found = model.infer(x, y)
    assert torch.equal(found.value["z"], every.argmin(1))  # type: ignore[index]
    torch.testing.assert_close(found.energy, every.amin(1))


def test_one_answer_is_least_squares(generator: Generator) -> None:
    x = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    y = (
        x @ torch.randn(3, 2, generator=generator).double()
        + 1
        + torch.randn(200, 2, generator=generator).double()
    )
    model = MixtureRegression.from_data(x, y, 1, generator=generator)
    model.fit(x, y, progress=False)
    full = torch.cat([x, torch.ones(200, 1, dtype=torch.float64)], 1)
    expected = torch.linalg.lstsq(full, y).solution
    torch.testing.assert_close(torch.cat([model.weight[0], model.bias]), expected, rtol=0, atol=1e-6)
    off = (y - full @ expected).square().mean().sqrt()
    assert float(model.log_std.exp()) == pytest.approx(float(off), rel=1e-6)


def test_em_never_rises_and_finds_what_was_planted(generator: Generator) -> None:
    x, y, z, truth = planted(generator)
    best = None
    for seed in range(5):
        model = MixtureRegression.from_data(x, y, 3, generator=Generator().manual_seed(seed))
        energies = torch.as_tensor(model.fit(x, y, progress=False).column("energy"))
        assert bool((energies.diff() <= 1e-7).all())
        last = float(model.free_energy(x=x, y=y).mean())
        if best is None or last < best[0]:
            best = last, model
    assert best is not None
    last, model = best
    assert last <= float(truth.free_energy(x=x, y=y).mean())  # it was fitted to these rows
    order = torch.cdist(model.bias, truth.bias).argmin(0)
    # 4 standard errors of the coefficient with the most noise and the fewest rows
    error = 4 * 0.3 / math.sqrt(0.2 * len(x))
    torch.testing.assert_close(model.weight[order], truth.weight, rtol=0, atol=error)
    torch.testing.assert_close(model.bias[order], truth.bias, rtol=0, atol=error)
    share = model.log_share.softmax(0)[order]
    torch.testing.assert_close(share, truth.log_share.exp(), rtol=0, atol=4 * 0.5 / math.sqrt(len(x)))
    right = model.infer(x, y).value["z"] == order[z]  # type: ignore[index]
    assert float(right.double().mean()) > 0.95


def test_what_does_not_fit_is_refused(generator: Generator) -> None:
    x, y, _, model = planted(generator, 20)
    with pytest.raises(ValueError, match="9 rows"):
        MixtureRegression.from_data(x[:8], y[:8], 3)
    y[3] = torch.nan
    with pytest.raises(ValueError, match=r"1 of 20 rows, \[3\]"):
        model.fit(x, y)
    with pytest.raises(ValueError, match="x is"):
        model(x=x[:, :1], y=y, z=torch.zeros(20, dtype=torch.int64))
    with pytest.raises(ValueError, match="weight is"):
        MixtureRegression(model.weight, model.bias[:2], model.log_std, model.log_share)

"""Denoising against Wiener's filter and Tweedie's formula, where the best reconstruction is known."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy
from ebm.contrastive import AutoEncoder, Denoising, Gaussian, Masking
from ebm.loss import OFF_DATA, ON_DATA
from ebm.nets import mlp
from ebm.targets import Mixture
from ebm.train import fit

DOUBLE = torch.float64
COVARIANCE = [[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]]
S = torch.tensor(COVARIANCE, dtype=DOUBLE)  # of the data


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def matrix(w: Tensor) -> nn.Linear:
    layer = nn.Linear(*w.shape, bias=False, dtype=DOUBLE)
    layer.weight = nn.Parameter(w.clone())
    return layer


def test_the_best_linear_denoiser_is_wieners_filter() -> None:
    """L is quadratic in W: one Newton step finds what the sample's loss likes best. The regression of y on ỹ
    has residuals of covariance R = S - W*S, so entry (i, j) has the variance R_ii (S + s²I)⁻¹_jj / N."""
    rows, s = 40_000, 0.7
    y = draw(rows, 3) @ torch.linalg.cholesky(S).T

    def gradient(w: Tensor) -> Tensor:
        model = AutoEncoder(matrix(w))
        Denoising(Gaussian(s))(model, seeded(1), y=y).loss.backward()
        (parameter,) = model.parameters()
        return parameter.grad.flatten()

    zero, units = torch.zeros(3, 3, dtype=DOUBLE), torch.eye(9, dtype=DOUBLE).view(9, 3, 3)
    origin = gradient(zero)
    hessian = torch.stack([gradient(unit) - origin for unit in units], 1)
    found = torch.linalg.solve(hessian, -origin).view(3, 3)
    spread = torch.linalg.inv(S + s**2 * torch.eye(3, dtype=DOUBLE))
    best = S @ spread
    error = ((S - best @ S).diagonal()[:, None] * spread.diagonal() / rows).sqrt()
    assert bool(((found - best).abs() < 4 * error).all())
    assert float(error.max()) < 0.01  # so the bound says something
    # the least loss is tr R, and the variance of a row's loss 2 tr(R²)
    least = Denoising(Gaussian(s))(AutoEncoder(matrix(best)), seeded(1), y=y).loss.detach()
    residual = S - best @ S
    spread_of_loss = math.sqrt(2 * float((residual @ residual).trace()) / rows)
    assert abs(float(least - residual.trace())) < 4 * spread_of_loss


def test_the_energy_of_the_best_denoiser_reads_off_the_score() -> None:
    """E = |y - W*y|² = s⁴ |∇ log p_s|², and to the order s² that of p itself."""
    y = draw(20, 3, seed=2)
    true = torch.linalg.solve(S, y.T).square().sum(0)
    errors = []
    for s in (0.2, 0.1, 0.05):
        noisy = S + s**2 * torch.eye(3, dtype=DOUBLE)
        e = AutoEncoder(matrix(S @ noisy.inverse()))(y=y).detach() / s**4
        torch.testing.assert_close(e, torch.linalg.solve(noisy, y.T).square().sum(0), rtol=1e-9, atol=1e-9)
        errors.append(float(((e - true) / true).abs().max()))
    assert errors[2] < 0.3 * errors[1] < 0.3 * 0.35 * errors[0]  # about a quarter each


class Table(nn.Module):
    """A network that knows no shape: a free number for each of equal bins of [-3, 3]."""

    def __init__(self, bins: int):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(bins, dtype=DOUBLE))

    def place(self, y: Tensor) -> Tensor:
        return ((y + 3) / 6 * len(self.value)).long().clamp(0, len(self.value) - 1)

    def forward(self, y: Tensor) -> Tensor:
        return self.value[self.place(y)]


def test_the_best_denoiser_points_along_the_score() -> None:
    """Data from two Gaussians: ⟨G(ỹ) - ỹ⟩ over a bin is s² ⟨∇ log p_s⟩ over it (Tweedie)."""
    s, bins, rows = 0.4, 24, 400_000
    weights, means = torch.tensor([0.3, 0.7], dtype=DOUBLE), torch.tensor([[-1.2], [1.0]], dtype=DOUBLE)
    clean, smooth = (Mixture(weights, means, torch.full((1, 1), v, dtype=DOUBLE)) for v in (0.3, 0.3 + s**2))
    y = clean.exact_samples(rows, seeded())
    table = Table(bins)
    Denoising(Gaussian(s))(AutoEncoder(table), seeded(1), y=y).loss.backward()  # at 0, -2/N Σ y over the bin
    spoilt = Gaussian(s)(y, seeded(1))
    for k in range(4, bins - 4):
        inside = (table.place(spoilt) == k).flatten()
        count = int(inside.sum())
        best = -table.value.grad[k] * rows / (2 * count)  # the loss is Σ count/N (value² - 2 value best)
        field = float(best - spoilt[inside].mean())
        places = torch.linspace(-3 + 6 * k / bins, -3 + 6 * (k + 1) / bins, 201, dtype=DOUBLE)[:, None]
        density = (-smooth(y=places)).exp()
        _, slope = smooth.value_and_grad("y", y=places)
        score = float((-slope.flatten() * density).sum() / density.sum())
        error = float((y - spoilt)[inside].std()) / math.sqrt(count)
        assert abs(field - s**2 * score) < 4 * error, (k, field, score, error)
        assert error < 0.01


def test_the_terms_are_energies_on_the_data_and_off_it() -> None:
    y, g = draw(6, 4), mlp(4, 5, 4, generator=seeded()).double()
    output = Denoising(Masking(0.5))(AutoEncoder(g), seeded(3), y=y)
    spoilt = Masking(0.5)(y, seeded(3))
    expected = {"loss": (y - g(spoilt)), ON_DATA: y - g(y), OFF_DATA: spoilt - g(spoilt)}
    found = {"loss": output.loss, **output.terms}
    for name, residual in expected.items():
        torch.testing.assert_close(found[name], residual.square().sum(1).mean())
    torch.testing.assert_close(output.gap, found[OFF_DATA] - found[ON_DATA])
    assert output.loss.requires_grad and not any(term.requires_grad for term in output.terms.values())


def test_the_gap_grows_from_an_untrained_start() -> None:
    """From the identity, which has none, to Wiener's filter W*, which has s² |1 - W*|² (Frobenius)."""
    s, one = 0.7, torch.eye(3, dtype=DOUBLE)
    y = draw(40_000, 3) @ torch.linalg.cholesky(S).T
    model, loss = AutoEncoder(matrix(one)), Denoising(Gaussian(s))
    assert float(loss(model, seeded(5), y=y).gap) == 0
    sgd = partial(torch.optim.SGD, lr=0.1)
    history = fit(
        model, loss, y, optimizer=sgd, steps=150, batch_size=1000, generator=seeded(2), progress=False
    )
    w = next(model.parameters()).detach()
    noise = Gaussian(s)(torch.zeros_like(y), seeded(5))  # what the loss adds with this generator
    spread = (torch.linalg.vecdot((y + noise) @ (one - w), (y + noise) @ (one - w).T)).std() / 200
    gap, exact = float(loss(model, seeded(5), y=y).gap), s**2 * float((one - w).square().sum())
    assert abs(gap - exact) < 4 * float(spread)
    best = s**2 * float((one - S @ torch.linalg.inv(S + s**2 * one)).square().sum())
    assert 0.9 < gap / best < 1.1
    column = history.column("energy gap")
    torch.testing.assert_close(column, history.column(OFF_DATA) - history.column(ON_DATA))
    assert column[0] == 0 and float(column[:3].mean()) < 0.5 * best < 0.9 * float(column[-30:].mean())


def test_bad_models_and_data_are_told() -> None:
    class Pair(Energy):
        def forward(self, x: Tensor, y: Tensor, seen: Tensor | None = None) -> Tensor:
            return (x - (y if seen is None else seen)).square().sum(1)

    y = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"the shape of y, \(3, 2\); it returned \(3, 1\)"):
        AutoEncoder(nn.Linear(2, 1))(y=y)
    with pytest.raises(TypeError, match=r"with the option `seen`.*bowl has none"):
        Denoising(Masking(0.5))(energy(lambda y: y.sum(1)).named("bowl"), y=y)
    with pytest.raises(TypeError, match="Denoising corrupts 'z'; got y"):
        Denoising(Masking(0.5), variable="z")(AutoEncoder(nn.Identity()), y=y)
    output = Denoising(Masking(1.0), variable="x")(Pair(), x=3 * y, y=y)  # x, all hidden, takes y's place
    assert float(output.loss) == 18
    assert float(output.terms[ON_DATA]) == 8 and float(output.terms[OFF_DATA]) == 2

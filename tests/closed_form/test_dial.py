"""The dial of a linear β-VAE, where every number of the report is known: latents die one by one, and why.

For data with covariance diag(λ) the best decoder at noise n = βσ² has columns of length √(λ_k - n) along the
axes (Tipping & Bishop 1999; Lucas et al. 2019, sect. 4), none where λ_k <= n; in units of errors of size σ

    bits = ½ Σ log₂(1 + (λ_k - n)₊ / σ²),    gap = Σ (λ_k - n)₊ / σ²,    Var z_k = (1 - n / λ_k)₊
"""

from __future__ import annotations

import copy
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.measure.collapse import BOX, CORRUPTED
from ebm.measure.model_report import ALIVE, EVERYTHING, IGNORED, ModelReport, model_report
from ebm.regularized import ELBO, VAE, GaussianLikelihood
from ebm.regularized.exact import exactly
from ebm.solution import Solution, Stop

SIGMA, VARIANCES = 0.2, (4.0, 1.0, 0.25)
STRENGTHS = (1e-3, 1e-2, 1.0, 5.0, 10.0, 40.0, 80.0, 120.0)  # λ / σ² = 100, 25 and 6.25: there they die
ROWS = 400


@cache
def data() -> Tensor:
    """Rows whose mean is 0 and whose covariance, over N, is diag(λ), to rounding."""
    y = torch.randn(ROWS, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    y = y - y.mean(0)
    white = y @ torch.linalg.inv(torch.linalg.cholesky(y.T @ y / ROWS)).mT
    return white * torch.tensor(VARIANCES).double().sqrt()


@cache
def dial() -> list[tuple[VAE, ModelReport]]:
    """The best linear model at each strength, and its report in the unit σ."""
    found = []
    for beta in STRENGTHS:
        noise, gain = beta * SIGMA**2, torch.from_numpy(kept(beta))
        model = VAE(nn.Linear(3, 6), nn.Linear(3, 3), 3, GaussianLikelihood(noise**0.5), draws=None).double()
        with torch.no_grad():
            model.decoder.weight.copy_(gain.sqrt().diag())
            model.decoder.bias.zero_()
            model.encoder.weight.copy_(torch.cat([(gain.sqrt() / (gain + noise)).diag(), torch.zeros(3, 3)]))
            log_std = 0.5 * (noise / (gain + noise)).log()
            model.encoder.bias.copy_(torch.cat([torch.zeros(3), log_std]))
        g = Generator().manual_seed(1)
        found.append((model, model_report(model, data(), beta=beta, points=4000, generator=g)))
    return found


def kept(beta: float) -> np.ndarray:
    """(λ_k - n)₊, and how many there are."""
    return np.clip(np.array(VARIANCES) - beta * SIGMA**2, 0, None)


@pytest.mark.parametrize("k", range(len(STRENGTHS)))
def test_the_model_is_the_best(k: int) -> None:
    """The bound of β-VAE has no slope there, and is higher beside it, also where a dead latent would wake."""
    (model, _), beta = dial()[k], STRENGTHS[k]
    model = copy.deepcopy(model).requires_grad_(True)
    loss = ELBO()(model, y=data()).loss
    loss.backward()
    scale = 1 / (beta * SIGMA**2)  # of the errors' part; the noise was kept in float32
    assert all(float(p.grad.abs().max()) < 1e-6 * (1 + scale) for p in model.parameters())
    for seed in range(10):
        other, g = copy.deepcopy(model), Generator().manual_seed(seed)
        with torch.no_grad():
            for p in other.parameters():
                p.add_(0.05 * torch.randn(p.shape, generator=g, dtype=p.dtype))
            assert float(ELBO()(other, y=data()).loss) > float(loss) + 1e-4


@pytest.mark.parametrize("k", range(len(STRENGTHS)))
def test_the_report_measures_what_is_known(k: int) -> None:
    beta, (_, report) = STRENGTHS[k], dial()[k]
    left = kept(beta)
    assert report.bits == pytest.approx(0.5 * np.log2(1 + left / SIGMA**2).sum(), abs=0.02)
    # the latents of other rows: half of ⟨(z' - z)²⟩ is the variance, up to the covariance of two orders of
    # the same rows, of standard error 1/√N of it
    assert report.gap == pytest.approx(left.sum() / SIGMA**2, rel=4 / math.sqrt(ROWS), abs=1e-2)
    assert report.codes is not None
    variance = left / np.array(VARIANCES)
    if left.any():
        directions = variance.sum() ** 2 / np.square(variance).sum()
        assert report.codes.directions == pytest.approx(directions, abs=0.02)


def test_the_verdicts_come_in_order_and_where_they_should() -> None:
    verdicts = [report.verdict for _, report in dial()]
    # two of three latents left count as 2 at most, of which dimensional collapse would be fewer than 1.2; one
    # alone is 1; after 100, none
    assert verdicts[:2] == [EVERYTHING] * 2
    assert verdicts[2:5] == [ALIVE] * 3
    assert verdicts[5:7] == ["dimensional collapse"] * 2
    assert verdicts[7] in (IGNORED, "constant code")
    bits = [report.bits for _, report in dial()]
    assert all(weak > strong for weak, strong in pairwise(bits))
    assert bits[0] > 7 and bits[-1] < 0.01


def test_the_landscape_is_as_flat_as_the_covariance_says() -> None:
    """βF = ½β yᵀC⁻¹y + constant, C = diag(max(λ, n)): its standard deviation over the box, and its gap."""
    for beta, (_, report) in zip(STRENGTHS, dial(), strict=True):
        scale = 0.5 * beta / np.maximum(VARIANCES, beta * SIGMA**2)
        low, high = (getattr(data(), name)(0).numpy() for name in ("amin", "amax"))
        square = (high**3 - low**3) / (3 * (high - low))
        fourth = (high**5 - low**5) / (5 * (high - low))
        spread = math.sqrt(float((scale**2 * (fourth - square**2)).sum()))
        assert report.free_energy.spread == pytest.approx(spread, rel=0.06)
        gap = float((scale * (square - np.array(VARIANCES))).sum())
        error = 4 * spread / math.sqrt(4000)
        assert beta * report.free_energy.off_data[BOX].gap == pytest.approx(gap, abs=error + 1e-3)
        flat = max(spread, gap) < 1 and report.free_energy.slope < 1
        assert report.flat_in_the_box == flat == (report.verdict == EVERYTHING)


class Walled(Energy):
    """E(y, z) = 50 (|y - z|² + |y outside of the box|²)."""

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return 50 * ((y - z).square().sum(1) + (y.abs() - 1).clamp_min(0).square().sum(1))

    def infer(self, y: Tensor) -> Solution:
        return exactly(y.clone(), self(y=y, z=y), Stop.GRADIENT)

    @property
    def free_energy(self) -> Energy:
        return self.compose(z=(nn.Identity(), "y"))


def test_walls_around_the_box_are_no_life() -> None:
    """z explains every point of the data's box; that it tells corrupted data, outside, says nothing."""
    g = Generator().manual_seed(3)
    first = torch.rand(500, generator=g, dtype=torch.float64) * 2 - 1
    parabola = torch.stack([first, 2 * first.square() - 1], 1)
    report = model_report(Walled(), parabola, generator=g)
    assert report.free_energy.off_data[CORRUPTED].auroc > 0.6
    assert report.free_energy.off_data[CORRUPTED].gap > 1 and report.free_energy.spread == 0
    assert report.flat_in_the_box and report.verdict == EVERYTHING

"""The masked auto-encoder, against the linear one that is best; and shifts, which move what they should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ebm.contrastive import AutoEncoder, Denoising, Masking, Shift

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(w: Tensor) -> AutoEncoder:
    layer = nn.Linear(*w.shape, bias=False, dtype=DOUBLE)
    layer.weight = nn.Parameter(w.clone())
    return AutoEncoder(layer)


def test_the_best_linear_masked_auto_encoder_completes_from_what_is_seen() -> None:
    """E(y) = |y - Wy|², L = ⟨|y - W(m ∘ y)|²⟩ with entries seen with probability q = 1 - share: W* = q S C⁻¹,
    where C = ⟨(m ∘ y)(m ∘ y)ᵀ⟩ has q S_ii on the diagonal and q² S_ij off it. Its gradient vanishes there."""
    s = torch.tensor([[1.0, 0.8, 0.2], [0.8, 1.0, 0.5], [0.2, 0.5, 2.0]], dtype=DOUBLE)
    rows, share = 40_000, 0.4
    y = torch.randn(rows, 3, generator=seeded(), dtype=DOUBLE) @ torch.linalg.cholesky(s).T
    q = 1 - share
    seen = q**2 * s + torch.diag((q - q**2) * s.diagonal())
    best = q * s @ torch.linalg.inv(seen)

    E = linear(best)
    output = Denoising(Masking(share))(E, seeded(1), y=y)
    output.loss.backward()
    (w,) = E.parameters()
    spoilt = Masking(share)(y, seeded(1))
    each = -2 * torch.einsum("bi,bj->bij", y - spoilt @ best.T, spoilt)  # a row's gradient
    assert bool((w.grad.abs() < 4 * each.std(0) / rows**0.5).all())
    residual = s - q * best @ s  # the mean of |y - W*ỹ|²: tr(S - W* C W*ᵀ)
    cost = (y - spoilt @ best.T).square().sum(1)
    assert abs(float(output.loss.detach()) - float(residual.trace())) < 4 * float(cost.std()) / rows**0.5
    assert float(best[0, 1]) > 0.3  # a hidden entry is completed from the other
    worse = Denoising(Masking(share))(linear(torch.eye(3, dtype=DOUBLE)), seeded(1), y=y).loss
    assert float(worse.detach()) > 1.1 * float(output.loss.detach())


def test_what_masking_taught_is_not_the_identity_and_the_energy_has_a_gap() -> None:
    """Masked points, off the data, have more energy than data; under the identity both have none."""
    s = torch.tensor([[1.0, 0.95], [0.95, 1.0]], dtype=DOUBLE)
    y = torch.randn(4000, 2, generator=seeded(2), dtype=DOUBLE) @ torch.linalg.cholesky(s).T
    seen = 0.25 * s + torch.diag(0.25 * s.diagonal())
    best = 0.5 * s @ torch.linalg.inv(seen)
    loss, off, rest = Denoising(Masking(0.5)), Masking(0.5)(y, seeded(3)), torch.eye(2, dtype=DOUBLE) - best
    rows = (off @ rest.T).square().sum(1) - (y @ rest.T).square().sum(1)
    exact = float((rest @ (seen - s) @ rest.T).trace())
    gap = float(loss(linear(best), seeded(3), y=y).gap)
    assert exact > 0.04 and abs(gap - exact) < 4 * float(rows.std()) / 4000**0.5
    assert float(loss(linear(torch.eye(2, dtype=DOUBLE)), seeded(3), y=y).gap) == 0.0


def test_a_shift_moves_each_image_as_a_whole_and_uniformly() -> None:
    batch, k = 6000, 2
    y = torch.arange(1.0, 31.0, dtype=DOUBLE).view(1, 1, 5, 6).expand(batch, 1, 5, 6)
    moved = Shift(k, value=-1.0)(y, seeded(4))
    padded = torch.nn.functional.pad(y[0], (k, k, k, k), value=-1.0)
    counts = torch.zeros(2 * k + 1, 2 * k + 1)
    matched = torch.zeros(batch, dtype=torch.bool)
    for i in range(2 * k + 1):
        for j in range(2 * k + 1):
            same = (moved == padded[:, i : i + 5, j : j + 6]).flatten(1).all(1)
            counts[i, j], matched = int(same.sum()), matched | same
    assert bool(matched.all()) and int(counts.sum()) == batch
    p = 1 / (2 * k + 1) ** 2
    assert bool(((counts - batch * p).abs() < 4 * (batch * p * (1 - p)) ** 0.5).all())
    assert torch.equal(Shift(0)(y, seeded()), y)
    chained = Shift(1).then(Masking(1.0))(y[:3], seeded())
    assert not chained.any() and chained.shape == (3, 1, 5, 6)


def test_shifts_refuse_rows_that_are_no_images() -> None:
    with pytest.raises(ValueError, match=r"images, \(B, ..., H, W\)"):
        Shift(1)(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="largest >= 0"):
        Shift(-1)

"""W-MSE and MCR² against their equations written out, and what whitening and coding rates are known to do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import MCR2, WMSE, CosineDistance, SquaredDistance, coding_rate, rate_reduction
from ebm.joint.w_mse import whiten

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = seeded(seed)
    z, mix = (torch.randn(*s, generator=generator, dtype=DOUBLE) for s in (shape, (shape[-1],) * 2))
    return z @ (mix / shape[-1] ** 0.5 + torch.eye(shape[-1])) + 2


# --- W-MSE --------------------------------------------------------------------------------------------------


def whitened_by_hand(z: Tensor, eps: float) -> Tensor:
    factor = torch.linalg.cholesky((1 - eps) * torch.cov(z.T) + eps * torch.eye(z.shape[1], dtype=DOUBLE))
    return (z - z.mean(0)) @ torch.linalg.inv(factor).T


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(("views", "repeats", "eps"), [(2, 1, 0.0), (3, 2, 0.1), (4, 1, 0.3)])
def test_w_mse_is_the_authors(views: int, repeats: int, eps: float, normalized: bool) -> None:
    n, d, size = 24, 3, 8
    codes = [draw(n, d, seed=i).requires_grad_() for i in range(views)]
    loss, terms = WMSE(size, eps, repeats, normalized)(*codes, generator=seeded(7))
    generator, exact, pairs = seeded(7), torch.zeros((), dtype=DOUBLE), views * (views - 1) / 2
    for _ in range(repeats):
        order = torch.randperm(n, generator=generator)
        white = [torch.empty(n, d, dtype=DOUBLE) for _ in codes]
        for rows in order.split(size):
            for v, z in zip(white, codes, strict=True):
                v[rows] = whitened_by_hand(z[rows], eps)
        for i in range(views):
            for j in range(i):
                a, b = white[i], white[j]
                cos = (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)
                distance = (2 - 2 * cos).mean() if normalized else (a - b).square().mean()
                exact = exact + distance / (repeats * pairs)
    torch.testing.assert_close(loss, exact, rtol=1e-10, atol=0)
    assert (
        list(terms) == ["invariance"]
        and terms["invariance"] == loss
        and not terms["invariance"].requires_grad
    )
    ours, theirs = torch.autograd.grad(loss, codes), torch.autograd.grad(exact, codes)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_whitened_codes_are_white_and_forget_scale_and_place(
    d: int, more: int, seed: int, scale: float
) -> None:
    z = draw(3, d + more, d, seed=seed)
    v = whiten(z)
    identity = torch.eye(d, dtype=DOUBLE).expand(3, d, d)
    torch.testing.assert_close((v.mT @ v) / (d + more - 1), identity, rtol=0, atol=1e-8)
    torch.testing.assert_close(v.mean(1), torch.zeros(3, d, dtype=DOUBLE), rtol=0, atol=1e-9)
    torch.testing.assert_close(whiten(scale * z + draw(d, d, seed=seed)[0]), v, rtol=1e-6, atol=1e-7)
    triangle = draw(d, d, seed=seed + 1).tril(-1) + torch.eye(d, dtype=DOUBLE)  # Cholesky goes along with it
    torch.testing.assert_close(whiten(z @ triangle.T), v, rtol=1e-6, atol=1e-6)
    if more == 1:  # corners of a regular simplex, whatever the codes
        n = d + 1
        simplex = (n - 1) * (torch.eye(n, dtype=DOUBLE) - 1 / n).expand(3, n, n)
        torch.testing.assert_close(v @ v.mT, simplex, rtol=0, atol=1e-7)


def test_w_mse_is_zero_for_views_that_differ_in_scale_and_place_and_greatest_for_opposites() -> None:
    z = draw(32, 4)
    assert WMSE(16)(z, 3 * z + 1, generator=seeded()).loss.item() == pytest.approx(0, abs=1e-12)
    assert WMSE(16)(z, -z, generator=seeded()).loss.item() == pytest.approx(4)
    assert WMSE(16, normalized=False)(z, -z, generator=seeded()).loss.item() == pytest.approx(4 * 15 / 16)


def test_sub_batches_come_from_the_generator() -> None:
    x, y = draw(32, 4), draw(32, 4, seed=1)
    first, again, other = (WMSE(8)(x, y, generator=seeded(s)).loss for s in (1, 1, 2))
    assert first == again != other
    rows = torch.randperm(32, generator=seeded())
    whole = WMSE(None)(x, y).loss
    torch.testing.assert_close(WMSE(None)(x[rows], y[rows]).loss, whole)
    assert isinstance(WMSE().energy, CosineDistance) and isinstance(
        WMSE(normalized=False).energy, SquaredDistance
    )


def test_w_mse_tells_why_it_cannot_whiten() -> None:
    z = draw(32, 8)
    with pytest.raises(
        ValueError, match=r"sub-batches of 8 codes in 8 dimensions: .* rank 7 .* sub_batch > 8, better"
    ):
        WMSE(8)(z, z)
    with pytest.raises(ValueError, match=r"32 rows are no multiple\. Give it 20 rows, or set sub_batch"):
        WMSE(20)(z, z)
    assert bool(torch.isfinite(WMSE(8, eps=0.1)(z, z).loss))
    flat = torch.cat([z[:, :4], torch.zeros(32, 4, dtype=DOUBLE)], 1)
    with pytest.raises(
        ValueError, match=r"covariance of 16 codes in 8 dimensions is singular.*dimensional collapse"
    ):
        WMSE(16)(flat, flat)
    with pytest.raises(ValueError, match="codes of view 0 hold NaN or infinity in 32 rows"):
        WMSE(16)(z * math.nan, z)
    for settings, message in (
        ({"sub_batch": 1}, "sub_batch must be an integer of at least 2; got 1"),
        ({"eps": 1.0}, "eps must be at least 0 and below 1; got 1.0"),
        ({"repeats": 0}, "repeats must be an integer of at least 1; got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            WMSE(**settings)  # type: ignore[arg-type]


# --- MCR² ---------------------------------------------------------------------------------------------------


def rate_by_hand(z: Tensor, distortion: float) -> Tensor:
    """½ log det, of the D × D matrix always."""
    n, d = z.shape
    return 0.5 * torch.linalg.slogdet(torch.eye(d, dtype=DOUBLE) + d / (n * distortion) * z.T @ z)[1]


@pytest.mark.parametrize(("n", "d", "views"), [(5, 9, 2), (9, 5, 2), (3, 6, 2), (4, 3, 5)])
def test_mcr2_is_the_papers(n: int, d: int, views: int) -> None:
    codes = [draw(n, d, seed=i).requires_grad_() for i in range(views)]
    loss, terms = MCR2(0.3)(*codes)
    z = torch.cat([z / z.norm(dim=1, keepdim=True) for z in codes])
    of_class = torch.arange(n).repeat(views)
    rate = rate_by_hand(z, 0.3)
    compressed = sum((views / len(z)) * rate_by_hand(z[of_class == j], 0.3) for j in range(n))
    torch.testing.assert_close(loss, compressed - rate, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(
        (terms["expansion"], terms["compression"]), (rate.detach(), compressed.detach())
    )
    ours, theirs = torch.autograd.grad(loss, codes), torch.autograd.grad(compressed - rate, codes)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("d", [3, 12])
def test_rate_reduction_of_classes_of_unequal_size(d: int) -> None:
    z, labels = draw(10, d).requires_grad_(), torch.tensor([4, 0, 0, 4, 7, 0, 0, 0, 4, 0])
    rate = rate_reduction(z, labels, 0.2)
    exact = rate_by_hand(z, 0.2) - sum(
        share * rate_by_hand(z[labels == label], 0.2) for label, share in ((0, 0.6), (4, 0.3), (7, 0.1))
    )
    torch.testing.assert_close(rate, exact, rtol=1e-10, atol=0)
    ours, theirs = torch.autograd.grad(rate, z), torch.autograd.grad(exact, z)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)


def test_known_rates() -> None:
    tight = torch.linalg.qr(draw(10, 4)).Q * math.sqrt(10 / 4)  # ZᵀZ = N/D I
    assert coding_rate(tight, 0.5).item() == pytest.approx(2.19722458, abs=1e-8)
    assert coding_rate(tight, 0.5).item() == pytest.approx(2 * math.log(3))
    one = torch.tensor([[1.0, 0.0, 0.0]], dtype=DOUBLE).expand(7, 3)
    assert coding_rate(one, 0.25).item() == pytest.approx(0.5 * math.log(1 + 3 / 0.25))
    unit = torch.nn.functional.normalize(draw(6, 4), dim=1)
    twice, labels = unit.repeat(2, 1), torch.arange(2).repeat_interleave(6)
    assert rate_reduction(twice, labels).item() == pytest.approx(
        0, abs=1e-12
    )  # two classes that are the same
    assert rate_reduction(unit, torch.zeros(6)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 100_000), (100_000, 2)])
def test_rates_by_the_smaller_side(shape: tuple[int, int]) -> None:
    """The other side's matrix would have 80 GB."""
    z = torch.full(shape, shape[1] ** -0.5, dtype=DOUBLE)
    assert coding_rate(z).item() == pytest.approx(0.5 * math.log(1 + shape[1] / 0.5), rel=1e-9)


@given(st.integers(2, 7), st.integers(1, 7), st.integers(0, 10**6))
def test_what_leaves_mcr2_alone(n: int, d: int, seed: int) -> None:
    x, y = draw(n, d, seed=seed), draw(n, d, seed=seed + 1)
    loss = MCR2()(x, y).loss
    assert loss <= 1e-12  # ΔR >= 0: log det is concave
    rotation = torch.linalg.qr(draw(d, d, seed=seed + 2)).Q
    rows = torch.randperm(n, generator=seeded(seed))
    lengths = draw(n, 1, seed=seed + 3).abs() + 0.1
    for changed in ((y, x), (x @ rotation, y @ rotation), (x[rows], y[rows]), (x * lengths, 2 * y), (-x, -y)):
        torch.testing.assert_close(MCR2()(*changed).loss, loss, rtol=1e-8, atol=1e-11)


def test_views_that_agree_in_orthogonal_directions_are_best() -> None:
    best = torch.eye(4, dtype=DOUBLE)
    least = MCR2()(best, best).loss.item()
    assert least == pytest.approx(0.5 * math.log(1 + 4 / 0.5) - 2 * math.log(1 + 1 / 0.5))
    for seed in range(10):
        x = draw(4, 4, seed=seed)
        assert MCR2()(x, x).loss.item() > least and MCR2()(best, best.roll(1, 0)).loss.item() > least
    assert isinstance(MCR2().energy, CosineDistance)


def test_single_precision_and_errors() -> None:
    for criterion in (MCR2(), WMSE(32)):
        x, y = (draw(64, 8, seed=s).float() for s in (0, 1))
        loss = criterion(x, y, generator=seeded()).loss
        exact = criterion(x.double(), y.double(), generator=seeded()).loss
        assert loss.dtype == torch.float32 and abs(loss.item() - exact.item()) < 1e-5
        halves = x.bfloat16(), y.bfloat16()
        half = criterion(*halves, generator=seeded()).loss
        assert torch.equal(half, criterion(*(z.float() for z in halves), generator=seeded()).loss)
    with pytest.raises(ValueError, match="distortion must be finite and positive; got 0"):
        MCR2(0.0)
    with pytest.raises(
        ValueError, match=r"lost in the rounding of torch.float32 for distortion 1e-12 .* length up"
    ):
        coding_rate(draw(64, 8).float() @ torch.full((8, 8), 1.0), 1e-12)
    with pytest.raises(ValueError, match="MCR2: the codes of view 1 hold NaN or infinity in 64 rows"):
        MCR2()(draw(64, 8), math.nan * draw(64, 8))
    with pytest.raises(ValueError, match="distortion must be finite and positive; got -1"):
        coding_rate(draw(3, 2), -1.0)
    with pytest.raises(
        ValueError, match=r"codes \(N, D\) and labels \(N,\), a class for each code; got \(3, 2\) and"
    ):
        rate_reduction(draw(3, 2), torch.zeros(2))

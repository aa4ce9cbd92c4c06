"""RankMe, LiDAR, α-ReQ, alignment, uniformity and the report, against numpy, scipy and closed forms."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from ebm.measure import CodeReport, alignment, alpha_req, code_report, lidar, rankme, spectrum, uniformity
from ebm.measure.codes import ALIKE
from ebm.nets import mlp

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def rotation(dim: int, seed: int = 1) -> Tensor:
    return torch.linalg.qr(draw(dim, dim, seed=seed)).Q


def with_spectrum(values: Tensor, rows: int, seed: int = 2) -> Tensor:
    """Centered codes whose covariance has exactly these eigenvalues."""
    noise = draw(rows, len(values), seed=seed)
    left = torch.linalg.qr(noise - noise.mean(0)).Q
    return math.sqrt(rows - 1) * left * values.sqrt() @ rotation(len(values)).T


# --- RankMe -------------------------------------------------------------------------------------------------


def plain_rankme(z: Tensor, epsilon: float, power: int = 1) -> float:
    s = np.linalg.svd(z.double().numpy(), compute_uv=False) ** power
    p = s / s.sum() + epsilon
    return float(np.exp(-np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0))))


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (2, 3), (9, 1), (30, 30)])
@pytest.mark.parametrize("epsilon", [1e-7, 1e-5, 0.0])
def test_rankme_equals_the_formula_by_numpy(shape: tuple[int, int], epsilon: float) -> None:
    z = 0.7 + draw(*shape)
    assert rankme(z, epsilon=epsilon) == pytest.approx(plain_rankme(z, epsilon), rel=1e-11)
    assert rankme(z, epsilon=epsilon, squared=True) == pytest.approx(plain_rankme(z, epsilon, 2), rel=1e-11)
    centered = plain_rankme(z - z.mean(0), epsilon)
    assert rankme(z, centered=True, epsilon=epsilon) == pytest.approx(centered, rel=1e-9)


def test_rankme_closed_forms() -> None:
    eye = torch.eye(4, dtype=DOUBLE)
    assert rankme(eye) == pytest.approx(4.0000006, abs=5e-8)
    assert rankme(3 * eye, epsilon=0.0) == pytest.approx(4, abs=1e-12)
    assert rankme(torch.outer(draw(6), draw(5, seed=1)), epsilon=0.0) == pytest.approx(1, abs=1e-12)
    diagonal = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    assert rankme(diagonal) == pytest.approx(2.82842726, abs=5e-8)
    assert rankme(diagonal, squared=True) == pytest.approx(2.38110181, abs=5e-8)
    assert rankme(torch.ones(5, 3)) == pytest.approx(1, abs=1e-5)  # not centered: a direction as any other
    assert rankme(torch.ones(5, 3), centered=True) == 0.0
    assert rankme(torch.zeros(5, 3)) == 0.0
    for rows in range(2, 12):  # whatever their mean rounds to
        assert rankme(torch.full((rows, 3), 0.1, dtype=DOUBLE), centered=True) == 0.0


def test_rankme_under_rotation_scale_and_stretch() -> None:
    z = draw(40, 6) + 1
    for same in (z @ rotation(6), 1e-4 * z, -7 * z, z[torch.randperm(40)]):
        assert rankme(same) == pytest.approx(rankme(z), rel=1e-10)
    assert abs(rankme(z * torch.tensor([9.0, 1, 1, 1, 1, 1])) - rankme(z)) > 0.5
    assert rankme(z + 5, centered=True) == pytest.approx(rankme(z, centered=True), rel=1e-10)
    assert rankme(z + 5) < rankme(z) - 0.5


def test_many_rows_are_taken_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    z = draw(403, 7) + 3
    whole = (rankme(z), rankme(z, centered=True), code_report(z).numbers())
    monkeypatch.setattr(spectrum, "ROWS", 28)  # 4 D: fifteen blocks, the last one smaller than D
    monkeypatch.setattr(sys.modules["ebm.measure.alignment"], "PAIRS", 403 * 50)
    assert rankme(z) == pytest.approx(whole[0], rel=1e-12)
    assert rankme(z, centered=True) == pytest.approx(whole[1], rel=1e-12)
    assert code_report(z).numbers() == {
        name: pytest.approx(value, rel=1e-10) if isinstance(value, float) else value
        for name, value in whole[2].items()
    }


def test_spectra_of_float32_codes_are_exact() -> None:
    """Far from 0, zᵀz in float32 would lose the variance: 1e-7 of 1e6 is more than it."""
    z = (1000 + 1e-2 * draw(200, 5)).float()
    assert rankme(z, centered=True) == pytest.approx(
        plain_rankme(z.double() - z.double().mean(0), 1e-7), rel=1e-8
    )


def test_measured_codes_leave_their_graph() -> None:
    z = draw(20, 3).requires_grad_()
    assert not spectrum.check_codes(z).requires_grad and rankme(z) == rankme(z.detach())


# --- LiDAR --------------------------------------------------------------------------------------------------


def views(n: int, q: int, dim: int, noise: float = 0.3) -> Tensor:
    return draw(n, 1, dim) * torch.linspace(0.2, 2, dim, dtype=DOUBLE) + noise * draw(n, q, dim, seed=1)


def plain_lidar(z: Tensor, delta: float, epsilon: float) -> float:
    x = z.numpy()
    n, q, dim = x.shape
    means = x.mean(1)
    between = sum(np.outer(m - means.mean(0), m - means.mean(0)) for m in means) / (n - 1)
    within = sum(np.outer(x[i, v] - means[i], x[i, v] - means[i]) for i in range(n) for v in range(q))
    root = np.linalg.inv(scipy.linalg.sqrtm(within / (n * (q - 1)) + delta * np.eye(dim)).real)
    values = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    p = values / values.sum() + epsilon
    return float(np.exp(-np.sum(scipy.special.xlogy(p, p))))


@pytest.mark.parametrize(("n", "q", "dim"), [(30, 4, 5), (6, 3, 10), (2, 9, 3)])
@pytest.mark.parametrize(("delta", "epsilon"), [(1e-4, 1e-8), (0.5, 1e-4)])
def test_lidar_equals_the_formula_by_numpy(n: int, q: int, dim: int, delta: float, epsilon: float) -> None:
    z = views(n, q, dim)
    expected = plain_lidar(z, delta, epsilon)
    assert lidar(z, delta=delta, epsilon=epsilon) == pytest.approx(expected, rel=1e-7)
    assert expected <= min(n - 1, dim) * (1 + 20 * dim * epsilon)


def test_the_defaults_of_lidar_are_the_papers() -> None:
    z = views(6, 3, 10)  # four directions have λ = 0, where ε counts most
    assert lidar(z) == pytest.approx(plain_lidar(z, 1e-4, 1e-8), rel=1e-7)


def test_lidar_doesnt_change_under_an_invertible_linear_map_and_rankme_does() -> None:
    z = views(40, 5, 6)
    map_ = draw(6, 6, seed=3) + 2 * torch.eye(6)
    assert 1 < torch.linalg.cond(map_) < 1e3
    assert lidar(z @ map_, delta=0.0) == pytest.approx(lidar(z, delta=0.0), rel=1e-9)
    assert lidar(z @ map_ + 4, delta=0.0) == pytest.approx(lidar(z, delta=0.0), rel=1e-9)
    flat, mapped = z.flatten(0, 1), (z @ map_).flatten(0, 1)
    assert abs(rankme(mapped, centered=True) / rankme(flat, centered=True) - 1) > 0.05


def test_lidar_closed_forms() -> None:
    noise = 0.1 * draw(50, 4, 6)
    noise = noise - noise.mean(1, keepdim=True)  # so the means are exactly those of the examples
    line = noise + draw(50, 1, 1) * draw(6)
    assert lidar(line, epsilon=0.0) == pytest.approx(1, abs=1e-9)
    # a spectrum of our choice: between as wished, and within equal in all directions
    wished = torch.tensor([4.0, 1.0, 1.0], dtype=DOUBLE)
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()  # views: mean 0, covariance (2 / 5) I
    z = with_spectrum(wished, 60).unsqueeze(1) + axes
    p = wished / wished.sum()
    assert lidar(z, epsilon=0.0) == pytest.approx(float((-(p * p.log()).sum()).exp()), rel=1e-9)
    z = noise + with_spectrum(torch.ones(6, dtype=DOUBLE), 50).unsqueeze(1)
    for scaled in (100 * z, noise + 100 * (z - noise)):  # neither scale counts while δ = 0
        assert lidar(scaled, delta=0.0) == pytest.approx(lidar(z, delta=0.0), rel=1e-9)
    assert lidar(noise.round(decimals=9) * 0 + 1) == 0.0  # no example differs from another


def test_lidar_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    z = views(101, 3, 4).float()
    whole = lidar(z)
    monkeypatch.setattr(sys.modules["ebm.measure.lidar"], "ROWS", 10)
    assert lidar(z) == pytest.approx(whole, rel=1e-12)


def test_lidar_refuses_views_that_never_differ() -> None:
    z = views(20, 3, 4)
    z[..., 2] = z[:, :1, 2]
    with pytest.raises(ValueError, match=r"singular: in some direction the 3 views.*Take delta > 0"):
        lidar(z, delta=0.0)
    for seed in range(20):  # in a direction between the axes: zero but for rounding, of either sign
        with pytest.raises(ValueError, match="singular"):
            lidar(z @ rotation(4, seed), delta=0.0)
    assert lidar(z) > 0


# --- α-ReQ --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_alpha_of_an_exact_power_law(alpha: float, weighted: bool) -> None:
    spectrum = 3 * torch.arange(1, 121, dtype=DOUBLE) ** -alpha
    fit = alpha_req(5 + with_spectrum(spectrum, 200), weighted=weighted)
    assert fit.alpha == pytest.approx(alpha, abs=1e-9)
    assert alpha == 0 or fit.r2 == pytest.approx(1, abs=1e-9)


def test_the_fit_of_a_spectrum_that_is_flat_to_the_bit() -> None:
    """λ = 4/15 in all directions: the line is exact, though there is nothing to explain (0 / 0)."""
    eye = torch.eye(4, dtype=DOUBLE)
    assert alpha_req(torch.cat([eye, -eye, eye, -eye]) / 2, ranks=(1, 4)) == (0.0, 1.0)


@pytest.mark.parametrize("ranks", [(11, 100), (1, 30), (12, 14)])
def test_alpha_equals_a_weighted_line_by_numpy(ranks: tuple[int, int]) -> None:
    z = draw(300, 110) @ draw(110, 110, seed=5)
    values = np.linalg.eigvalsh(np.cov(z.numpy().T))[::-1]
    j = np.arange(ranks[0], ranks[1] + 1)
    x, y = np.log(j), np.log(values[j - 1])
    for weighted in (True, False):
        w = 1 / j if weighted else np.ones(len(j))
        line = np.polyfit(x, y, 1, w=np.sqrt(w))  # numpy squares its weights
        rest, total = w @ (y - np.polyval(line, x)) ** 2, w @ (y - np.average(y, weights=w)) ** 2
        fit = alpha_req(z, ranks=ranks, weighted=weighted)
        assert fit.alpha == pytest.approx(-line[0], rel=1e-8)
        assert fit.r2 == pytest.approx(1 - rest / total, rel=1e-7)
        assert (fit == alpha_req(z, ranks=ranks)) == weighted  # by 1 / j, as the authors do, unless told not


def test_alpha_cuts_its_ranks_to_those_that_there_are() -> None:
    z = draw(200, 30)
    assert alpha_req(z) == alpha_req(z, ranks=(11, 30))
    assert alpha_req(draw(25, 60)).alpha == alpha_req(draw(25, 60), ranks=(11, 24)).alpha
    with pytest.raises(ValueError, match=r"3 ranks or more; ranks=\(11, 100\).*such as ranks=\(1, 8\)"):
        alpha_req(draw(200, 8))
    for few in ((0, 5), (2, 3), (29, 90)):  # ranks count from 1, and two of them fit any line
        with pytest.raises(ValueError, match="3 ranks or more"):
            alpha_req(z, ranks=few)
    flat = draw(200, 14) @ draw(14, 60, seed=1)
    with pytest.raises(ValueError, match=r"no variance from rank 15 of 60.*ranks=\(11, 14\)"):
        alpha_req(flat)


# --- alignment and uniformity -------------------------------------------------------------------------------


def test_alignment_and_uniformity_equal_scipy() -> None:
    x, y = draw(40, 5), draw(40, 5, seed=1)
    ux, uy = (v / v.norm(dim=1, keepdim=True) for v in (x, y))
    for alpha in (1.0, 2.0, 3.0):
        expected = float(np.mean(np.linalg.norm((ux - uy).numpy(), axis=1) ** alpha))
        assert float(alignment(x, y, alpha=alpha)) == pytest.approx(expected, rel=1e-12)
        raw = float(np.mean(np.linalg.norm((x - y).numpy(), axis=1) ** alpha))
        assert float(alignment(x, y, alpha=alpha, normalize=False)) == pytest.approx(raw, rel=1e-12)
    for t in (0.5, 2.0):
        expected = math.log(np.mean(np.exp(-t * pdist(ux.numpy()) ** 2)))
        assert float(uniformity(x, t=t)) == pytest.approx(expected, rel=1e-12)
        expected = math.log(np.mean(np.exp(-t * pdist(x.numpy()) ** 2)))
        assert float(uniformity(x, t=t, normalize=False)) == pytest.approx(expected, rel=1e-10)


def test_uniformity_on_the_circle_and_the_sphere() -> None:
    """N equal steps around the circle average e^{-t |x - y|²} exactly, but for each point with itself."""
    n, circle = 64, -1.5750272
    angle = 2 * math.pi * torch.arange(n, dtype=DOUBLE) / n
    z = 3 * torch.stack([angle.cos(), angle.sin()], 1)
    assert math.log(math.exp(-4) * scipy.special.i0(4)) == pytest.approx(circle, abs=5e-8)
    expected = math.log((n * math.exp(circle) - 1) / (n - 1))
    assert float(uniformity(z)) == pytest.approx(expected, abs=1e-7)
    sphere = [float(uniformity(draw(600, 3, seed=s))) for s in range(20)]
    error = float(np.std(sphere, ddof=1)) / math.sqrt(20)
    assert abs(np.mean(sphere) - math.log((1 - math.exp(-8)) / 8)) < 4 * error < 0.01
    assert float(uniformity(torch.ones(7, 3))) == 0.0 == float(uniformity(torch.zeros(7, 3)))


def test_gradients_of_alignment_and_uniformity(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(z: Tensor) -> Tensor:
        u = z / z.norm(dim=1, keepdim=True)
        pairs = [(u[i] - u[j]).square().sum() for i in range(len(z)) for j in range(i)]
        return (-2 * torch.stack(pairs)).exp().mean().log()

    z = draw(9, 4).requires_grad_()
    (expected,) = torch.autograd.grad(plain(z), z)
    for pairs in (2**20, 27, 1):
        monkeypatch.setattr(sys.modules["ebm.measure.alignment"], "PAIRS", pairs)
        (gradient,) = torch.autograd.grad(uniformity(z), z)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    one = draw(5, 3).requires_grad_()  # where views agree the distance is 0: no NaN from its square root
    (gradient,) = torch.autograd.grad(alignment(one, one.detach(), alpha=1.0), one)
    assert bool((gradient == 0).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_uniformity_in_coarse_arithmetic(dtype: torch.dtype) -> None:
    z = draw(100, 16).to(dtype)
    exact = float(uniformity(z.double()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = uniformity(z)
    assert value.dtype == torch.float32 and float(value) == pytest.approx(exact, abs=1e-5)
    near = (1 + 1e-4 * draw(50, 4)).float()  # distances far below the codes' length
    expected = float(uniformity(near.double(), t=1e7))
    assert float(uniformity(near, t=1e7)) == pytest.approx(expected, rel=0.01)


# --- the report ---------------------------------------------------------------------------------------------


def test_numbers_of_the_report_by_numpy() -> None:
    z = 2 + draw(60, 5) @ draw(5, 5, seed=1)
    report, x = code_report(z), z.numpy()
    covariance = np.cov(x.T)
    correlation = np.abs(np.corrcoef(x.T))[~np.eye(5, dtype=bool)].mean()
    spread = math.sqrt(((x - x.mean(0)) ** 2).sum(1).mean() / (x**2).sum(1).mean())
    directions = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
    few = 1 + (sum(1 / j for j in range(1, 6)) ** 2 / sum(1 / j**2 for j in range(1, 6)) - 1) / 5
    expected = CodeReport(
        rows=60,
        dimensions=5,
        length=math.sqrt((x**2).sum(1).mean()),
        std=x.std(0, ddof=1).mean(),
        std_min=x.std(0, ddof=1).min(),
        spread=spread,
        correlation=correlation,
        rankme=plain_rankme(z, 1e-7),
        directions=directions,
        share=directions / 5,
        uniformity=float(uniformity(z)),
        alike=0.03,
        few=few,
    )
    assert vars(report) == {name: pytest.approx(value, rel=1e-10) for name, value in vars(expected).items()}
    assert json.loads(json.dumps(report.numbers(), allow_nan=False))["verdict"] == report.verdict == "alive"
    for part in ("60 rows, 5 dimensions", f"directions {directions:.1f}", "verdict: alive"):
        assert part in str(report)
    assert report.rankme == rankme(z)


def test_uniformity_of_many_codes_is_that_of_a_part_from_all_over() -> None:
    """Of 4,200 sorted codes every third counts: 700 at each pole, 2 away from those at the other."""
    pole = torch.tensor([[1.0, 0.0]], dtype=DOUBLE)
    near, far = 2 * math.comb(700, 2), 700**2
    expected = math.log((near + far * math.exp(-8)) / (near + far))
    report = code_report(torch.cat([pole.expand(2100, 2), -pole.expand(2100, 2)]))
    assert report.uniformity == pytest.approx(expected, rel=1e-12)


def test_directions_count_equal_directions_and_forgive_noise() -> None:
    """K equal directions of D with noise ε: (K (1 + ε²) + (D - K) ε²)² / (K (1 + ε²)² + (D - K) ε⁴)."""
    for k, dim, noise in ((3, 20, 0.0), (1, 64, 0.1), (5, 5, 0.2)):
        spectrum = torch.full((dim,), noise**2, dtype=DOUBLE)
        spectrum[:k] += 1
        exact = float(spectrum.sum() ** 2 / spectrum.square().sum())
        assert code_report(with_spectrum(spectrum, 300)).directions == pytest.approx(exact, rel=1e-9)
    assert exact == pytest.approx(5)


def flat_codes(k: int, dim: int, noise: float, seed: int = 0) -> Tensor:
    return draw(2000, k, seed=seed) @ rotation(dim)[:k] + noise * draw(2000, dim, seed=seed + 1)


COLLAPSED = {  # constructed codes and what everybody calls them
    "equal": (lambda: torch.ones(100, 8), "complete collapse"),
    "zero": (lambda: torch.zeros(100, 8), "complete collapse"),
    "equal, and noise of a hundredth": (lambda: 1 + 1e-2 * draw(500, 64), "complete collapse"),
    "equal, rounded to bfloat16": (
        lambda: (draw(64) * (1 + 1e-3 * draw(500, 64, seed=1))).bfloat16(),
        "complete collapse",
    ),
    "one of 2, noise": (lambda: flat_codes(1, 2, 0.02), "dimensional collapse"),
    "one of 16, noise": (lambda: flat_codes(1, 16, 0.1), "dimensional collapse"),
    "one of 64, noise": (lambda: flat_codes(1, 64, 0.1), "dimensional collapse"),
    "two of 16, noise": (lambda: flat_codes(2, 16, 0.05), "dimensional collapse"),
    "two of 64, far from 0": (lambda: flat_codes(2, 64, 0.02) + 2, "dimensional collapse"),
    "six of 512": (lambda: flat_codes(6, 512, 0.0), "dimensional collapse"),
    "copies of one dimension": (lambda: draw(500, 1).expand(-1, 32), "dimensional collapse"),
    "steep": (lambda: draw(2000, 256) * torch.arange(1, 257) ** -1.5, "dimensional collapse"),
    "isotropic": (lambda: draw(500, 64), "alive"),
    "isotropic, fewer rows than dimensions": (lambda: draw(40, 128), "alive"),
    "two examples": (lambda: draw(2, 8), "alive"),
    "twenty standard deviations from 0": (lambda: 20 + draw(500, 16), "alive"),
    "one dimension": (lambda: draw(100, 1), "alive"),
    "two dimensions, 3 to 1": (lambda: draw(500, 2) * torch.tensor([3.0, 1.0]), "alive"),
    "natural": (lambda: draw(3000, 512) * torch.arange(1, 513) ** -0.5, "alive"),
    "half of the dimensions dead": (lambda: draw(500, 64) * (torch.arange(64) < 32), "alive"),
    "small": (lambda: 1e-6 * draw(500, 16), "alive"),
    "untrained": (
        lambda: mlp(20, 64, 64, generator=torch.Generator().manual_seed(0))(draw(500, 20).float()),
        "alive",
    ),
}


@pytest.mark.parametrize("name", COLLAPSED)
def test_verdicts_on_constructed_codes(name: str) -> None:
    make, verdict = COLLAPSED[name]
    z = make().detach()
    assert code_report(z).verdict == verdict
    if z.dtype != torch.bfloat16:
        for same in (1000 * z, z @ rotation(z.shape[1]).to(z.dtype), z.float(), z.flip(0)):
            assert code_report(same).verdict == verdict
    finding = code_report(z).finding
    assert finding.startswith(verdict) and f"{len(z)} examples" in finding


@pytest.mark.parametrize(("factor", "verdict"), [(0.99, "complete collapse"), (1.01, "alive")])
def test_the_threshold_of_complete_collapse(factor: float, verdict: str) -> None:
    z = with_spectrum(torch.ones(8, dtype=DOUBLE), 400)
    z = z / z.square().sum(1).mean().sqrt()  # length 1 around the mean
    wide = factor * ALIKE / math.sqrt(1 - (factor * ALIKE) ** 2)
    offset = torch.ones(8, dtype=DOUBLE) / math.sqrt(8)
    report = code_report(offset + wide * z)
    assert report.spread == pytest.approx(factor * ALIKE, rel=1e-9) and report.verdict == verdict
    assert code_report(factor * ALIKE * z, scale=1.0).verdict == verdict  # codes that shrank to 0
    assert code_report(factor * ALIKE * z).verdict == "alive"


def test_thresholds_belong_to_a_side() -> None:
    """A spread of at most `alike` is a collapse, and directions fewer than `few`."""
    z = 3 + draw(50, 4)
    report = code_report(z)
    assert code_report(z, alike=report.spread).verdict == "complete collapse"
    assert code_report(z, few=report.directions).verdict == "alive"


@pytest.mark.parametrize(("k", "dim", "verdict"), [(3, 64, "dimensional collapse"), (4, 64, "alive")])
def test_the_threshold_of_dimensional_collapse(k: int, dim: int, verdict: str) -> None:
    spectrum = (torch.arange(dim) < k).double()
    report = code_report(with_spectrum(spectrum, 300))
    assert report.directions == pytest.approx(k) and 3 < report.few < 4 and report.verdict == verdict
    assert code_report(with_spectrum(spectrum, 300), few=k + 0.1).verdict == "dimensional collapse"
    assert code_report(with_spectrum(spectrum, 300), few=k - 0.1).verdict == "alive"


def test_dead_dimensions_have_no_correlation() -> None:
    z = draw(100, 4)
    z[:, 2] = 7.0
    report = code_report(z)
    rest = np.abs(np.corrcoef(z[:, [0, 1, 3]].numpy().T))[~np.eye(3, dtype=bool)].mean()
    assert report.std_min == 0.0 and report.correlation == pytest.approx(rest)
    assert code_report(torch.ones(5, 3)).correlation == 0.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: code_report([[1.0]]), TypeError, "floating-point tensor \\(N, D\\); got list"),
        (lambda: code_report(torch.ones(3, 2, dtype=torch.int64)), TypeError, "got torch.int64"),
        (lambda: code_report(torch.ones(3, 2, 4)), ValueError, r"got \(3, 2, 4\). Flatten"),
        (lambda: rankme(torch.ones(3, 0)), ValueError, r"got \(3, 0\)"),
        (lambda: rankme(torch.ones(1, 2)), ValueError, r"N >= 2; got \(1, 2\)"),
        (lambda: rankme(torch.tensor([[1.0], [math.nan], [math.inf]])), ValueError, r"2 of 3 rows: \[1, 2\]"),
        (lambda: rankme(torch.eye(2), epsilon=1.0), ValueError, r"in \[0, 1\); got 1.0"),
        (lambda: code_report(torch.eye(2), alike=1.0), ValueError, "alike is a share.*got 1.0"),
        (lambda: code_report(torch.eye(2), scale=0.0), ValueError, "scale is a length.*got 0.0"),
        (lambda: code_report(torch.eye(2), scale=math.inf), ValueError, "scale is a length.*got inf"),
        (lambda: code_report(torch.eye(2), few=0), ValueError, "few is a number of directions.*got 0"),
        (lambda: lidar(torch.ones(4, 3)), ValueError, r"\(n, q, D\).*got \(4, 3\).*unflatten"),
        (lambda: lidar(torch.ones(4, 1, 3)), ValueError, r"got \(4, 1, 3\)"),
        (lambda: lidar(torch.ones(4, 2, 3), delta=-1), ValueError, "delta is a variance.*got -1"),
        (lambda: lidar(torch.ones(4, 2, 3), delta=math.inf), ValueError, "delta is a variance.*got inf"),
        (lambda: lidar(torch.ones(4, 2, 3), epsilon=-0.1), ValueError, r"in \[0, 1\); got -0.1"),
        (lambda: alignment(torch.ones(0, 2), torch.ones(0, 2)), ValueError, r"got \(0, 2\), \(0, 2\)"),
        (lambda: alignment(torch.ones(3, 2), torch.ones(2, 2)), ValueError, r"got \(3, 2\), \(2, 2\)"),
        (
            lambda: alignment(torch.ones(3, 2), torch.ones(3, 2), alpha=0),
            ValueError,
            "alpha is positive; got 0",
        ),
        (lambda: uniformity(torch.ones(1, 2)), ValueError, r"N >= 2; got \(1, 2\)"),
        (lambda: uniformity(torch.ones(3, 2), t=-1.0), ValueError, "t is positive; got -1.0"),
    ],
)
def test_errors_teach(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()

"""Effective sample size, R-hat and energy traces, against ArviZ, autoregressions and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from ebm import energy
from ebm.infer import HMC, Langevin, sample
from ebm.measure import energies_of, energy_trace, ess, rhat
from ebm.measure.chains import quantile, rank_normal
from ebm.measure.ess import autocovariance


def autoregression(draws: int, chains: int, phi: float, seed: int) -> Tensor:
    """x ← φx + ξ in equilibrium; numpy's RandomState has promised to keep its streams forever."""
    noise = np.random.RandomState(seed).standard_normal((draws, chains))
    x = [noise[0] / np.sqrt(1 - phi**2)]
    for step in noise[1:]:
        x.append(phi * x[-1] + step)
    return torch.from_numpy(np.stack(x))


def _shifted() -> Tensor:
    draws = autoregression(300, 5, 0.6, 3)
    draws[:, 2] += 1.0
    return draws


def _wide() -> Tensor:
    draws = autoregression(300, 5, 0.6, 4)
    draws[:, 4] *= 3.0
    return draws


CASES = {
    "slow": autoregression(500, 4, 0.9, 0),
    "alternating": autoregression(501, 3, -0.7, 1),
    "one chain": autoregression(400, 1, 0.5, 2),
    "shifted": _shifted(),
    "wide": _wide(),
    "heavy tails": torch.from_numpy(np.random.RandomState(5).standard_cauchy((400, 4))),
    "ties": autoregression(200, 4, 0.8, 6).mul(2).round().div(2),
    "short": autoregression(7, 2, 0.3, 7),
}

# By arviz-stats 0.8.0, once: array_stats.ess(x, method=...) for "bulk", "tail" (at 0.05, 0.95), "mean";
# then array_stats.rhat(x, method=...) for "rank" and "split". It has no R-hat for one chain, and counts an
# indicator that never changes (the tail of "short") as fully effective, where we say NaN.
ARVIZ = {
    "slow": (78.37524786, 199.06307740, 78.31133988, 1.039004288, 1.038897107),
    "alternating": (4764.13688858, 1139.28795132, 4764.13688858, 1.002654337, 0.998207170),
    "one chain": (109.59032687, 220.81005752, 113.91675848, None, None),
    "shifted": (250.26716494, 511.97870514, 250.19450746, 1.031005185, 1.031103672),
    "wide": (412.01357257, 55.42747214, 429.61525984, 1.103830776, 1.007868148),
    "heavy tails": (1557.65932736, 1549.71910400, 1610.41253559, 1.001152361, 1.000712484),
    "ties": (92.18636412, 162.11716874, 91.75250348, 1.027438997, 1.025685582),
    "short": (12.95017495, None, 12.95017495, 1.270938451, 0.937337301),
}


@pytest.mark.parametrize("name", CASES)
def test_equal_to_arviz(name: str) -> None:
    draws = CASES[name]
    ours = (ess(draws), ess(draws, "tail"), ess(draws, "mean"), rhat(draws), rhat(draws, "split"))
    for mine, theirs in zip(ours, ARVIZ[name], strict=True):
        assert theirs is None or float(mine) == pytest.approx(theirs, rel=1e-8)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9, -0.5])
def test_ess_of_an_autoregression(phi: float) -> None:
    """ρ_t = φᵗ, so ESS / S = (1 - φ) / (1 + φ): the mean over 60 scalars, within 4 of its standard errors."""
    scalars = autoregression(4000, 120, phi, 8).unflatten(1, (2, 60))  # two chains
    share = ess(scalars, "mean") / 8000
    exact = (1 - phi) / (1 + phi)
    error = float(share.std()) / math.sqrt(60)
    bias = 0.03 * exact  # of order τ / N, from the estimated mean and the end of the sum
    assert abs(float(share.mean()) - exact) < 4 * error + bias
    assert error < 0.05 * exact  # so the bound says something


def test_standard_error_from_ess() -> None:
    """√(variance / ESS) is the standard error of the mean: mean / it has variance 1, over 600 runs."""
    runs = autoregression(1000, 1200, 0.7, 9).unflatten(1, (2, 600))
    z = runs.mean((0, 1)) / (runs.var((0, 1)) / ess(runs, "mean")).sqrt()
    assert abs(float(z.square().mean()) - 1) < 4 * math.sqrt(2 / 600)


def test_autocovariance_equals_the_plain_sum(generator: torch.Generator) -> None:
    chains = torch.randn(23, 3, 2, generator=generator, dtype=torch.float64).cumsum(0)
    centered = chains - chains.mean(0)
    plain = torch.stack([(centered[: 23 - t] * centered[t:]).sum(0).mean(0) / 23 for t in range(23)])
    torch.testing.assert_close(autocovariance(chains), plain, rtol=1e-10, atol=1e-10)


def test_ranks_and_quantiles_equal_scipy_and_numpy(generator: torch.Generator) -> None:
    chains = torch.randn(50, 3, 4, generator=generator, dtype=torch.float64).mul(2).round()  # many ties
    for c in range(4):
        pooled = chains[..., c].flatten().numpy()
        scores = scipy.stats.norm.ppf((scipy.stats.rankdata(pooled) - 0.375) / (len(pooled) + 0.25))
        np.testing.assert_allclose(
            rank_normal(chains)[..., c].flatten().numpy(), scores, rtol=1e-9, atol=1e-12
        )
        for q in (0.0, 0.05, 0.5, 0.95, 1.0):
            assert float(quantile(chains, q)[c]) == pytest.approx(np.quantile(pooled, q), abs=1e-12)


def test_split_rhat_by_hand() -> None:
    """Chains 1, 2, 3, 4 and 5, 6, 7, 8: halves of mean 1.5, 3.5, 5.5, 7.5, each of variance 1/2."""
    draws = torch.arange(1.0, 9.0).view(2, 4).T.contiguous()
    between = torch.tensor([1.5, 3.5, 5.5, 7.5]).var()
    assert float(rhat(draws, "split")) == pytest.approx(
        float((0.5 * 1 / 2 + between).div(0.5).sqrt()), rel=1e-6
    )


def test_rhat_sees_what_chains_disagree_in() -> None:
    settled = autoregression(400, 4, 0.3, 10)
    assert float(rhat(settled)) < 1.01
    drifting = settled + torch.linspace(0, 3, 400).unsqueeze(1)  # every chain alike: only the split shows it
    assert float(rhat(drifting)) > 1.2 and float(rhat(drifting, "split")) > 1.2
    wide = settled * torch.tensor([1.0, 1.0, 1.0, 4.0])  # same means: only the folded draws show it
    assert float(rhat(wide, "split")) < 1.01 and float(rhat(wide)) > 1.1


def test_any_shape_and_any_scale() -> None:
    draws = autoregression(200, 4 * 6, 0.5, 11).view(200, 4, 2, 3)
    for kind in ("bulk", "tail", "mean"):
        each = torch.stack([ess(draws[..., i, j], kind) for i in range(2) for j in range(3)]).view(2, 3)
        torch.testing.assert_close(ess(draws, kind), each, rtol=1e-12, atol=0)
    torch.testing.assert_close(ess(draws.exp()), ess(draws), rtol=1e-12, atol=0)  # ranks see the order alone
    torch.testing.assert_close(rhat(-2 * draws), rhat(draws), rtol=1e-12, atol=0)
    assert ess(draws.float()).dtype == torch.float32


def test_what_never_changes_is_nan_and_bad_input_is_told() -> None:
    draws = autoregression(40, 3, 0.5, 12)
    still = torch.stack([draws, torch.full_like(draws, 0.1)], 2)
    for number in (ess(still), ess(still, "mean"), rhat(still), rhat(still, "split")):
        assert bool(torch.isfinite(number[0])) and bool(torch.isnan(number[1]))
    broken = draws.clone()
    broken[7, 1] = math.nan
    with pytest.raises(ValueError, match=r"chains \[1\] hold NaN or infinite draws"):
        ess(broken)
    with pytest.raises(ValueError, match="N >= 4 draws of B chains"):
        rhat(draws[:3])
    with pytest.raises(TypeError, match=r"floating point tensor .* got torch\.int64"):
        ess(draws.long())
    with pytest.raises(TypeError, match="got dict"):
        ess({"y": draws})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind is 'bulk', 'tail' or 'mean'; got 'best'"):
        ess(draws, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind is 'rank' or 'split'"):
        rhat(draws, "best")  # type: ignore[arg-type]


def test_drift_is_a_standard_normal_number_in_equilibrium() -> None:
    drift = energy_trace(autoregression(2000, 800, 0.6, 13)).drift
    assert abs(float(drift.mean())) < 4 / math.sqrt(800)
    error = math.sqrt(2 / 800) + 0.0125  # the second for the ESS, itself an estimate
    assert abs(float(drift.square().mean()) - 1) < 4 * error


def test_energy_trace_finds_what_is_wrong() -> None:
    settled = autoregression(600, 4, 0.2, 14)
    assert energy_trace(settled).findings == []
    falling = settled.clone()
    falling[:, 1] += 30 * torch.exp(-torch.arange(600) / 10)
    report = energy_trace(falling)
    assert (report.drift.abs() > 4).tolist() == [False, True, False, False] and float(report.drift[1]) < 0
    assert report.findings[0] == "1 chains drift (|drift| > 4): take a longer burn_in"
    settled[:, 2] = 0.1
    report = energy_trace(settled)
    assert report.findings[0] == "1 chains never moved: take a smaller step_size"
    assert float(report.std[2]) == 0 and float(report.drift[2]) == 0 and bool(torch.isnan(report.ess[2]))
    assert "R-hat" in str(report) and str(report).count("\n") >= 5
    assert report.lowest.tolist() == settled.amin(0).tolist()
    with pytest.raises(ValueError, match=r"energies are \(N, B\)"):
        energy_trace(settled.unsqueeze(2))


def test_energies_of_draws(generator: torch.Generator) -> None:
    @energy
    def spring(y: Tensor, z: Tensor, center: Tensor) -> Tensor:
        return 0.5 * (y - center).square().sum(1) + z.square().flatten(1).sum(1)

    start = {"y": torch.zeros(3, 2, dtype=torch.float64), "z": torch.ones(3, 2, 2, dtype=torch.float64)}
    given = {"center": torch.arange(6.0, dtype=torch.float64).view(3, 2)}
    draws = sample(spring, start, Langevin(0.1), given=given, num_samples=5, generator=generator)
    found = energies_of(spring, draws, given)
    for n in range(5):
        assert found[n].tolist() == spring(y=draws.value["y"][n], z=draws.value["z"][n], **given).tolist()
    known = sample(spring, start, HMC(0.1, 2), given=given, num_samples=5, generator=generator)
    assert energies_of(spring, known, given) is known.energy
    known.energy, expected = None, known.energy
    torch.testing.assert_close(energies_of(spring, known, given), expected, rtol=1e-14, atol=0)
    only_y = sample(
        spring,
        start["y"],
        Langevin(0.1),
        given={**given, "z": start["z"]},
        num_samples=5,
        generator=generator,
    )
    assert energies_of(spring, only_y, {**given, "z": start["z"]}).shape == (5, 3)

"""The recipe on independence: what it computes, and in small what it claims."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from benchmarks.recipes import independence as recipe
from benchmarks.recipes.independence import Arguments, amari
from benchmarks.recipes.random_expander import Expander, VarianceCovariance, setup
from ebm.joint import VICReg

SMALL = Arguments()
SEEDS = range(5)
WIDTH, WIDER = 24, 96


def errors_apart(high, low):
    """How many standard errors the mean of paired differences is above 0."""
    difference = np.subtract(high, low)
    return difference.mean() / (difference.std(ddof=1) / math.sqrt(len(difference)))


@pytest.fixture(scope="module")
def pairs():
    """Pairwise HSIC of learned codes, one for each seed."""
    cells = {"none": ("linear", 0), "linear": ("linear", WIDER), "tanh": ("each code", WIDER)}
    return {
        what: [recipe.dependence(name, width, seed, SMALL)["pairwise"] for seed in SEEDS]
        for what, (name, width) in cells.items()
    }


@pytest.mark.slow
def test_a_wide_nonlinear_expander_makes_pairs_more_independent(pairs):
    assert errors_apart(pairs["none"], pairs["tanh"]) > 4
    assert errors_apart(pairs["linear"], pairs["tanh"]) > 4


@pytest.mark.slow
def test_without_the_nonlinearity_it_does_not(pairs):
    assert errors_apart(pairs["none"], pairs["linear"]) < 3


def test_sources_are_separated_as_by_fastica_and_not_without_the_nonlinearity():
    lines = [recipe.references(seed, SMALL) for seed in SEEDS]
    fastica, white = ([line[key] for line in lines] for key in ("FastICA", "whitening"))
    found, linear = (
        [recipe.separation(name, WIDTH, seed, SMALL) for seed in SEEDS]
        for name in ("each code, between codes", "linear")
    )
    assert np.mean(fastica) < 0.05  # the oracle itself separates
    assert errors_apart(found, fastica) < 3 and max(found) < 0.08
    assert errors_apart(white, found) > 3
    assert errors_apart(linear, found) > 3


def test_counting_all_pairs_it_is_vicreg_of_two_equal_views():
    z = 0.5 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, vicreg = VarianceCovariance(3.0, 2.0)(z), VICReg(0.0, 3.0, 2.0)(z, z)
    assert ours.loss == pytest.approx(float(vicreg.loss), rel=1e-12)
    assert ours.terms.keys() < vicreg.terms.keys()


def test_between_codes_it_is_their_hsic_in_the_kernel_of_the_features():
    """(2/W) Σ_{i≠j} tr(K_i H K_j H) / (n-1)², K_i the Gram matrix of the outputs that see code i."""
    g = torch.Generator().manual_seed(0)
    s = torch.randn(30, 3, generator=g, dtype=torch.float64)
    z = Expander(12, 3, apart=True, nonlinear=True, generator=g).double()(s)
    h = torch.eye(30, dtype=torch.float64) - 1 / 30
    grams = [part @ part.T for part in z.split(4, 1)]
    exact = sum(
        float(torch.trace(a @ h @ b @ h)) for i, a in enumerate(grams) for j, b in enumerate(grams) if i != j
    )
    found = VarianceCovariance(0.0, 1.0, groups=3)(z).loss
    assert float(found) == pytest.approx(2 / 12 * exact / 29**2, rel=1e-10)


def test_each_output_sees_one_code_or_all():
    s = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for apart in (True, False):
        expander = Expander(6, 3, apart, True, torch.Generator().manual_seed(1)).eval()
        slopes = torch.autograd.functional.jacobian(lambda s, net=expander: net(s).sum(0), s).sum(1)  # (6, 3)
        blocks = torch.eye(3).repeat_interleave(2, 0)
        assert bool(((slopes != 0) == (blocks if apart else torch.ones(6, 3)).bool()).all())
        assert not list(expander.parameters())  # it stays as it was drawn


def test_the_amari_distance_is_that_of_its_definition():
    p = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [4.0, 1.0, -1.0]])
    rows = (1 / 2 + 1 + 0.5 / 2) + (0 + 1 + 1 / 3) + (1 + 1 / 4 + 1 / 4)
    columns = (1 / 4 + 0 + 1) + (2 / 3 + 1 + 1 / 3) + (0.5 + 1 + 1)
    assert amari(p) == pytest.approx((rows + columns - 6) / 12, rel=1e-6)
    turned = torch.diag(torch.tensor([2.0, -0.1, 7.0]))[[2, 0, 1]]
    assert amari(turned) == 0.0 and amari(torch.ones(4, 4)) == 1.0


def test_sources_are_independent_standardized_and_mixed_by_the_matrix():
    x, mixing, _ = recipe.mixture(0, Arguments(rows=20_000))
    s = x @ torch.linalg.inv(mixing).T
    assert torch.allclose(s.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(s.T.cov(), torch.eye(3, dtype=torch.float64), atol=4 / math.sqrt(20_000))
    moments = s.pow(4).mean(0).tolist()  # of uniform, Laplace and exponential: 9/5, 6, 9
    assert moments == pytest.approx([1.8, 6.0, 9.0], rel=0.2)


def test_an_unknown_expander_is_refused():
    for name, width in (("deep", 6), ("linear", 7)):
        with pytest.raises(ValueError, match=f"each code.* multiple of 3; got '{name}', {width}"):
            setup(name, width, (25.0, 1.0), torch.Generator())


def test_the_command_writes_what_it_found(tmp_path, capsys):
    words = "--widths 6 --seeds 2 --encoder-steps 2 --unmixing-steps 2 --starts 1 --held-out 40 --results"
    recipe.main([*words.split(), str(tmp_path)])
    found = json.loads((tmp_path / "independence.json").read_text(encoding="utf-8"))
    assert found["arguments"]["widths"] == [6] and found["machine"]["cores"] and found["versions"]["torch"]
    assert len(found["dependence"]) == 5 and len(found["separation"]) == 4
    cell = found["separation"][0]["Amari"]
    a, b = cell["values"]
    assert cell["mean"] == pytest.approx((a + b) / 2)
    assert cell["standard error"] == pytest.approx(abs(a - b) / 2)
    again = recipe.separation("linear", 6, 1, Arguments(unmixing_steps=2, starts=1))
    assert again == b  # the seed settles it
    assert "Amari" in capsys.readouterr().out

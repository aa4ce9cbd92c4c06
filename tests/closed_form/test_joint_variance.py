"""VICReg, its variants and Barlow Twins against the papers' equations written out, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import BarlowTwins, Criterion, VICReg, VICRegCtr, VICRegExp
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64
SHAPES = [(6, 13), (13, 6), (7, 7), (2, 3), (300, 270)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Codes of which some dimensions vary by more than 1, some by less, and that go together."""
    generator = torch.Generator().manual_seed(seed)
    z, mix = (torch.randn(n, shape[-1], generator=generator, dtype=DOUBLE) for n in shape[-2:])
    return z @ mix / shape[-1] ** 0.5 + torch.randn(shape[-1], generator=generator, dtype=DOUBLE)


def two_views(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = draw(n, d, seed=seed)
    return x.requires_grad_(), (x.detach() + 0.3 * draw(n, d, seed=seed + 1)).requires_grad_()


# --- the papers' equations ----------------------------------------------------------------------------------


def paper_vicreg(x: Tensor, y: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Eq. 1 to 6 of Bardes et al. (2021)."""
    s = (x - y).square().sum(1).mean()
    v = [(1 - torch.sqrt(z.var(0) + 1e-4)).clamp(min=0).mean() for z in (x, y)]
    c = []
    for z in (x, y):
        cov = sum(torch.outer(row, row) for row in z - z.mean(0)) / (len(z) - 1)
        c.append((cov.square().sum() - cov.diagonal().square().sum()) / z.shape[1])
    return weights[0] * s + weights[1] * (v[0] + v[1]) + weights[2] * (c[0] + c[1])


def vicreg(x: Tensor, y: Tensor) -> Tensor:
    """The code's 25, 25, 1 are λ = 25/D, μ = 12.5, ν = 1 in the paper's equations."""
    return paper_vicreg(x, y, (25 / x.shape[1], 12.5, 1.0))


def log_sum_exp(matrix: Tensor, temperature: float) -> Tensor:
    """Eq. 11 of Garrido et al. (2022), term by term."""
    size = len(matrix)
    terms = [
        torch.stack([(matrix[i, j] / temperature).exp() for j in range(size) if j != i]).sum().log()
        for i in range(size)
    ]
    return torch.stack(terms).mean()


def vicreg_exp(x: Tensor, y: Tensor) -> Tensor:
    matrices = [torch.cov(z.T) for z in (x, y)]
    return _variant(x, y, matrices)


def vicreg_ctr(x: Tensor, y: Tensor) -> Tensor:
    """Codes centered over the batch; lengths and inner products a dimension, not centered over dimensions."""
    matrices = []
    for z in (x, y):
        k = (z - z.mean(0)).T  # columns are samples, as in the paper
        matrices.append(k.T @ k / len(k))
    return _variant(x, y, matrices)


def _variant(x: Tensor, y: Tensor, matrices: list[Tensor]) -> Tensor:
    s = (x - y).square().sum() / x.numel()
    v = sum((1 - torch.sqrt(m.diagonal() + 1e-4)).clamp(min=0).mean() / 2 for m in matrices)
    return 25 * s + 25 * v + sum(log_sum_exp(m, 0.5) for m in matrices)


def barlow(x: Tensor, y: Tensor) -> Tensor:
    """Eq. 1 and 2 of Zbontar et al. (2021), with ε beside the variances as in the code."""
    a, b = x - x.mean(0), y - y.mean(0)
    norms = [torch.sqrt(z.square().mean(0) + 1e-5) for z in (a, b)]
    c = torch.einsum("bi,bj->ij", a, b) / len(x) / norms[0][:, None] / norms[1]
    same = torch.eye(len(c), dtype=torch.bool)
    return (1 - c[same]).square().sum() + 0.0051 * c[~same].square().sum()


EQUATIONS: dict[str, tuple[Criterion, Callable[[Tensor, Tensor], Tensor]]] = {
    "VICReg": (VICReg(), vicreg),
    "VICRegExp": (VICRegExp(temperature=0.5), vicreg_exp),
    "VICRegCtr": (VICRegCtr(temperature=0.5), vicreg_ctr),
    "BarlowTwins": (BarlowTwins(), barlow),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_values_and_gradients_are_the_papers(name: str, shape: tuple[int, int]) -> None:
    criterion, equation = EQUATIONS[name]
    if max(shape) > 100 and name.startswith("VICReg") and name != "VICReg":
        shape = (30, 27)  # the equation is written as a double loop
    x, y = two_views(*shape)
    output, exact = criterion(x, y), equation(x, y)
    torch.testing.assert_close(output.loss, exact, rtol=1e-11, atol=1e-12)
    ours, theirs = (torch.autograd.grad(value, (x, y)) for value in (output.loss, exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 13), (13, 6)])
def test_a_loss_is_the_weighted_sum_of_its_terms(shape: tuple[int, int]) -> None:
    x, y = two_views(*shape)
    weights = {"invariance": 2.0, "variance": 3.0, "covariance": 5.0}
    for criterion in (VICReg(**weights), VICRegExp(**weights), VICRegCtr(**weights)):
        loss, terms = criterion(x, y)
        torch.testing.assert_close(loss, sum(weights[name] * terms[name] for name in weights))
        assert list(terms) == list(weights) and not any(term.requires_grad for term in terms.values())
    loss, terms = BarlowTwins(redundancy=0.3)(x, y)
    torch.testing.assert_close(loss, terms["invariance"] + 0.3 * terms["redundancy"])


def test_the_settings_of_the_hinge() -> None:
    x, y = two_views(9, 4)
    expected = sum(
        (2.5 - torch.sqrt(z.var(0) + 0.01)).clamp(min=0).mean() / 2 for z in (x, y)
    )  # above every deviation
    for criterion in (VICReg(std=2.5, eps=0.01), VICRegExp(std=2.5, eps=0.01)):
        torch.testing.assert_close(criterion(x, y).terms["variance"], expected.detach())


# --- what is known without the equations --------------------------------------------------------------------


def whitened(n: int, d: int) -> Tensor:
    z = draw(n, d) - draw(n, d).mean(0)
    return torch.linalg.qr(z).Q * math.sqrt(n - 1)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_complete_collapse_costs_vicreg_24_75(shape: tuple[int, int]) -> None:
    constant = torch.full(shape, 3.0, dtype=DOUBLE)
    with pytest.warns(CollapseWarning, match="VICReg: all .* the same"):
        output = VICReg()(constant, constant.clone())
    assert output.loss.item() == pytest.approx(24.75, abs=1e-12)
    x = constant.clone().requires_grad_()
    with pytest.warns(CollapseWarning):
        VICReg()(x, constant).loss.backward()
    assert x.grad is not None and bool(torch.isfinite(x.grad).all())  # √ at 0 + ε


def test_whitened_codes_that_agree_cost_nothing() -> None:
    z = whitened(20, 8)
    assert VICReg()(z, z).loss.item() == pytest.approx(0, abs=1e-20)
    biased = z * math.sqrt(20 / 19)  # variance 1 divided by N
    assert BarlowTwins(eps=1e-12)(biased, biased).loss.item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_uncorrelated_dimensions_cost_log_d_minus_1(temperature: float) -> None:
    z = whitened(20, 8)
    terms = VICRegExp(temperature=temperature)(z, 2 * z).terms
    assert terms["covariance"].item() == pytest.approx(2 * math.log(7), rel=1e-12)


def test_anticorrelation_is_rewarded_by_the_exponent_and_punished_by_the_square() -> None:
    z = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=DOUBLE)  # Cov = [[2, -2], [-2, 2]]
    assert VICRegExp(temperature=4.0)(z, z).terms["covariance"].item() == pytest.approx(2 * -0.5)
    assert VICReg()(z, z).terms["covariance"].item() == pytest.approx(2 * 2 * 4 / 2)


def test_barlow_twins_of_a_view_and_itself_or_its_opposite() -> None:
    z = draw(20, 8)
    for sign, limit in ((1, 0.0), (-1, 4.0)):
        agreement = sign / (1 + 1e-5 / z.var(0, correction=0))
        loss = BarlowTwins(redundancy=0.0)(z, sign * z).loss
        torch.testing.assert_close(loss, (1 - agreement).square().sum())
        assert BarlowTwins(redundancy=0.0, eps=1e-14)(z, sign * z).loss.item() == pytest.approx(8 * limit)
    dead = torch.cat([z, torch.zeros(20, 1, dtype=DOUBLE)], 1)  # a collapsed dimension costs 1
    loss = BarlowTwins(eps=1e-14)(dead, dead).loss - BarlowTwins(eps=1e-14)(z, z).loss
    assert loss.item() == pytest.approx(1)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 10**6))
def test_what_leaves_the_losses_alone(n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (z.detach() for z in two_views(n, d, seed))
    rows, columns = torch.randperm(n, generator=generator), torch.randperm(d, generator=generator)
    shift, other = 5 * torch.randn(2, d, generator=generator, dtype=DOUBLE)
    flips = torch.randint(2, (d,), generator=generator, dtype=DOUBLE) * 2 - 1
    scale = torch.rand(d, generator=generator, dtype=DOUBLE) + 0.5
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=DOUBLE)).Q

    def same(criterion: Criterion, change: Callable[..., tuple[Tensor, Tensor]]) -> None:
        torch.testing.assert_close(criterion(*change(x, y)).loss, criterion(x, y).loss, rtol=1e-7, atol=1e-8)

    exact = BarlowTwins(eps=1e-13)
    for criterion in (VICReg(), VICRegExp(), VICRegCtr(), exact):
        same(criterion, lambda x, y: (y, x))
        same(criterion, lambda x, y: (x[rows], y[rows]))
        same(criterion, lambda x, y: (x[:, columns], y[:, columns]))
        same(criterion, lambda x, y: (x + shift, y + shift))
    same(VICReg(), lambda x, y: (x * flips, y * flips))
    same(exact, lambda x, y: (x * flips, y * flips))
    same(
        VICRegCtr(), lambda x, y: (x @ rotation, y @ rotation)
    )  # no direction is special: not centered again
    same(exact, lambda x, y: (x * scale + shift, y / scale + other))
    moved = VICReg()(x + shift, y + other).terms
    for name in ("variance", "covariance"):
        torch.testing.assert_close(moved[name], VICReg()(x, y).terms[name], rtol=1e-8, atol=1e-9)

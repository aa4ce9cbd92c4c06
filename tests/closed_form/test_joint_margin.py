"""The margin loss of siamese networks pair by pair, the duality of two contrasts, and codes of length 1."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import MarginContrastive, dimension_contrast, pair_loss, sample_contrast
from ebm.joint.margin import distances
from ebm.joint.sphere import unit
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def hadsell(x: Tensor, y: Tensor, dissimilar: int, margin: float) -> Tensor:
    """Hadsell, Chopra, LeCun (2006), eq. 1 and 4; the paper's Y is `dissimilar`."""
    distance = (x - y).square().sum().sqrt()
    return (1 - dissimilar) * distance**2 / 2 + dissimilar * (margin - distance).clamp(min=0) ** 2 / 2


def over_the_batch(x: Tensor, y: Tensor, margin: float, weight: float) -> Tensor:
    n = len(x)
    similar = torch.stack([hadsell(x[i], y[i], 0, margin) for i in range(n)]).mean()
    apart = [hadsell(x[i], y[j], 1, margin) for i in range(n) for j in range(n) if i != j]
    return similar + weight * torch.stack(apart).mean()


@pytest.mark.parametrize(("margin", "weight"), [(0.5, 1.0), (2.0, 0.3), (10.0, 2.0)])
def test_value_and_gradient_are_those_of_the_equation(margin: float, weight: float) -> None:
    found = []
    for function in (
        lambda x, y: MarginContrastive(margin, weight)(x, y).loss,
        lambda x, y: over_the_batch(x, y, margin, weight),
    ):
        x, y = (z.requires_grad_() for z in (draw(7, 3), draw(7, 3) + 0.4 * draw(7, 3, seed=1)))
        loss = function(x, y)
        found.append([loss.detach(), *torch.autograd.grad(loss, (x, y))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_the_terms_add_up_to_the_loss() -> None:
    output = MarginContrastive(margin=3.0, weight=0.7)(draw(5, 2), draw(5, 2, seed=1))
    added = output.terms["invariance"] + 0.7 * output.terms["separation"]
    assert float(output.loss) == pytest.approx(float(added), rel=1e-12)


def test_examples_that_are_a_margin_apart_are_left_alone() -> None:
    x = 3.0 * torch.eye(4, dtype=DOUBLE)  # 3√2 apart
    leaf = x.clone().requires_grad_()
    loss = MarginContrastive(margin=4.0)(leaf, x).loss
    assert float(loss.detach()) == 0.0
    assert torch.autograd.grad(loss, leaf)[0].abs().max() == 0.0


def test_collapsed_codes_cost_half_the_margin_squared_and_pull_nowhere() -> None:
    x = draw(1, 3).expand(4, 3).clone().requires_grad_()
    with pytest.warns(CollapseWarning):
        loss = MarginContrastive(margin=3.0)(x, x.detach()).loss
    assert float(loss.detach()) == pytest.approx(4.5, rel=1e-7)
    assert bool(torch.autograd.grad(loss, x)[0].isfinite().all())


def test_labeled_pairs() -> None:
    distance, similar = (
        torch.tensor([0.0, 0.5, 0.5, 3.0], dtype=DOUBLE),
        torch.tensor([True, True, False, False]),
    )
    expected = [hadsell(d, torch.zeros(()), 1 - int(s), 2.0) for d, s in zip(distance, similar, strict=True)]
    assert torch.equal(pair_loss(distance, similar, margin=2.0), torch.stack(expected))
    with pytest.raises(
        TypeError, match=r"similar is boolean, True for pairs that belong together; got torch.int64"
    ):
        pair_loss(distance, similar.long())
    with pytest.raises(
        ValueError, match=r"one label for each distance is needed; got shapes \(4,\) and \(3,\)"
    ):
        pair_loss(distance, similar[:3])


@pytest.mark.parametrize("far", [0.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_distances_are_not_lost(dtype: torch.dtype, far: float) -> None:
    """Codes that differ by little beside their length, or their mean: |x|² + |y|² - 2⟨x, y⟩ cancels."""
    x = (far + draw(20, 16)).to(dtype)
    y = (x.double() + 1e-3 * draw(20, 16, seed=1)).to(dtype)
    expected = torch.stack([(x.double() - b).square().sum(1).sqrt() for b in y.double()], 1)
    torch.testing.assert_close(distances(x, y), expected, rtol=1e-7, atol=0)


# --- duality ------------------------------------------------------------------------------------------------


@given(rows=st.integers(1, 9), dims=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_the_two_contrasts_differ_by_what_the_diagonals_hold(rows: int, dims: int, seed: int) -> None:
    """Garrido et al. (2022), theorem 3.3; each contrast also by its own sum over pairs."""
    z = draw(rows, dims, seed=seed)
    by_rows = sum(float(z[i] @ z[j]) ** 2 for i in range(rows) for j in range(rows) if i != j)
    by_columns = sum(float(z[:, a] @ z[:, b]) ** 2 for a in range(dims) for b in range(dims) if a != b)
    assert float(sample_contrast(z)) == pytest.approx(by_rows, rel=1e-11, abs=1e-12)
    assert float(dimension_contrast(z)) == pytest.approx(by_columns, rel=1e-11, abs=1e-12)
    left = dimension_contrast(z) + z.square().sum(0).square().sum()
    right = sample_contrast(z) + z.square().sum(1).square().sum()
    torch.testing.assert_close(left, right, rtol=1e-13, atol=0)


def doubly_normalized(rows: int, dims: int) -> Tensor:
    """Rows of length 1 and columns of length √(N/D), by normalizing them in turn."""
    z = draw(rows, dims)
    for _ in range(2000):
        z = z / z.norm(dim=0) * math.sqrt(rows / dims)
        z = unit(z)
    return z


@pytest.mark.parametrize(("rows", "dims"), [(12, 5), (5, 12), (8, 8)])
def test_on_codes_that_are_normalized_both_ways_they_differ_by_a_constant(rows: int, dims: int) -> None:
    z = doubly_normalized(rows, dims)
    gap = float(dimension_contrast(z) - sample_contrast(z))
    assert gap == pytest.approx(rows - rows**2 / dims, rel=1e-9, abs=1e-9)


# --- codes of length 1 --------------------------------------------------------------------------------------


def test_a_code_of_zeros_has_no_direction_and_no_gradient() -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=DOUBLE, requires_grad=True)
    out = unit(z)
    assert out.tolist() == [[0.6, 0.8], [0.0, 0.0]]
    (gradient,) = torch.autograd.grad((out * torch.tensor([1.0, 2.0], dtype=DOUBLE)).sum(), z)
    assert gradient[1].tolist() == [0.0, 0.0]
    expected = (
        torch.tensor([1.0, 2.0], dtype=DOUBLE) - 2.2 * out.detach()[0]
    ) / 5  # the part along the sphere
    torch.testing.assert_close(gradient[0], expected, rtol=1e-12, atol=1e-14)

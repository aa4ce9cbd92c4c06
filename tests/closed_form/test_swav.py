"""Sinkhorn's algorithm against its definition, and SwAV against its equations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import SwAV, sinkhorn
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def official(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Caron et al. (2020), as published: Q (K, B), sum 1; prototypes to 1/K, samples to 1/B; times B."""
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
@pytest.mark.parametrize("iterations", [1, 3, 30])
def test_sinkhorn_is_the_published_algorithm(epsilon: float, iterations: int) -> None:
    scores = torch.tanh(draw(7, 4))
    came = sinkhorn(scores, epsilon, iterations)
    torch.testing.assert_close(came, official(scores, epsilon, iterations), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("epsilon", [0.05, 0.002, 0.0002])
def test_sinkhorn_where_exp_overflows(dtype: torch.dtype, epsilon: float) -> None:
    """exp(S/ε) is beyond float64 in the last case; the oracle shifts potentials by hand."""
    scores = torch.tanh(draw(7, 4)).to(dtype)
    rows, columns = torch.zeros(7, 1, dtype=DOUBLE), torch.zeros(4, dtype=DOUBLE)
    exact = scores.double() / epsilon
    for _ in range(3):
        columns = -(exact + rows).logsumexp(0)
        rows = -(exact + columns).logsumexp(1, keepdim=True)
    q, expected = sinkhorn(scores, epsilon), (exact + rows + columns).exp()
    assert q.dtype == dtype
    digits = {
        torch.float64: 1e-10,
        torch.float32: 2e-3 * 0.0002 / epsilon,
        torch.float16: 1e-3,
        torch.bfloat16: 8e-3,
    }
    torch.testing.assert_close(q.double(), expected, rtol=0, atol=digits[dtype])


@given(
    samples=st.integers(1, 12),
    prototypes=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    epsilon=st.floats(0.01, 2.0),
)
def test_marginals(samples: int, prototypes: int, seed: int, epsilon: float) -> None:
    """Samples sum to 1 after any number of iterations."""
    scores = torch.tanh(draw(samples, prototypes, seed=seed))
    rows = sinkhorn(scores, epsilon).sum(1)
    torch.testing.assert_close(rows, torch.ones(samples, dtype=DOUBLE), rtol=1e-12, atol=0)
    # what a prototype has more for all samples is taken away at once
    moved = sinkhorn(scores + draw(prototypes, seed=seed + 1), epsilon)
    torch.testing.assert_close(moved, sinkhorn(scores, epsilon), rtol=1e-9, atol=1e-12)


def test_prototypes_are_used_alike_in_the_end() -> None:
    """And Q is best then: the gradient of ⟨Q, S⟩ + ε H(Q), S - ε log Q - ε, is constant but for the sums."""
    scores = torch.tanh(draw(12, 5))
    q = sinkhorn(scores, epsilon=0.3, iterations=200)
    torch.testing.assert_close(q.sum(0), torch.full((5,), 12 / 5, dtype=DOUBLE), rtol=1e-10, atol=0)
    slope = scores - 0.3 * q.log()
    residual = slope - slope.mean(0) - slope.mean(1, keepdim=True) + slope.mean()
    assert float(residual.abs().max()) < 1e-12


def test_constant_scores() -> None:
    assert torch.equal(sinkhorn(torch.full((8, 4), 0.7)), torch.full((8, 4), 0.25))


# --- SwAV ---------------------------------------------------------------------------------------------------


def reference(views: list[Tensor], directions: Tensor, assigning: int, tau: float, epsilon: float) -> Tensor:
    """The mean over assigning views a and over the other views v of -Σ_k q^a_k log p^v_k."""

    def units(z: Tensor) -> Tensor:
        return z / z.square().sum(1, keepdim=True).sqrt()

    scores = [units(z) @ units(directions).T for z in views]
    total = torch.zeros((), dtype=DOUBLE)
    for a in range(assigning):
        q = official(scores[a].detach(), epsilon, 3)
        others = [s for v, s in enumerate(scores) if v != a]
        for s in others:
            p = (s / tau).exp() / (s / tau).exp().sum(1, keepdim=True)
            total = total - (q * p.log()).sum(1).mean() / len(others) / assigning
    return total


@pytest.mark.parametrize(("number", "assigning"), [(2, 2), (2, 1), (5, 2), (3, 3)])
def test_value_and_gradients_are_those_of_the_equation(number: int, assigning: int) -> None:
    criterion = SwAV(
        5, 7, generator=torch.Generator(), assigning=assigning, temperature=0.2, epsilon=0.1
    ).double()
    directions = 3 * criterion.prototypes.directions.detach()  # of any length: it is divided out
    criterion.prototypes.directions.data = directions.clone()
    views = [draw(6, 5, seed=s).requires_grad_() for s in range(number)]
    loss = criterion(*views).loss
    came = [
        loss.detach(),
        *torch.autograd.grad(loss, [*views, criterion.prototypes.directions], materialize_grads=True),
    ]
    directions.requires_grad_()
    loss = reference(views, directions, assigning, 0.2, 0.1)
    expected = [loss.detach(), *torch.autograd.grad(loss, [*views, directions], materialize_grads=True)]
    for a, b in zip(came, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_collapsed_codes_are_told_apart_by_no_prototype() -> None:
    """All codes one, and prototypes that all fit it alike: q and p are uniform, L = log K."""
    criterion = SwAV(3, prototypes=4).double()
    ring = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=DOUBLE)
    criterion.prototypes.directions.data = torch.cat([ring, torch.ones(4, 1, dtype=DOUBLE)], 1)
    z = torch.tensor([[0.0, 0.0, 2.0]], dtype=DOUBLE).expand(6, 3)
    with pytest.warns(CollapseWarning):
        output = criterion(z, z)
    assert float(output.loss.detach()) == pytest.approx(math.log(4), rel=1e-12)
    assert float(output.terms["entropy"]) == pytest.approx(math.log(4), rel=1e-12)


def test_the_entropy_of_the_mean_assignment() -> None:
    criterion = SwAV(5, prototypes=7, generator=torch.Generator()).double()
    views = [draw(6, 5, seed=s) for s in range(2)]
    scores = [criterion.prototypes(z).detach() for z in views]
    used = torch.stack([official(s, 0.05, 3).mean(0) for s in scores]).mean(0)
    expected = -(used * used.log()).sum()
    torch.testing.assert_close(criterion(*views).terms["entropy"], expected, rtol=1e-10, atol=0)

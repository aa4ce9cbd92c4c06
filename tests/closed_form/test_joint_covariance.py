"""Covariances and correlations by the smaller matrix, against the matrices themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint.covariance import BLOCK, correlation, covariance, gram

DOUBLE = torch.float64
SHAPES = [(5, 12), (12, 5), (7, 7), (8, 7), (7, 8), (2, 3), (2, 1), (6, 1)]
LARGE = [(BLOCK + 30, BLOCK + 90), (2 * BLOCK + 10, BLOCK + 20)]  # Gram matrices of several blocks


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Codes whose dimensions have various scales and means and go together."""
    generator = torch.Generator().manual_seed(seed)
    normal = [
        torch.randn(*s, generator=generator, dtype=DOUBLE) for s in (shape, (shape[-1],) * 2, shape[-1:])
    ]
    return normal[0] @ normal[1] / shape[-1] ** 0.5 + 3 * normal[2]


def plain_covariance(z: Tensor) -> tuple[Tensor, Tensor]:
    """torch.cov, and the squares off its diagonal."""
    matrix = torch.cov(z.T).reshape(z.shape[1], z.shape[1])
    off = ~torch.eye(z.shape[1], dtype=torch.bool)
    return matrix.diagonal(), matrix[off].square().sum()


def plain_correlation(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The sums written out."""
    matrix = torch.einsum("ni,nj->ij", x, y) / len(x)
    off = ~torch.eye(x.shape[1], dtype=torch.bool)
    return matrix.diagonal(), matrix[off].square().sum()


def gradients(outputs: tuple[Tensor, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Of a sum that weighs every output differently."""
    weights = torch.linspace(-1, 2, outputs[0].numel(), dtype=inputs[0].dtype).view_as(outputs[0])
    return list(torch.autograd.grad((weights * outputs[0]).sum() + 0.7 * outputs[1].sum(), inputs))


@pytest.mark.parametrize("shape", SHAPES + LARGE)
def test_covariance_equals_that_of_the_matrix(shape: tuple[int, int]) -> None:
    z = draw(*shape).requires_grad_()
    ours, plain = covariance(z), plain_covariance(z)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(ours, [z]), gradients(plain, [z]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES + LARGE)
def test_correlation_equals_that_of_the_matrix(shape: tuple[int, int]) -> None:
    x, y = draw(*shape).requires_grad_(), draw(*shape, seed=1).requires_grad_()
    ours, plain = correlation(x, y), plain_correlation(x, y)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(ours, [x, y]), gradients(plain, [x, y]), rtol=1e-11, atol=1e-12)


@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_the_closed_gradients_are_those_of_finite_differences(n: int, d: int, seed: int) -> None:
    x, y = draw(n, d, seed=seed).requires_grad_(), draw(n, d, seed=seed + 1).requires_grad_()
    assert torch.autograd.gradcheck(covariance, x)
    assert torch.autograd.gradcheck(correlation, (x, y))


@pytest.mark.parametrize("shape", [(3, 2, 5, 9), (3, 9, 4), (2, BLOCK + 3, BLOCK + 5)])
def test_batches_of_codes_do_not_mix(shape: tuple[int, ...]) -> None:
    z = draw(*shape).requires_grad_()
    variance, penalty = covariance(z)
    assert variance.shape == (*shape[:-2], shape[-1]) and penalty.shape == shape[:-2]
    each = [plain_covariance(one) for one in z.reshape(-1, *shape[-2:])]
    plain = (
        torch.stack([v for v, _ in each]).view_as(variance),
        torch.stack([c for _, c in each]).view_as(penalty),
    )
    torch.testing.assert_close((variance, penalty), plain, rtol=1e-12, atol=1e-12)
    ours, theirs = gradients((variance, penalty), [z]), gradients(plain, [z])
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_what_leaves_covariances_alone(n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = draw(n, d, seed=seed)
    variance, penalty = covariance(z)
    rows, columns = torch.randperm(n, generator=generator), torch.randperm(d, generator=generator)
    signs = torch.randint(2, (d,), generator=generator, dtype=DOUBLE) * 2 - 1
    shift = 10 * torch.randn(d, generator=generator, dtype=DOUBLE)
    changed = (z * signs + shift)[rows][:, columns]
    torch.testing.assert_close(covariance(changed), (variance[columns], penalty), rtol=1e-9, atol=1e-11)
    scaled = covariance(3 * z)
    torch.testing.assert_close(scaled, (9 * variance, 81 * penalty), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [1, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_gram_matrices_of_blocks(n: int) -> None:
    z = draw(n, 3)
    torch.testing.assert_close(gram(z), torch.einsum("ik,jk->ij", z, z), rtol=1e-12, atol=1e-12)
    assert torch.equal(gram(z)[BLOCK:, :BLOCK], gram(z)[:BLOCK, BLOCK:].T)  # copied


@pytest.mark.parametrize("shape", [(2, 100_000), (100_000, 2)])
def test_the_larger_matrix_is_never_built(shape: tuple[int, int]) -> None:
    """It would have 80 GB. Of two codes, Cov = δδᵀ / 2, with δ their difference."""
    x, y = (torch.randn(*shape, generator=torch.Generator().manual_seed(s), dtype=DOUBLE) for s in (0, 1))
    x, y = x.requires_grad_(), y.requires_grad_()
    if shape[0] == 2:
        variance = (x[0] - x[1]).square() / 2
        exact = variance, variance.sum().square() - variance.square().sum()
        agreement = (x * y).sum(0) / 2
        both = agreement, ((x @ x.T) * (y @ y.T)).sum() / 4 - agreement.square().sum()
    else:
        exact, both = plain_covariance(x), plain_correlation(x, y)
    torch.testing.assert_close(covariance(x), exact, rtol=1e-11, atol=0)
    torch.testing.assert_close(correlation(x, y), both, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(gradients(covariance(x), [x]), gradients(exact, [x]))
    torch.testing.assert_close(gradients(correlation(x, y), [x, y]), gradients(both, [x, y]))


@pytest.mark.parametrize("shape", [(64, 512), (512, 64), (300, 310)])
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_single_precision(shape: tuple[int, int], mean: float) -> None:
    """Against float64 on the same numbers; a mean of 10 costs a digit of what is centered."""
    x, y = (draw(*shape, seed=s).float() + mean for s in (0, 1))
    x, y = x.requires_grad_(), y.requires_grad_()
    wide = x.detach().double().requires_grad_(), y.detach().double().requires_grad_()
    for ours, plain, single, double in (
        (covariance(x), plain_covariance(wide[0]), [x], [wide[0]]),
        (correlation(x, y), plain_correlation(*wide), [x, y], list(wide)),
    ):
        assert all(value.dtype == torch.float32 for value in ours)
        value, exact = ours[1].item(), plain[1].item()
        assert abs(value - exact) < 1e-6 * exact
        for g, exact in zip(gradients(ours, single), gradients(plain, double), strict=True):
            assert float((g - exact).norm() / exact.norm()) < 3e-6


def test_a_penalty_is_never_negative() -> None:
    """One dimension of many is alive: nothing is off the diagonal, and rounding may leave any sign."""
    for seed in range(20):
        z = torch.zeros(8, 100)
        z[:, 3] = draw(8, 1, seed=seed).float()[:, 0]
        assert 0 <= float(covariance(z)[1]) < 1e-5 * float(covariance(z)[0].square().sum())
        assert 0 <= float(correlation(z, z)[1]) < 1e-5 * float(correlation(z, z)[0].square().sum())


def test_second_derivatives_are_refused() -> None:
    """Also where the gradient is only a part of what is differentiated, which torch lets pass."""
    z = draw(3, 5).requires_grad_()
    for name, penalty in (("Covariance", covariance(z)[1]), ("Correlation", correlation(z, z)[1])):
        (gradient,) = torch.autograd.grad(penalty, z, create_graph=True)
        with pytest.raises(RuntimeError, match=f"{name} has no second derivatives.*without create_graph"):
            (z.square().sum() + gradient.square().sum()).backward()


def test_autocast_around_the_backward_pass_changes_nothing() -> None:
    for shape in ((6, 20), (20, 6)):
        z = draw(*shape).float().requires_grad_()
        for penalty in (lambda z: covariance(z)[1], lambda z: correlation(z, z)[1]):
            value = penalty(z)
            (exact,) = torch.autograd.grad(value, z, retain_graph=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                (gradient,) = torch.autograd.grad(value, z)
            assert torch.equal(gradient, exact)

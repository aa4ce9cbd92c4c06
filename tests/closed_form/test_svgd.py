"""SVGD: the direction by loops and by autograd, fixed points, Stein's identity, one particle, a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import energy, minimize
from ebm.infer import GradientDescent, svgd
from ebm.infer.svgd import direction
from ebm.targets import DoubleWell, Gaussian

COVARIANCE = torch.tensor([[1.0, 0.4], [0.4, 0.5]], dtype=torch.float64)
CENTER = torch.tensor([2.0, -1.0], dtype=torch.float64)


@energy
def shifted(y: Tensor, center: Tensor) -> Tensor:
    """A double well about the center."""
    return (((y - center) ** 2 - 1) ** 2).flatten(1).sum(1)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("bandwidth", [0.7, None])
def test_the_direction_by_loops_and_by_autograd(bandwidth: float | None) -> None:
    """φ(u_i) = 1/N Σ_j [-g_j k(u_j, u_i) + ∇_{u_j} k(u_j, u_i)], the kernel's gradient from autograd."""
    rows, number, dim = 3, 5, 2
    u, gradient = randn(rows, number, dim), randn(rows, number, dim, seed=1)
    phi = direction(u, gradient, bandwidth)
    for b in range(rows):
        h = bandwidth
        if h is None:
            pairs = sorted(float((u[b, i] - u[b, j]).norm()) for i in range(number) for j in range(i))
            h = pairs[(len(pairs) - 1) // 2] ** 2 / math.log(number)  # the lower one of the middle two
        for i in range(number):
            expected = torch.zeros(dim, dtype=torch.float64)
            for j in range(number):
                other = u[b, j].clone().requires_grad_()
                kernel = torch.exp(-((other - u[b, i]) ** 2).sum() / h)
                (slope,) = torch.autograd.grad(kernel, other)
                expected += (-gradient[b, j] * kernel.detach() + slope) / number
            torch.testing.assert_close(phi[b, i], expected, rtol=1e-11, atol=1e-12)


def test_the_direction_is_the_fastest_in_kl() -> None:
    """-∂/∂ε KL(q_ε, p) = Σ_ij of the Stein kernel / N² = mean of [-g·φ + ∇·φ], theorem 3.1, with ∇·φ by
    autograd.
    """
    number, h = 6, 0.9
    u = randn(1, number, 2)
    target = Gaussian(CENTER, COVARIANCE)
    gradient = (u[0] - CENTER) @ torch.linalg.inv(COVARIANCE)
    assert torch.allclose(gradient, target.value_and_grad("y", y=u[0])[1])

    def phi(at: Tensor) -> Tensor:
        kernel = torch.exp(-((u[0] - at) ** 2).sum(1) / h)
        return ((-gradient + 2 / h * (at - u[0])) * kernel.unsqueeze(1)).mean(0)

    rate = 0.0
    for j in range(number):
        spread = torch.autograd.functional.jacobian(phi, u[0, j]).diagonal().sum()
        rate += float(-gradient[j] @ phi(u[0, j]) + spread) / number
    stein = 0.0
    for a in range(number):
        for b in range(number):
            d, k = u[0, a] - u[0, b], math.exp(-float(((u[0, a] - u[0, b]) ** 2).sum()) / h)
            cross = 2 / h * k * 2 - 4 / h**2 * k * float(d @ d)  # ∇_a·∇_b k
            stein += (
                k * float(gradient[a] @ gradient[b]) + 2 / h * k * float(d @ (gradient[a] - gradient[b])) * -1
            )
            stein += cross
    assert rate == pytest.approx(stein / number**2, rel=1e-9) and rate > 0
    torch.testing.assert_close(direction(u, gradient[None], h)[0], torch.stack([phi(x) for x in u[0]]))


def test_one_particle_descends_to_a_minimum() -> None:
    start, center = randn(4, 3), randn(4, 3, seed=1)
    found = svgd(shifted, start[None], given={"center": center}, step_size=0.02, steps=60, beta=1.5)
    descent = minimize(
        shifted, start, GradientDescent(0.03), given={"center": center}, max_steps=60, tol=0.0, trace=True
    )
    torch.testing.assert_close(found.value[0], descent.trace.value[-1], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(found.energy[0], shifted(y=found.value[0], center=center))


def test_a_gaussian_and_the_identity_of_stein() -> None:
    """At rest: φ = 0, so ⟨k(u, v)(-∇E)⟩ + ⟨∇k⟩ = 0; the mean exact, the covariance nearer with more
    particles.
    """
    off = []
    for number in (20, 120):
        start = randn(number, 1, 2)
        found = svgd(Gaussian(CENTER, COVARIANCE), start, step_size=0.5, steps=1500)
        assert found.value.shape == (number, 1, 2) and found.energy.shape == (number, 1)
        u = found.value.transpose(0, 1)
        gradient = (u - CENTER) @ torch.linalg.inv(COVARIANCE)
        assert float(direction(u, gradient).abs().max()) < 2e-3
        torch.testing.assert_close(u[0].mean(0), CENTER, rtol=0, atol=2e-2)
        off.append(float((torch.cov(u[0].T, correction=0) - COVARIANCE).abs().max()))
    assert off[1] < 0.08 and off[1] < 0.5 * off[0]


def test_beta_is_the_inverse_temperature() -> None:
    one, four = (
        svgd(Gaussian(CENTER), CENTER + s * randn(50, 1, 2), step_size=e, steps=400, beta=b).value
        for b, s, e in ((1.0, 1.0, 0.4), (4.0, 0.5, 0.1))
    )
    torch.testing.assert_close(four - CENTER, (one - CENTER) / 2, rtol=1e-8, atol=1e-8)


def test_rows_are_sets_of_their_own_and_variables_have_names() -> None:
    center, start = randn(3, 4, seed=1), randn(7, 3, 4)
    whole = svgd(shifted, start, given={"center": center}, step_size=0.03, steps=30, adagrad=True).value
    for row in range(3):
        alone = svgd(
            shifted,
            start[:, [row]],
            given={"center": center[[row]]},
            step_size=0.03,
            steps=30,
            adagrad=True,
        )
        torch.testing.assert_close(alone.value[:, 0], whole[:, row], rtol=1e-11, atol=1e-11)

    @energy
    def both(y: Tensor, z: Tensor) -> Tensor:
        return 0.5 * y.square().flatten(1).sum(1) + (z - y[:, 0, 0]) ** 2

    @energy
    def flat(v: Tensor) -> Tensor:
        return 0.5 * v[:, :4].square().sum(1) + (v[:, 4] - v[:, 0]) ** 2

    v = randn(6, 2, 5)
    named = svgd(both, {"y": v[..., :4].unflatten(2, (2, 2)), "z": v[..., 4]}, step_size=0.1, steps=9).value
    torch.testing.assert_close(
        torch.cat([named["y"].flatten(2), named["z"].unsqueeze(2)], 2),
        svgd(flat, v, step_size=0.1, steps=9).value,
    )


def test_adaptive_steps_by_hand() -> None:
    start, target = randn(5, 1, 2), DoubleWell(2).double()
    u, squares = start.transpose(0, 1), torch.zeros(1, 5, 2, dtype=torch.float64)
    for _ in range(3):
        phi = direction(u, 4 * (u**2 - 1) * u, 0.5)
        squares = squares + phi**2
        u = u + 0.1 * phi / (squares.sqrt() + 1e-12)
    found = svgd(target, start, step_size=0.1, steps=3, bandwidth=0.5, adagrad=True)
    torch.testing.assert_close(found.value, u.transpose(0, 1), rtol=1e-11, atol=1e-12)


def test_what_it_refuses_and_counts() -> None:
    target, start = DoubleWell(2).double(), randn(5, 1, 2)
    with pytest.raises(ValueError, match=r"particles are \(N, B, \*shape\).*write particles\.unsqueeze\(1\)"):
        svgd(target, randn(5), step_size=0.1, steps=1)
    for name, wrong in (("step_size", -1.0), ("bandwidth", 0.0), ("beta", math.nan), ("steps", 0)):
        with pytest.raises(ValueError, match=name):
            svgd(target, start, **{"step_size": 0.1, "steps": 1, name: wrong})
    two = torch.cat([start, 100 * start], 1)
    with pytest.warns(RuntimeWarning, match=r"NaN or infinite \(rows \[1\]\)"):
        found = svgd(target, two, step_size=0.1, steps=20)  # the second set explodes
    assert found.nonfinite.tolist()[0] == 0 and found.nonfinite.tolist()[1] > 0

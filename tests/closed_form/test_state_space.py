"""State spaces: the minimum of the energy against Kalman's filter and the smoother, F against sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from ebm import minimize
from ebm.infer import LBFGS
from ebm.loss import AverageEnergy
from ebm.regularized import StateSpace
from ebm.train import fit

Array = NDArray[np.float64]
HIDDEN, SEEN, LENGTH, ROWS = 3, 2, 7, 4


def model(generator: Generator, hidden: int = HIDDEN, seen: int = SEEN) -> StateSpace:
    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def root(size: int) -> Tensor:
        return 0.3 * randn(size, size) + torch.eye(size, dtype=torch.float64)

    rotation = torch.linalg.qr(randn(hidden, hidden))[0]
    return StateSpace(
        0.9 * rotation, randn(seen, hidden), root(hidden), root(seen), randn(hidden), root(hidden)
    )


def kalman(m: StateSpace, y: Array) -> tuple[Array, Array, float]:
    """Smoothed means and covariances and log p(y) of one sequence, as in the textbooks."""
    A, C, a = (t.detach().numpy() for t in (m.transition, m.emission, m.start))
    Q, R, P = (t.detach().tril().numpy() for t in (m.transition_noise, m.emission_noise, m.start_noise))
    Q, R, P = Q @ Q.T, R @ R.T, P @ P.T
    predicted, filtered, evidence = [], [], 0.0
    for t, seen in enumerate(y):
        if t:
            a, P = A @ a, A @ P @ A.T + Q
        predicted.append((a, P))
        S = C @ P @ C.T + R
        off = seen - C @ a
        evidence -= 0.5 * (off @ np.linalg.solve(S, off) + np.linalg.slogdet(2 * np.pi * S)[1])
        gain = P @ C.T @ np.linalg.inv(S)
        a, P = a + gain @ off, P - gain @ C @ P
        filtered.append((a, P))
    means, covariances = [a], [P]
    for t in reversed(range(len(y) - 1)):
        (f, F), (p, V) = filtered[t], predicted[t + 1]
        J = F @ A.T @ np.linalg.inv(V)
        means.append(f + J @ (means[-1] - p))
        covariances.append(F + J @ (covariances[-1] - V) @ J.T)
    return np.stack(means[::-1]), np.stack(covariances[::-1]), float(evidence)


@pytest.mark.parametrize("length", [1, 2, LENGTH, 60])
def test_the_minimum_is_the_smoother_and_f_the_filters_evidence(length: int, generator: Generator) -> None:
    m = model(generator)
    y = torch.randn(ROWS, length, SEEN, generator=generator, dtype=torch.float64)
    found, smoothed, F = m.infer(y), m.smooth(y), m.free_energy(y=y)
    for row in range(ROWS):
        mean, covariance, evidence = kalman(m, y[row].numpy())
        torch.testing.assert_close(found.value[row], torch.from_numpy(mean), rtol=0, atol=1e-9)  # type: ignore[index]
        torch.testing.assert_close(smoothed.covariance, torch.from_numpy(covariance), rtol=0, atol=1e-9)
        assert F[row].item() == pytest.approx(-evidence, abs=1e-8)


def test_a_general_minimizer_finds_it_too(generator: Generator) -> None:
    m = model(generator)
    y = torch.randn(ROWS, LENGTH, SEEN, generator=generator, dtype=torch.float64)
    start = torch.zeros(ROWS, LENGTH, HIDDEN, dtype=torch.float64)
    found = minimize(m, {"z": start}, LBFGS(), given={"y": y}, max_steps=500, tol=1e-10)
    torch.testing.assert_close(found.value["z"], m.infer(y).value, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.energy, m.infer(y).energy, rtol=1e-12, atol=0)


def test_the_energy_is_the_density_of_the_whole_way(generator: Generator) -> None:
    """(z, y) as one Gaussian vector, made from its noises by a linear map of Jacobian 1 up to the scales."""
    m = model(generator)
    noises = [m.start_noise, *[m.transition_noise] * (LENGTH - 1), *[m.emission_noise] * LENGTH]
    e = [torch.randn(n.shape[0], generator=generator, dtype=torch.float64) for n in noises]
    kicks = [n.tril() @ each for n, each in zip(noises, e, strict=True)]
    z = [m.start + kicks[0]]
    for kick in kicks[1:LENGTH]:
        z.append(m.transition @ z[-1] + kick)
    y = [m.emission @ each + kick for each, kick in zip(z, kicks[LENGTH:], strict=True)]
    size = sum(len(each) for each in e)
    scale = sum(float(n.diagonal().abs().log().sum()) for n in noises)
    expected = 0.5 * float(torch.cat(e).square().sum()) + 0.5 * size * math.log(2 * math.pi) + scale
    assert m(y=torch.stack(y)[None], z=torch.stack(z)[None]).item() == pytest.approx(expected, rel=1e-12)


def test_f_is_the_sum_over_all_ways(generator: Generator) -> None:
    m = model(generator, hidden=1, seen=1)
    y = torch.randn(3, 2, 1, generator=generator, dtype=torch.float64)
    grid = torch.linspace(-12, 12, 401, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid).unsqueeze(2)
    cell = float(grid[1] - grid[0]) ** 2
    for row in y:
        E = m(y=row.expand(len(z), -1, -1), z=z)
        summed = -float((-E).logsumexp(0)) - math.log(cell)
        assert float(m.free_energy(y=row[None])) == pytest.approx(summed, abs=1e-8)


def test_f_can_be_differentiated_and_learned_from(generator: Generator) -> None:
    m = model(generator)
    y = torch.randn(2, 4, SEEN, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: m.free_energy(y=v), (y,))
    turn = torch.tensor([[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]]).double()
    eye = torch.eye(2, dtype=torch.float64)
    z = [torch.randn(200, 2, generator=generator, dtype=torch.float64)]
    for _ in range(19):
        z.append(z[-1] @ turn.T + 0.05 * torch.randn(200, 2, generator=generator, dtype=torch.float64))
    data = torch.stack(z, 1) + 0.1 * torch.randn(200, 20, 2, generator=generator, dtype=torch.float64)
    learned = StateSpace(nn.Parameter(0.9 * eye), eye, 0.05 * eye, 0.1 * eye, torch.zeros(2).double(), eye)
    before = float(learned.free_energy(y=data).mean().detach())
    fit(
        learned.free_energy,
        AverageEnergy(),
        {"y": data},
        optimizer=lambda p: torch.optim.Adam(p, lr=0.02),
        steps=150,
        batch_size=200,
        generator=generator,
        progress=False,
    )
    assert float(learned.free_energy(y=data).mean().detach()) < before
    torch.testing.assert_close(learned.transition.detach(), turn, rtol=0, atol=0.02)


def test_what_does_not_fit_is_refused(generator: Generator) -> None:
    m, eye = model(generator), torch.eye(2)
    with pytest.raises(ValueError, match=r"y is \(B, T, 2\)"):
        m.infer(torch.zeros(3, 5, 4).double())
    with pytest.raises(ValueError, match="z is"):
        m(y=torch.zeros(3, 5, 2).double(), z=torch.zeros(3, 4, 3).double())
    with pytest.raises(ValueError, match="start is"):
        StateSpace(eye, eye, eye, eye, torch.zeros(3), eye)
    with pytest.raises(ValueError, match="without noise"):
        StateSpace(eye, eye, 0 * eye, eye, torch.zeros(2), eye)

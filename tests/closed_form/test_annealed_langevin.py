"""Annealed Langevin dynamics: the schedule, the loop by hand, and its law on a Gaussian in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm import energy
from ebm.infer import annealed_langevin

SPREAD, MIDDLE = 0.5, 3.0


@energy
def noisy(y: Tensor, sigma: Tensor) -> Tensor:
    """Data N(3, 0.5²) in every coordinate, with noise of standard deviation σ on it."""
    return ((y - MIDDLE) ** 2).flatten(1).sum(1) / (2 * (SPREAD**2 + sigma**2))


def test_the_loop_by_hand() -> None:
    """The code of Song & Ermon (2019): x ← x + α_i s + √(2α_i) z, α_i = ε σ_i²/σ_L²; 1 → 0.01 is a factor
    10⁴.
    """
    sigmas, step, steps = [1.0, 0.1, 0.01], 2e-5, 3
    start = torch.zeros(4, 2, 3, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    x, alphas = start, []
    for sigma in sigmas:
        alphas.append(step * sigma**2 / sigmas[-1] ** 2)
        for _ in range(steps):
            score = -(x - MIDDLE) / (SPREAD**2 + sigma**2)
            z = torch.randn(x.shape, generator=g, dtype=torch.float64)
            x = x + alphas[-1] * score + math.sqrt(2 * alphas[-1]) * z
    assert alphas[0] / alphas[-1] == pytest.approx(1e4)
    for denoise in (False, True):
        g = torch.Generator().manual_seed(0)
        found = annealed_langevin(
            noisy, start, sigmas, step_size=step, steps=steps, denoise=denoise, generator=g
        )
        last = x - sigmas[-1] ** 2 * (x - MIDDLE) / (SPREAD**2 + sigmas[-1] ** 2) if denoise else x
        torch.testing.assert_close(found.value, last.unsqueeze(0), rtol=1e-12, atol=1e-12)
        assert not found.value.requires_grad


def test_its_law_on_a_gaussian_is_known() -> None:
    """Mean and variance go through an affine recursion at each step; 20,000 chains follow it."""
    sigmas, step, steps, chains = [2.0, 0.7, 0.2], 0.004, 15, 20_000
    mean, variance = 0.0, 0.0
    for sigma in sigmas:
        alpha = step * (sigma / sigmas[-1]) ** 2
        keep = 1 - alpha / (SPREAD**2 + sigma**2)
        for _ in range(steps):
            mean, variance = MIDDLE + keep * (mean - MIDDLE), keep**2 * variance + 2 * alpha
    start = torch.zeros(chains, 1, dtype=torch.float64)
    g = torch.Generator().manual_seed(1)
    draws = annealed_langevin(noisy, start, torch.tensor(sigmas), step_size=step, steps=steps, generator=g)
    came = draws.value[0, :, 0]
    assert abs(float(came.mean()) - mean) < 4 * math.sqrt(variance / chains)
    assert abs(float(came.var()) / variance - 1) < 4 * math.sqrt(2 / chains)


def test_denoising_takes_the_noise_off() -> None:
    """E[x | y] = y - σ²∇E(y, σ) (Tweedie): of y ~ N(3, s² + σ²) it has the variance s⁴/(s² + σ²)."""
    sigma, chains = 0.5, 20_000
    start = MIDDLE + math.sqrt(SPREAD**2 + sigma**2) * torch.randn(
        chains, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    g = torch.Generator().manual_seed(1)
    draws = annealed_langevin(noisy, start, [sigma], step_size=1e-3, steps=5, denoise=True, generator=g)
    exact = SPREAD**4 / (SPREAD**2 + sigma**2)
    assert (
        abs(float(draws.value.var()) / exact - 1) < 4 * math.sqrt(2 / chains) + 2e-3
    )  # ε's bias: ε/2(s² + σ²)


def test_given_variables_a_name_of_the_level_and_refusals() -> None:
    @energy
    def about(y: Tensor, center: Tensor, noise: Tensor) -> Tensor:
        return ((y - center) ** 2).sum(1) / (2 * (0.01 + noise**2))

    center = torch.tensor([[-5.0], [5.0]])
    g = torch.Generator().manual_seed(0)
    found = annealed_langevin(
        about,
        torch.zeros(2, 1),
        [3.0, 1.0, 0.1],
        given={"center": center},
        step_size=2e-3,
        steps=50,
        sigma_name="noise",
        generator=g,
    )
    assert bool(((found.value[0] - center).abs() < 1).all())
    start = torch.zeros(2, 1)
    for sigmas in ([], [0.1, 1.0], [1.0, 1.0], [1.0, 0.0], [[1.0]]):
        with pytest.raises(ValueError, match="sigmas are levels of noise that fall, all positive"):
            annealed_langevin(noisy, start, sigmas, step_size=0.1)
    with pytest.raises(ValueError, match="step_size must be finite and positive"):
        annealed_langevin(noisy, start, [1.0], step_size=0.0)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        annealed_langevin(noisy, start, [1.0], step_size=0.1, steps=0)
    with pytest.raises(TypeError, match="sigma"):
        annealed_langevin(about, start, [1.0], given={"center": center}, step_size=0.1)

"""Annealed Langevin dynamics: from much noise to little, each level begun where the last one ended.

    σ_1 > σ_2 > ... > σ_L,        ε_i = ε σ_i²/σ_L²
    T times at each level:        y ← y - ε_i ∇E(y, σ_i) + √(2ε_i) ξ,        ξ ~ N(0, I)

E(·, σ) is the energy of data with noise of standard deviation σ, as denoising score matching shapes it. A
large σ bridges the valleys between modes and shows the way from afar; the small ones then fill in the detail.
With ε_i ∝ σ_i² the ratio of drift to noise is about the same at all levels.

Two conventions of ε go by this name, a factor 2 apart. Here ε is that of `Langevin`, as in the code of the
paper (x ← x + α s + √(2α) z); the paper's text writes x ← x + ½α s + √α z, that is ε = α/2.

Reference: Song & Ermon (2019), "Generative modeling by estimating gradients of the data distribution",
algorithm 1 (L = 10 levels, geometric from 1 to 0.01, T = 100, 2e-5 for the step); Jolicoeur-Martineau et al.
(2020), "Adversarial score matching and improved sampling for image generation", for the last step, without
noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.langevin import Langevin
from ebm.infer.method import count, positive
from ebm.infer.pose import pose
from ebm.infer.sample import sample
from ebm.solution import Samples, one_tensor


def annealed_langevin(
    energy: Energy | Bound,
    over: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    step_size: float,
    steps: int = 100,
    given: Mapping[str, Any] | None = None,
    denoise: bool = False,
    sigma_name: str = "sigma",
    generator: torch.Generator | None = None,
) -> Samples:
    """Draw from p ∝ exp(-E(y, σ_L)) by Langevin dynamics at falling levels of noise.

    Args:
        energy: of one free variable and the noise level, a number per row, (B,).
        over: the starting values of the free variable, (B, *shape), such as uniform noise.
        sigmas: σ_1 to σ_L, falling, all positive.
        step_size: ε > 0, the step of the last level; σ_i²/σ_L² as much at level i.
        steps: T >= 1 at each level.
        given: the values of all other variables but the noise level.
        denoise: end with y ← y - σ_L² ∇E(y, σ_L), the mean of what is left when the noise is taken off.
        sigma_name: how the energy calls the noise level.
        generator: source of all randomness.

    Returns:
        `Samples`, whose value is (1, B, *shape): the last state of every chain.

    Raises:
        TypeError, ValueError: for input that does not fit together.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def data_at_3(y, sigma):  # and noise on it
        ...     return ((y - 3) ** 2).sum(1) / (2 * (0.25 + sigma**2))
        >>> g, sigmas = torch.Generator().manual_seed(0), [2.0, 1.0, 0.5, 0.1]
        >>> draws = annealed_langevin(
        ...     data_at_3, torch.zeros(1000, 2), sigmas, step_size=0.005, steps=100, generator=g
        ... )
        >>> bool((draws.value.mean() - 3).abs() < 0.05), bool((draws.value.std() - 0.51).abs() < 0.05)
        (True, True)
    """
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    if (
        levels.ndim != 1
        or not len(levels)
        or not bool((levels > 0).all())
        or bool((levels.diff() >= 0).any())
    ):
        raise ValueError(f"sigmas are levels of noise that fall, all positive; got {levels.tolist()}.")
    if not isinstance(over, Tensor):
        raise TypeError(
            f"annealed_langevin moves one free variable: `over` is a tensor of starting values, (B, *shape); "
            f"got {type(over).__name__}."
        )
    positive("step_size", step_size)
    count("steps", steps)
    known, y = dict(given or {}), over.detach()
    for sigma in levels.tolist():
        known[sigma_name] = y.new_full((len(y),), sigma)
        method = Langevin(step_size * (sigma / float(levels[-1])) ** 2)
        draws = sample(energy, y, method, given=known, num_samples=1, burn_in=steps - 1, generator=generator)
        y = one_tensor(draws.value)[0]
    if denoise:
        with torch.no_grad():
            problem, y = pose(energy, y, known, generator=generator)
            y = torch.add(y, problem.detach().value_and_grad(y)[1], alpha=-(float(levels[-1]) ** 2))
    return replace(draws, value=y.unsqueeze(0))

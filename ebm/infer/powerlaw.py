"""Colored noise: noise whose power falls with the frequency, so that neighbors in time move together.

    S(f) ∝ f^(-β),  f = 1/T, ..., ½,  S(0) = S(1/T)          β = 0 white, 1 pink, 2 red (a random walk's)

White noise is filtered: its Fourier coefficients are multiplied by √S and transformed back. Actions that are
white along time cancel one another before a mass has moved; colored ones push for a while.

Reference: Timmer & Koenig (1995), "On generating power law noise"; Pinneri et al. (2020), "Sample-efficient
cross-entropy method for real-time planning", sect. 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.problem import Problem


def powerlaw_noise(white: Tensor, exponent: float, dim: int = -1) -> Tensor:
    """Filter white noise along one dimension to the spectrum S(f) ∝ f^(-β), with a variance of exactly 1.

    x = irfft(√(S / mean S) · rfft(white)), the mean over all T frequencies, positive and negative.

    The noise is periodic: its first and last entries are neighbors. The package `colorednoise`, which iCEM's
    authors use, leaves S(0) out of the mean, so its variance is above 1: for T = 30 by 5 % (β = 0), 32 %
    (β = 2) and 42 % (β = 3).

    Args:
        white: independent standard normal noise, floating.
        exponent: β >= 0, finite; with 0 the noise stays as it is.
        dim: the dimension of time, of T entries.

    Returns:
        The noise, like `white`.

    Raises:
        ValueError: if the exponent is negative or not finite.

    Example:
        >>> white = torch.randn(2000, 30, generator=torch.Generator().manual_seed(0))
        >>> red = powerlaw_noise(white, 2.0)
        >>> bool((red[:, 1:] * red[:, :-1]).mean() > 0.8)
        True
    """
    if not 0 <= exponent < float("inf"):
        raise ValueError(f"exponent must be finite and at least 0 (white noise); got {exponent}.")
    length = white.shape[dim]
    if exponent == 0 or length == 1:
        return white
    rows = white.movedim(dim, -1)
    frequency = torch.arange(length, dtype=white.dtype, device=white.device)
    frequency = torch.minimum(frequency, length - frequency).clamp(min=1)  # of all T, in units of 1/T
    amplitude = frequency ** (-exponent / 2)
    amplitude = amplitude / amplitude.square().mean().sqrt()
    spectrum = torch.fft.rfft(rows) * amplitude[: length // 2 + 1]
    return torch.fft.irfft(spectrum, n=length).movedim(-1, dim)


def colored(problem: Problem, like: Tensor, count: int, exponent: float) -> Tensor:
    """Noise for `count` candidates a row, (B, count, *shape), colored along the first dimension of `shape`.

    With several free variables each is colored along its own first dimension; numbers stay white.
    """
    white = problem.normal(like, count)
    if exponent == 0:
        return white
    values = problem.unpack(white)
    done = [powerlaw_noise(v, exponent, dim=2) if v.ndim > 2 else v for v in values.values()]
    return done[0] if len(done) == 1 else torch.cat([v.reshape(*v.shape[:2], -1) for v in done], 2)

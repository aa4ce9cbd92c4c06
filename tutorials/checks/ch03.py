"""Checks of chapter 03: a step of Langevin dynamics, MALA's test, and log Z from points in a box."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape


def check_langevin_step(langevin_step: Callable[[Tensor, Tensor, float, float, Tensor], Tensor]) -> None:
    """y - ε ∇E + √(2ε/β) ξ."""
    for seed, (eps, beta) in enumerate(((0.1, 3.0), (0.4, 0.5), (0.02, 7.0))):
        y, slope, noise = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(seed))
        kept = y.clone()
        found = langevin_step(y, slope, eps, beta, noise)
        require_shape(found, (5, 2), "langevin_step")
        require_close(y, kept, "langevin_step must not change the y that it is given: no y -= ...")
        down, loud = y - eps * slope, math.sqrt(2 * eps / beta) * noise
        refuse(found, y + eps * slope + loud, "This goes uphill: the gradient's sign is turned.")
        refuse(found, down, "The noise is missing: this is gradient descent, which comes to rest.")
        refuse(found, down + math.sqrt(eps / beta) * noise, "A 2 is missing: the noise is √(2ε/β) ξ.")
        refuse(
            found,
            down + math.sqrt(2 * eps) * noise,
            "β is missing: the colder (the larger β), the less noise, √(2ε/β).",
        )
        refuse(
            found,
            down + math.sqrt(2 * eps * beta) * noise,
            "β is upside down: the colder (the larger β), the less noise, √(2ε/β).",
        )
        refuse(found, down + 2 * eps / beta * noise, "The root is missing: 2ε/β is the noise's variance.")
        refuse(
            found,
            y - eps * beta * slope + loud,
            "β is in there twice: with √(2ε/β) in the noise the gradient's step is ε alone.",
        )
        require_close(found, down + loud, "The step differs from y - ε ∇E + √(2ε/β) ξ.")


def _energy(y: Tensor) -> Tensor:
    return (0.25 * y**4 + 0.5 * y).sum(1)


def _gradient(y: Tensor) -> Tensor:
    return y**3 + 0.5


def check_accept_chance(accept_chance: Callable[..., Tensor]) -> None:
    """min(1, p(new) q(y|new) / (p(y) q(new|y)))."""
    for seed, (eps, beta) in enumerate(((0.3, 1.7), (0.1, 0.4), (0.6, 2.5))):
        y, noise = torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(seed))
        new = y - eps * _gradient(y) + math.sqrt(2 * eps / beta) * noise
        found = accept_chance(_energy, _gradient, y, new, eps, beta)
        require_shape(found, (20,), "accept_chance")

        def log_q(end: Tensor, start: Tensor, eps: float = eps, beta: float = beta) -> Tensor:
            return -beta * (end - start + eps * _gradient(start)).square().sum(1) / (4 * eps)

        gain = _energy(y) - _energy(new)
        ratio = log_q(y, new) - log_q(new, y)
        log_ratio = beta * gain + ratio

        def chance(log: Tensor) -> Tensor:
            return log.exp().clamp(max=1)

        refuse(found, log_ratio.exp(), "A probability is at most 1: min(1, ratio) is missing.")
        refuse(found, log_ratio, "This is the logarithm of the ratio; the chance is min(1, exp of it).")
        refuse(found, log_ratio.clamp(max=0), "This is the logarithm of the chance; take exp of it.")
        refuse(
            found,
            chance(beta * gain),
            "q is missing: a step downhill is proposed more often than the way back, q(y|new) / q(new|y) makes up.",
        )
        refuse(
            found,
            chance(beta * gain - ratio),
            "q is upside down: it is q(y|new), of the way back, over q(new|y).",
        )
        refuse(
            found,
            chance(-log_ratio),
            "The ratio is upside down: it is p(new) over p(y), high where E(new) is low.",
        )
        refuse(
            found,
            chance(-beta * gain + ratio),
            "The energy's sign is turned: p ∝ exp(-βE), so a lower E(new) is accepted more often.",
        )
        refuse(found, chance(gain + ratio), "β is missing in p: it is β (E(y) - E(new)).")
        refuse(found, chance(beta * gain + ratio / beta), "β is missing in q: -β|b - a + ε∇E(a)|² / 4ε.")
        refuse(
            found,
            chance(beta * gain + 2 * ratio),
            "q is off by a 2: the variance of a step is 2ε/β, so |...|² / 4ε.",
        )
        require_close(found, chance(log_ratio), "α differs from min(1, p(new) q(y|new) / (p(y) q(new|y))).")


def check_log_z(log_z: Callable[[Tensor, float, float], Tensor]) -> None:
    """log of volume times the mean of exp(-βE)."""
    for seed, (volume, beta) in enumerate(((6.0, 0.5), (0.3, 2.0), (20.0, 1.3))):
        energies = 3 * torch.randn(40, generator=torch.Generator().manual_seed(seed))
        found = log_z(energies, volume, beta)
        require_shape(found, (), "log_z")
        log_k, log_v = math.log(40), math.log(volume)
        total = torch.logsumexp(-beta * energies, 0)
        right = total - log_k + log_v
        refuse(found, -right / beta, "This is the free energy -(1/β) log Z; log Z itself is asked for.")
        refuse(
            found, -right, "The sign is turned: log Z is the logarithm of an integral, nothing is negated."
        )
        refuse(
            found, total + log_v, "1/N is missing: with twice as many points the integral is still the same."
        )
        refuse(found, total - log_k, "The volume is missing: an integral is the volume times the mean.")
        refuse(
            found,
            total,
            "1/N and the volume are missing: an integral is the volume times the mean of the values.",
        )
        refuse(
            found,
            torch.logsumexp(beta * energies, 0) - log_k + log_v,
            "The energy's sign is turned: it is exp(-βE), large where the energy is low.",
        )
        refuse(found, torch.logsumexp(-energies, 0) - log_k + log_v, "β is missing: it is exp(-βE).")
        refuse(
            found,
            -beta * energies.mean() + log_v,
            "This is the mean of the logarithms; take the logarithm of the mean of exp(-βE).",
        )
        refuse(found, right.exp(), "This is Z; its logarithm is asked for.")
        require_close(found, right, "log Z differs from log(volume · mean of exp(-βE)).")
        for shift in (5000.0, -5000.0):
            moved = log_z(energies + shift, volume, beta)
            require(
                bool(torch.isfinite(moved)),
                f"exp of energies near {shift:g} is 0 or infinite in floating point: stay in logarithms, torch.logsumexp.",
            )
            require_close(moved, right - beta * shift, "A constant c added to E must change log Z by -βc.")


CHECKS = {
    "langevin_step": check_langevin_step,
    "accept_chance": check_accept_chance,
    "log_z": check_log_z,
}

"""The contract of an exact sampler: draws with the target's moments, and steps in detailed balance.

    ⟨u⟩, ⟨(u - μ)(u - μ)ᵀ⟩ of the draws = those of p        within 4 standard errors
    ⟨f(u_0) g(u_1) - g(u_0) f(u_1)⟩ = 0  for u_0 ~ p, u_1 a step later       for all f and g: detailed balance

Chains are independent, so one draw of each gives standard errors that are exact. Moments are looked at
twice: begun at one point, after a burn-in (a sampler that mixes gets there), and begun at exact draws (one
that is biased leaves).

Reference: Geyer (2011), "Introduction to Markov chain Monte Carlo", sect. 1.5 (reversibility).
"""

from __future__ import annotations

import math
from itertools import combinations

from torch import Tensor

from ebm.infer.sample import sample
from ebm.infer.sampler import Sampler
from ebm.rows import flat
from ebm.targets.target import Target
from ebm.testing.examples import seeded
from ebm.testing.posed import as_dict
from ebm.testing.verdict import SamplerContractError as Wrong

ERRORS = 4.0  # standard errors that chance is allowed: once in 16,000 looks, and the seeds are fixed


def check_moments(
    sampler: Sampler,
    target: Target,
    *,
    steps: int = 100,
    chains: int = 4000,
    beta: float = 1.0,
    seed: int = 0,
) -> None:
    """Check the mean and the covariance of the draws.

    Args:
        sampler: an exact sampler.
        target: knows its mean and covariance, and exact draws.
        steps: after which a chain has forgotten where it began.
        chains: one draw is taken of each.
        beta: the inverse temperature; other than 1 for a Gaussian alone, whose covariance it divides.
        seed: of the generator.

    Raises:
        SamplerContractError: with the moment that is off, by how many standard errors.

    Example:
        >>> import torch
        >>> from ebm.infer import HMC, Langevin
        >>> from ebm.targets import Gaussian
        >>> check_moments(HMC(0.5, 4), Gaussian(torch.zeros(2)), steps=20)
        >>> check_moments(Langevin(0.5), Gaussian(torch.zeros(2)), steps=20)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ebm.testing.verdict.SamplerContractError: Langevin on Gaussian, begun at one point: ⟨u_0 u_0⟩ ...
    """
    mean, covariance = target.mean, target.covariance
    if mean is None or covariance is None:
        raise ValueError(f"{target.label} does not know its mean and covariance; choose another target.")
    generator = seeded(mean, seed)
    exact = target.exact_samples(chains, generator)
    if beta != 1:
        exact = mean + (exact - mean) / math.sqrt(beta)
    middle = exact[:1] if sampler.binary else exact.mean(0, keepdim=True)
    middle = middle.expand_as(exact).contiguous()
    for start, where in ((middle, "begun at one point"), (exact, "begun at exact draws")):
        samples = sample(
            target, start, sampler, num_samples=1, burn_in=steps - 1, beta=beta, generator=generator
        )
        draws = as_dict(samples.value)["value"][0]
        who = f"{type(sampler).__name__} on {target.label}, {where}"
        if bool((draws == start).all()):
            raise Wrong(f"{who}: no chain has moved in {steps} steps.")
        _compare(flat(draws - mean), covariance / beta, who)


def check_balance(sampler: Sampler, target: Target, *, chains: int = 20000, seed: int = 0) -> None:
    """Check that a step from u_0 to u_1 is as frequent as one from u_1 to u_0, if u_0 follows the target.

    Held to it are antisymmetric averages over all pairs of coordinates, their squares and cubes, and the
    energy.

    Args:
        sampler: one that promises detailed balance.
        target: knows exact draws.
        chains: each takes one step.
        seed: of the generator.

    Raises:
        SamplerContractError: with the pair that is off, by how many standard errors.

    Example:
        >>> from ebm.infer import MALA
        >>> from ebm.targets import DoubleWell
        >>> check_balance(MALA(0.1), DoubleWell(dim=1).double())
    """
    generator = seeded(target.minima, seed)
    before = target.exact_samples(chains, generator)
    after = as_dict(sample(target, before, sampler, num_samples=1, generator=generator).value)["value"][0]
    functions = {"energy": (target(y=before), target(y=after))}
    for d in range(before[0].numel()):
        for power in (1,) if sampler.binary else (1, 2, 3):
            functions[f"u_{d}^{power}"] = (flat(before)[:, d] ** power, flat(after)[:, d] ** power)
    for (f, (f0, f1)), (g, (g0, g1)) in combinations(functions.items(), 2):
        flow = f0.detach() * g1.detach() - g0.detach() * f1.detach()
        error = flow.std() / math.sqrt(chains)
        off = float(flow.mean().abs() / error) if float(error) > 0 else 0.0
        if off > ERRORS:
            raise Wrong(
                f"{type(sampler).__name__} on {target.label} is not in detailed balance: the flow "
                f"between {f} and {g} "
                f"should be 0, came {float(flow.mean()):.4g}, {off:.1f} standard errors away."
            )


def _compare(centered: Tensor, covariance: Tensor, who: str) -> None:
    dimensions = centered.shape[1]
    for i in range(dimensions):
        _within(f"⟨u_{i}⟩ - μ_{i}", centered[:, i], 0.0, who)
        for j in range(i, dimensions):
            _within(f"⟨u_{i} u_{j}⟩", centered[:, i] * centered[:, j], float(covariance[i, j]), who)


def _within(what: str, draws: Tensor, expected: float, who: str) -> None:
    came, error = float(draws.mean()), float(draws.std()) / math.sqrt(len(draws))
    off = abs(came - expected) / error if error > 0 else math.inf
    if not off <= ERRORS:
        raise Wrong(
            f"{who}: {what} should be {expected:.4g}, came {came:.4g}, {off:.1f} standard errors away "
            f"(at most "
            f"{ERRORS:g})."
        )

"""Annealed importance sampling (AIS): log Z of an energy, between bounds from below and from above.

    E_b = (1 - b) E_0 + b E_1,        0 = b_0 < b_1 < ... < b_K = 1,        p_b ∝ exp(-E_b)
    x_0 ~ p_0,    x_k = a step from x_{k-1} that leaves p_{b_k} as it is
    log w = Σ_{k=1..K} (b_k - b_{k-1}) (E_0(x_{k-1}) - E_1(x_{k-1}))        E[w] = Z_1/Z_0

So log Z_0 + log(mean of w) estimates log Z_1, and as the logarithm is concave

    log Z_0 + E[log w] <= log Z_1 <= log Z_0 + E[log w of the way back]

where the way back begins at an exact draw of p_1 and goes through the levels in reverse. Both bounds close as
K grows; how far they are apart says whether to trust the estimate, which by itself looks calm when all chains
have missed the same mode. A ratio is taken before the step at its level: at x_{k-1}, not at x_k.

Reference: Neal (2001), "Annealed importance sampling", sect. 2; Jarzynski (1997),
"Nonequilibrium equality for free energy differences"; Grosse, Ghahramani & Adams (2015), "Sandwiching the
marginal likelihood using bidirectional Monte Carlo".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.method import count
from ebm.infer.pose import pose
from ebm.infer.sample import begin
from ebm.infer.sampler import Sampler
from ebm.problem import Problem
from ebm.rows import flat
from ebm.targets.target import Target


@dataclass(frozen=True)
class LogPartition:
    """What is known of log Z.

    Attributes:
        estimate: log Z_0 + log(mean of w), 0-dim; its expectation lies below log Z, too, but closer than
            `lower`.
        lower: log Z_0 + mean of log w; below log Z but for chance.
        upper: the same of the way back; above log Z but for chance. NaN without exact draws.
        log_weights: log w of each chain, (chains,).
        back_log_weights: log w of each way back, (N,); none without exact draws.
        ess: (Σw)²/Σw², how many independent weights of one size the weights are worth, 0-dim.
        accepted: share of the steps' proposals that were accepted, 0-dim.
    """

    estimate: Tensor
    lower: Tensor
    upper: Tensor
    log_weights: Tensor
    back_log_weights: Tensor
    ess: Tensor
    accepted: Tensor

    def __str__(self) -> str:
        above = "" if math.isnan(float(self.upper)) else f", at most {float(self.upper):.6g}"
        return (
            f"LogPartition: {float(self.estimate):.6g}; at least {float(self.lower):.6g}{above}; "
            f"{len(self.log_weights)} weights worth {float(self.ess):.1f}, {float(self.accepted):.1%} "
            "accepted"
        )


def log_partition(
    energy: Energy,
    base: Target,
    method: Sampler,
    *,
    betas: int | Sequence[float] | Tensor = 100,
    steps: int = 1,
    chains: int = 1000,
    exact: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LogPartition:
    """log ∫ exp(-E(y)) dy by annealed importance sampling, with bounds.

    Args:
        energy: E_1, of one free variable.
        base: E_0 of the same variable, whose `log_z` and `exact_samples` are known, such as
            `ebm.targets.Gaussian`. It should be spread at least as widely as the energy.
        method: how to move at every level: a sampler with a test.
        betas: K >= 1 levels evenly apart, or all of 0 = b_0 < ... < b_K = 1.
        steps: at each level, at least 1.
        chains: weights to draw.
        exact: exact draws of p_1, (N, *shape), each of which begins a way back; for the upper bound.
        generator: source of all randomness.

    Returns:
        `LogPartition`; of E at another inverse temperature, that of `beta * energy`.

    Raises:
        TypeError, ValueError: for a base that is not known, a method without a test, levels out of order, or
            exact draws of another shape.

    Example:
        >>> from ebm.infer import MALA
        >>> from ebm.targets import Gaussian, Ring
        >>> g, ring = torch.Generator().manual_seed(0), Ring(2.0, 0.5)
        >>> base = Gaussian(torch.zeros(2), 4 * torch.eye(2))
        >>> found = log_partition(ring, base, MALA(0.2), exact=ring.exact_samples(1000, g), generator=g)
        >>> bool(found.lower < ring.log_z < found.upper), bool((found.estimate - ring.log_z).abs() < 0.05)
        (True, True)
    """
    levels = _check(base, method, betas)
    count("steps", steps)
    count("chains", chains)
    if not isinstance(energy, Energy):
        raise TypeError(f"log_partition is of an energy; got {energy!r}.")
    with torch.no_grad():
        start = base.exact_samples(chains, generator)
        if exact is not None:
            _check_exact(exact, start)
        log_z = start.new_tensor(base.log_z)
        weights, accepted = _walk(energy, base, method, start, levels, steps, generator)
        back = weights.new_empty(0)
        if exact is not None:
            back, _ = _walk(energy, base, method, exact.detach(), levels.flip(0), steps, generator)
    largest = torch.logsumexp(weights, 0)
    return LogPartition(
        estimate=log_z + largest - math.log(chains),
        lower=log_z + weights.mean(),
        upper=log_z + back.mean(),
        log_weights=weights,
        back_log_weights=back,
        ess=torch.exp(2 * largest - torch.logsumexp(2 * weights, 0)),
        accepted=accepted,
    )


def _walk(
    energy: Energy,
    base: Energy,
    method: Sampler,
    x: Tensor,
    levels: Tensor,
    steps: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Σ |b_k - b_{k-1}| (E_0 - E_1) of each chain on its way through the levels, and the share accepted."""
    target, x = begin(energy, x, method, None, 1.0, generator)
    from_base, _ = pose(base, x, None)
    weights, accepted, noise = x.new_zeros(len(x)), x.new_zeros(()), method.noise(x)
    moves = steps * max(1, len(levels) - 2)
    for k, (here, there) in enumerate(itertools.pairwise(levels)):
        weights = weights + (there - here).abs() * (from_base.value(x) - target.value(x))
        if k == len(levels) - 2:
            break
        bridge = _Bridge(from_base, target, float(there))
        state = method.init(bridge, x, 1.0)
        for _ in range(steps):
            method.draw(noise, generator)
            state, info = method.step(bridge, state, noise)
            accepted = accepted + info["accepted"].to(x.dtype).mean() / moves
        x = state["u"]
    return weights, accepted


class _Bridge(Problem):
    """(1 - b) E_0 + b E_1 as a problem, 0 < b < 1."""

    def __init__(self, base: Problem, target: Problem, b: float):
        self.__dict__.update(target.__dict__)
        self.base, self.target, self.b = base, target, b

    def value(self, u: Tensor, smooth: bool = False) -> Tensor:
        return torch.lerp(self.base.value(u), self.target.value(u), self.b)

    def differentiate(self, u: Tensor, smooth: bool = False) -> tuple[Tensor, Tensor]:
        (value_0, gradient_0), (value_1, gradient_1) = (
            self.base.value_and_grad(u),
            self.target.value_and_grad(u),
        )
        return torch.lerp(value_0, value_1, self.b), torch.lerp(gradient_0, gradient_1, self.b)

    def rows(self, index: Tensor) -> Problem:
        return _Bridge(self.base.rows(index), self.target.rows(index), self.b)

    def repeat(self, k: int) -> Problem:
        return _Bridge(self.base.repeat(k), self.target.repeat(k), self.b)


def _check_exact(exact: Tensor, start: Tensor) -> None:
    if exact.shape[1:] != start.shape[1:]:
        raise ValueError(
            f"exact draws are shaped like those of the base, (N, *{tuple(start.shape[1:])}); got "
            f"{tuple(exact.shape)}."
        )
    strange = (~flat(exact).isfinite().all(1)).nonzero().flatten().tolist()
    if strange:
        raise ValueError(f"exact draws hold NaN or infinity in rows {strange[:5]}.")


def _check(base: Target, method: Sampler, betas: int | Sequence[float] | Tensor) -> Tensor:
    if not isinstance(base, Target) or base.log_z is None:
        raise TypeError(
            f"base is a target whose log_z and exact_samples are known, such as "
            f"ebm.targets.Gaussian(mean, covariance); got {base!r}."
        )
    if not isinstance(method, Sampler) or not method.tested:
        raise TypeError(
            f"every step has to leave its level's density exactly as it is: take a sampler with a test, such "
            f"as MALA(0.1) or HMC(0.1, 10); got {method!r}."
        )
    if isinstance(betas, int):
        return torch.linspace(0, 1, count("betas", betas) + 1, dtype=torch.float64)
    levels = torch.as_tensor(betas, dtype=torch.float64)
    if levels.ndim != 1 or len(levels) < 2 or levels[0] != 0 or levels[-1] != 1 or (levels.diff() <= 0).any():
        raise ValueError(f"betas rise from 0 to 1, both among them; got {levels.tolist()}.")
    return levels

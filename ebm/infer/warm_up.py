"""Warming up: finds a sampler's step size and mass on the way from the start to where the chains belong.

    ε   by dual averaging, until the share δ of the proposals is accepted
    m   = 1/variance of the draws, coordinate by coordinate, in windows each twice as long as the one before

A chain that changes its own rules is no longer Markov's, and need not have p as its limit. So what was found
is frozen here, and `sample` goes on from the points reached with a sampler whose settings are constants:
exact as ever.

Chains are pooled: one step size and one mass for all of them, which a thousand chains find in few steps, and
which serve any number of chains. That is this function's exception to the rule that rows know nothing of one
another, as a population is among minimizers. Where every row has a density of its own (`given`), let each
find its own step size: `pooled=False`.

Reference: Hoffman & Gelman (2014) (`ebm.infer.dual_averaging`), sect. 3.2; Stan Reference Manual, "HMC
algorithm parameters", for the windows and for (n v + 0.005)/(n + 5) in place of a variance v of n draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.dual_averaging import DualAveraging
from ebm.infer.method import State, count
from ebm.infer.pose import Over
from ebm.infer.sample import begin
from ebm.infer.tunable import Tunable
from ebm.problem import Problem
from ebm.rows import flat
from ebm.solution import Value

FIRST, SETTLE, LAST = 0.15, 25, 0.1  # a share of the steps, the first window's steps, a share of the steps

Method = TypeVar("Method", bound=Tunable)


class WarmedUp(NamedTuple, Generic[Method]):
    """What a warm-up found.

    Attributes:
        method: the sampler with its settings.
        over: the points reached, like the starting values, detached.
    """

    method: Method
    over: Value


def warm_up(
    energy: Energy | Bound,
    over: Over,
    method: Method,
    *,
    given: Mapping[str, Any] | None = None,
    steps: int = 500,
    target: float | None = None,
    mass: bool = True,
    pooled: bool = True,
    beta: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> WarmedUp[Method]:
    """Adapt the step size, and the mass, of `MALA`, `HMC` or `NUTS`; then `sample` with what came.

    Args:
        energy, over, given, beta, generator: as in `sample`.
        method: the sampler, with the step size to begin with.
        steps: to take; of them the first 15 % and the last 10 % leave the mass as it is. No mass is estimated
            in fewer than 50.
        target: the share δ in (0, 1) of proposals to accept; by default what explores fastest in high
            dimension: 0.574 for MALA, 0.65 for HMC, 0.8 for NUTS. A larger one means smaller steps.
        mass: whether to estimate the mass, from the draws of all chains.
        pooled: one step size for all chains; False finds one for each, (B,), and leaves the mass as it is.

    Returns:
        `WarmedUp`: the method with its settings, and the points to go on from.

    Raises:
        TypeError, ValueError: for input that does not fit together, chains that begin at NaN, or a method
            without a test.

    Example:
        >>> from ebm.infer import MALA, sample, warm_up
        >>> from ebm.targets import Gaussian
        >>> target = Gaussian(torch.zeros(2), torch.diag(torch.tensor([100.0, 0.01])))
        >>> g = torch.Generator().manual_seed(0)
        >>> method, y = warm_up(target, torch.zeros(50, 2), MALA(0.1), steps=400, generator=g)
        >>> draws = sample(target, y, method, num_samples=100, generator=g)
        >>> [round(v, 1) for v in (method.mass.log10() / 2).tolist()]  # √m is near 1/10 and 1/0.1
        [-1.0, 1.0]
        >>> bool((draws.accepted.mean() - 0.574).abs() < 0.1)
        True
    """
    _check(method, count("steps", steps), target)
    problem, u = begin(energy, over, method, given, beta, generator)
    lost = ~flat(u).isfinite().all(1)
    if bool(lost.any()):
        raise ValueError(
            f"{int(lost.sum())} of {len(u)} chains begin at NaN or infinity, rows "
            f"{lost.nonzero().flatten().tolist()[:5]}; they would never leave, and spoil the mass of all."
        )
    with torch.no_grad():
        u, method = _adapt(problem, u, method, steps, target or method.target, mass and pooled, pooled, beta)
    return WarmedUp(method, problem.unpack(u) if isinstance(over, Mapping) else u)


def _adapt(
    problem: Problem,
    u: Tensor,
    method: Method,
    steps: int,
    target: float,
    mass: bool,
    pooled: bool,
    beta: float | Tensor,
) -> tuple[Tensor, Method]:
    step_size = torch.as_tensor(method.step_size, dtype=u.dtype, device=u.device)
    search = DualAveraging.begin(step_size.log().mean().exp() if pooled else step_size.expand(len(u)))
    ends, moments = _windows(steps) if mass else [], None
    state, noise = method.init(problem, u, beta), method.noise(u)
    for step in range(steps):
        method = method.tuned(search.log_step.exp(), method.mass)
        state |= method.scales(problem, state["u"], beta)
        method.draw(noise, problem.generator)
        state, info = method.step(problem, state, noise)
        accepted = info["accepted"].to(u.dtype)
        search = search.update(accepted.mean() if pooled else accepted, target)
        if ends and step >= int(FIRST * steps):
            moments = _observe(moments, state["u"])
        if step + 1 in ends and moments is not None:
            method, moments = method.tuned(method.step_size, _mass(moments)), None
            search = DualAveraging.begin(search.average.exp())
    return state["u"], method.tuned(search.average.exp(), method.mass)


def _windows(steps: int) -> list[int]:
    """The steps after which the mass is set anew; the last window takes what is too little for another."""
    start, end, length, ends = int(FIRST * steps), steps - int(LAST * steps), SETTLE, []
    if steps < 2 * SETTLE:
        return []
    while start + 3 * length <= end:
        start += length
        ends.append(start)
        length *= 2
    return [*ends, end]


def _observe(moments: State | None, u: Tensor) -> State:
    """Number, mean and summed squares about it of all draws, with those of u added (Chan et al. 1979)."""
    mean = u.mean(0)
    new = {"n": u.new_tensor(len(u)), "mean": mean, "squares": (u - mean).square().sum(0)}
    if moments is None:
        return new
    n, off = moments["n"] + new["n"], mean - moments["mean"]
    return {
        "n": n,
        "mean": moments["mean"] + off * (new["n"] / n),
        "squares": moments["squares"] + new["squares"] + off.square() * (moments["n"] * new["n"] / n),
    }


def _mass(moments: State) -> Tensor:
    n = moments["n"]
    return (n + 5) / (n * moments["squares"] / (n - 1) + 0.005)


def _check(method: Any, steps: int, target: float | None) -> None:
    if not isinstance(method, Tunable):
        raise TypeError(
            f"a warm-up turns the settings of a sampler with a test: MALA(0.1), HMC(0.1, 10) or NUTS(0.1); "
            f"got {method!r}."
        )
    if target is not None and not 0.0 < target < 1.0:
        raise ValueError(f"target is a share of proposals to accept, between 0 and 1; got {target}.")

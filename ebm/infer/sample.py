"""Sampling: the loop that every sampler shares, with every row a chain.

    u_1, u_2, ..., u_N ~ p(u | given) ∝ exp(-β E(u, given))

The loop draws the noise, keeps every `thin`-th point after `burn_in` steps in memory allocated once, and
counts what the chains report. With `compile=True` it hands several steps at a time to torch.compile; the
noise is drawn outside, in the same order, so the answer is the same to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.chains import Chains
from ebm.infer.method import State, count, positive
from ebm.infer.pose import Over, pose
from ebm.infer.sampler import Sampler
from ebm.infer.suits import refuse_unsuited
from ebm.problem import Problem
from ebm.solution import Samples


def sample(
    energy: Energy | Bound,
    over: Over,
    method: Sampler,
    *,
    given: Mapping[str, Any] | None = None,
    num_samples: int,
    burn_in: int = 0,
    thin: int = 1,
    beta: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
    compile: bool = False,
) -> Samples:
    """Draw from p(u | given) ∝ exp(-β E(u, given)) with one Markov chain per row.

    Args:
        energy: an energy, or one that is already bound.
        over: the free variables' starting values {name: (B, *shape)}, B chains; a bare value where there is
            one variable. A value is a tensor or a start object (`ebm.infer.starts`).
        method: how to move, e.g. `Langevin(0.01)`, `MALA(0.1)`, `HMC(0.1, 10)`.
        given: the values of all other variables, B rows first; options of the energy may stand here too.
        num_samples: N >= 1, draws to keep of each chain.
        burn_in: steps to take first, and forget.
        thin: steps from one kept draw to the next; N * thin steps follow the burn-in.
        beta: the inverse temperature β > 0, one number or one per chain (B,).
        generator: source of all randomness.
        compile: run the steps through torch.compile, which takes seconds to a minute when an energy is first
            sampled so; if it fails, says so and goes on without.

    Returns:
        `Samples`, whose value is (N, B, *shape), detached; its counts are of the steps after the burn-in
        (`nonfinite` without a test: of the draws, at least 1 where only the energy was NaN or infinite).

    Raises:
        TypeError, ValueError: for input that does not fit together, saying what was expected and what came.

    Warns:
        RuntimeWarning: if chains came to where the energy is NaN or infinite, or never left such a start.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import HMC, sample
        >>> @energy
        ... def bowl(y, center):
        ...     return 0.5 * ((y - center) ** 2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> y, center = torch.zeros(4, 2), torch.full((4, 2), 3.0)
        >>> draws = sample(
        ...     bowl, y, HMC(0.5, 3), given={"center": center}, num_samples=500, burn_in=20, generator=g
        ... )
        >>> draws.value.shape, bool((draws.value.mean((0, 1)) - 3).abs().max() < 0.1)
        (torch.Size([500, 4, 2]), True)
    """
    count("num_samples", num_samples)
    count("burn_in", burn_in, 0)
    count("thin", thin)
    problem, u = begin(energy, over, method, given, beta, generator)
    by_name = isinstance(over, Mapping)
    with torch.no_grad():
        chains = Chains(problem, u, method, beta, compile)
    chains.walk(burn_in)
    samples, lost = _collected(chains, num_samples, thin, by_name)
    _report(lost, len(u), method)
    return samples


def begin(
    energy: Energy | Bound,
    over: Over,
    method: Any,
    given: Mapping[str, Any] | None,
    beta: float | Tensor,
    generator: torch.Generator | None,
) -> tuple[Problem, Tensor]:
    """The problem and the starting points, both detached, after the checks that all sampling needs."""
    if not isinstance(method, Sampler):
        raise TypeError(
            f"method must be a sampler such as Langevin(0.01), MALA(0.1) or HMC(0.1, 10); got {method!r}."
        )
    positive("beta", beta)
    with torch.no_grad():
        problem, u = pose(energy, over, given, generator=generator)
    refuse_unsuited(method, problem, u)
    return problem.detach(), u.detach()


def _collected(chains: Chains, num_samples: int, thin: int, by_name: bool) -> tuple[Samples, list[int]]:
    """The draws of the next num_samples * thin steps, and which chains are lost, by row."""
    names = [name for name in ("u", "value") if name in chains.state]
    kept: State = {n: chains.state[n].new_empty(num_samples, *chains.state[n].shape) for n in names}
    counts = chains.walk(num_samples * thin, kept, thin)
    value, lost = chains.problem.unpack(kept["u"]) if by_name else kept["u"], chains.lost()
    if counts:
        shares = {
            name: counts[name].to(kept["value"].dtype) / (num_samples * thin)
            for name in ("accepted", *chains.method.reports)
        }
        accepted = shares.pop("accepted")
        found = Samples(value, accepted, counts["divergent"], counts["nonfinite"], kept["value"], shares)
        return found, lost
    rows = kept["u"].shape[1]
    none = torch.zeros(rows, dtype=torch.int64, device=kept["u"].device)
    nonfinite = none.clone()
    if lost:  # else no draw is NaN or infinite, for what has become so stays so
        nonfinite[lost] = 1
        draws = (~torch.isfinite(kept["u"].reshape(*kept["u"].shape[:2], -1))).any(2).sum(0)
        nonfinite = torch.maximum(nonfinite, draws)
    return Samples(value, kept["u"].new_ones(rows), none, nonfinite, kept.get("value")), lost


def _report(rows: list[int], chains: int, method: Sampler) -> None:
    """Say aloud which chains hold no samples; counts alone are easily overlooked."""
    if not rows:
        return
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    if method.tested:
        what = "never left a start where the energy or its gradient is NaN or infinite"
        cure = "Start them where both are finite"
    else:
        what = "came to where the energy is NaN or infinite, and their draws from then on are no samples"
        cure = "Take a smaller step_size, start lower in energy, or use MALA, which rejects such steps"
    warnings.warn(
        f"{type(method).__name__}: {len(rows)} of {chains} chains {what} (rows {shown}). {cure}; "
        f"Samples.nonfinite counts.",
        RuntimeWarning,
        stacklevel=3,
    )

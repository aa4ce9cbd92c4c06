"""The cross-entropy method: sample around a mean, keep the best few, fit the next Gaussian to them.

    x_i ~ N(μ_k, diag σ_k²),  i = 1..N,        elites = the M best of them by (violation, energy)
    μ_{k+1} = (1-α) mean(elites) + α μ_k,      σ_{k+1} = (1-α) std(elites) + α σ_k

The fit maximizes the likelihood of the elites, that is, minimizes the cross-entropy from their distribution.
It needs energies alone, so these may be rough, flat in pieces, infinite or NaN somewhere, and constrained. A
collapsed spread says that the population agrees, not that the energy is stationary there.

Reference: Rubinstein (1999), "The Cross-Entropy Method for Combinatorial and Continuous Optimization"; de
Boer, Kroese, Mannor, Rubinstein (2005), "A Tutorial on the Cross-Entropy Method".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, fraction, positive, stop_where
from ebm.infer.ranking import ranked
from ebm.problem import Problem
from ebm.rows import flat
from ebm.solution import Stop

Spread = float | Tensor


class CEM(Method):
    """The cross-entropy method with a Gaussian of its own for every row, diagonal in the variable's entries.

    (μ, σ) ← (1-α)·(mean, std of the M elites of N samples) + α·(μ, σ), beginning at μ = the start.

    In each step the mean is a candidate too, for the answer but not for the elites. Candidates are projected
    into the set of a Box, Ball, Simplex or Sphere term, and ranked by (violation, energy) where there are
    constraints. One whose energy is not finite is no elite; where fewer than M are left, the old σ² stands
    in for the squared deviation of each that is missing. A row ends by "spread" when max σ <= tol.

    Begin wide: on an even slope σ shrinks as μ moves, so with elites of one in ten μ travels no farther than
    3 times the σ of the start, whatever α is.

    Args:
        num_samples: N, candidates a row and step.
        num_elites: M in [1, N].
        std: σ at the start, in the units of the variable: a number; a tensor (*shape) for its entries; one of
            (B, *shape) or (B, 1, ..., 1) for rows; with several variables also a dict of these by name.
        smoothing: α in [0, 1), the share of the old mean and σ that stays.
        min_std: σ is never below it; above `tol` the search goes on to `max_steps`.
        keep_elites: how many of a step's best candidates compete again in the next, in [0, M].

    Raises:
        ValueError: for a setting out of its range, or a `std` of another shape.

    Example:
        >>> from ebm import minimize
        >>> from ebm.targets import Rastrigin
        >>> start, g = torch.full((1, 2), 3.0), torch.Generator().manual_seed(0)
        >>> best = minimize(Rastrigin(), start, CEM(200, 20, std=3.0), tol=1e-4, generator=g)
        >>> best.reasons, bool(best.energy < 1e-6)
        (['spread'], True)
    """

    population = True
    differentiable = False

    def __init__(
        self,
        num_samples: int = 200,
        num_elites: int = 20,
        std: Spread | Mapping[str, Spread] = 1.0,
        smoothing: float = 0.0,
        min_std: float = 0.0,
        keep_elites: int = 0,
    ):
        self.num_samples, self.num_elites = shares(num_samples, num_elites)
        self.keep_elites = count("keep_elites", keep_elites, 0)
        if keep_elites > num_elites:
            raise ValueError(f"there are {num_elites} elites to keep; got keep_elites={keep_elites}.")
        self.std = check_spread("std", std)
        self.smoothing = fraction("smoothing", smoothing)
        self.min_std = positive("min_std", min_std, zero=True)

    def init(self, problem: Problem, u: Tensor) -> State:
        state = {"u": u, "value": problem.value(u), "mean": u, "std": spread_of(problem, u, self.std, "std")}
        violation = problem.violation(u)
        return state if violation is None else {**state, "violation": violation}

    def step(self, problem: Problem, state: State) -> State:
        mean, std = state["mean"], state["std"]
        samples = mean.unsqueeze(1) + std.unsqueeze(1) * problem.normal(mean, self.num_samples)
        kept = [state["kept"]] if "kept" in state else []
        candidates = torch.cat([mean.unsqueeze(1), samples, *kept], 1)  # (B, 1 + N + kept, *shape)
        candidates = problem.project(candidates.flatten(0, 1)).view_as(candidates)
        new, elites, usable = compete(problem, candidates, self.num_elites)
        new["mean"], width = fitted(elites, usable, mean, std, self.smoothing)
        new["std"] = width.clamp(min=self.min_std)
        if self.keep_elites:
            new["kept"] = elites[:, : self.keep_elites]
        return new

    def verdict(self, state: State, tol: float) -> Tensor:
        return stop_where(flat(state["std"]).amax(1) <= tol, Stop.SPREAD)


def fitted(
    elites: Tensor, usable: Tensor, mean: Tensor, std: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The next mean and σ from the elites (B, M, *shape), of which the usable ones (B, M) count."""
    weight = usable.to(mean.dtype).view(*usable.shape, *(1,) * (mean.ndim - 1))
    number = weight.sum(1)
    elites = torch.where(weight > 0, elites, 0.0)  # a point of NaN times 0 would be NaN
    center = torch.where(number > 0, elites.sum(1) / number.clamp(min=1), mean)
    squares = (weight * (elites - center.unsqueeze(1)) ** 2).sum(1)
    width = ((squares + (elites.shape[1] - number) * std**2) / elites.shape[1]).sqrt()
    return (1 - smoothing) * center + smoothing * mean, (1 - smoothing) * width + smoothing * std


def check_spread(name: str, spread: Spread | Mapping[str, Spread]) -> Spread | Mapping[str, Spread]:
    """Check that a standard deviation is positive, whether it is one or has one for each variable."""
    for value in spread.values() if isinstance(spread, Mapping) else (spread,):
        positive(name, value)
    return spread


def spread_of(problem: Problem, u: Tensor, spread: Spread | Mapping[str, Spread], setting: str) -> Tensor:
    """A standard deviation, as the user gives it, for every entry of u, (B, *shape)."""
    values = problem.unpack(u)
    spreads = spread if isinstance(spread, Mapping) else dict.fromkeys(values, spread)
    if set(spreads) != set(values):
        came, free = ", ".join(spreads), ", ".join(values)
        raise ValueError(f"{setting} must have one entry for each free variable, {free}; it has {came}.")
    each = {name: _spread(spreads[name], value, f"{setting} of {name!r}") for name, value in values.items()}
    return problem.pack(each)


def _spread(std: Spread, like: Tensor, who: str) -> Tensor:
    width = torch.as_tensor(std, dtype=like.dtype, device=like.device)
    if width.ndim == 0 or width.shape == like.shape[1:]:
        return width.expand_as(like)
    by_rows = width.ndim == like.ndim and width.shape[0] == len(like)
    if by_rows and all(w in (1, s) for w, s in zip(width.shape[1:], like.shape[1:], strict=True)):
        return width.expand_as(like)
    raise ValueError(
        f"{who} is one number, a tensor of its shape {tuple(like.shape[1:])}, or one for rows, "
        f"{tuple(like.shape)} or ({len(like)}, 1, ...); got {tuple(width.shape)}."
    )


def shares(num_samples: int, num_elites: int) -> tuple[int, int]:
    """The numbers of samples and of elites, checked."""
    if count("num_elites", num_elites) > count("num_samples", num_samples):
        raise ValueError(
            f"the elites are some of the samples; got num_samples={num_samples}, num_elites={num_elites}."
        )
    return num_samples, num_elites


def compete(problem: Problem, candidates: Tensor, num_elites: int) -> tuple[State, Tensor, Tensor]:
    """What is best among the candidates of each row, (B, 1 + N, *shape).

    Returns:
        The best one with its energy (and violation) as a state; the elites (B, M, *shape), best first, not
        counting candidate 0; and which of these are usable, their energy being finite, (B, M).
    """
    energies, violations = problem.candidates(candidates)
    order = ranked(energies, violations)
    best, elite = order[:, :1], order[order != 0].view(len(order), -1)[:, :num_elites]
    state = {"u": _pick(candidates, best).squeeze(1), "value": energies.gather(1, best).squeeze(1)}
    usable = energies.isfinite()
    if violations is not None:
        state["violation"] = violations.gather(1, best).squeeze(1)
        usable = usable & violations.isfinite()
    return state, _pick(candidates, elite), usable.gather(1, elite)


def _pick(candidates: Tensor, index: Tensor) -> Tensor:
    """The candidates `index` (B, J) of each row, (B, K, *shape) -> (B, J, *shape)."""
    return candidates[torch.arange(len(index), device=index.device).unsqueeze(1), index]

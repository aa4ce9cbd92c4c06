"""The contract of chains: each is a row of its own, counted on its own, and repeats with its generator.

sample(E, u_0, generator)_i depends on (u_0)_i, given_i and its own noise alone
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.pose import pose
from ebm.infer.sample import sample
from ebm.infer.sampler import Sampler
from ebm.rows import flat
from ebm.solution import Samples
from ebm.testing.examples import seeded
from ebm.testing.posed import Posed, as_dict, bowl, first_tensor
from ebm.testing.verdict import SamplerContractError as Wrong
from ebm.testing.verdict import require_equal, require_rows, rounding

STEPS = 12


def check_chains(sampler: Sampler, problem: Posed) -> None:
    """Check that draws have the form of what is free, repeat, keep to their rows and to the steps asked for.

    Args:
        sampler: any sampler.
        problem: an energy with starts for B >= 3 chains that differ.

    Raises:
        SamplerContractError: saying what was expected, what came and in which chain.

    Example:
        >>> from ebm.infer import Langevin
        >>> from ebm.testing.posed import bowl
        >>> check_chains(Langevin(0.1), bowl(2, 3))
    """
    who = f"{type(sampler).__name__} on {problem}"
    samples = draw(sampler, problem)
    _check_form(samples, problem, who)
    _check_energy(samples, problem, who)
    again, other = draw(sampler, problem), draw(sampler, problem, seed=1)
    _same(again, samples, f"{who}: the same generator gives the same draws")
    first = next(iter(as_dict(other.value)))
    if torch.equal(as_dict(other.value)[first], as_dict(samples.value)[first]):
        raise Wrong(f"{who}: another seed should give other draws; they came the same.")
    batch = problem.batch
    for row in range(batch):
        index = torch.arange(batch)
        index[row] = (row + 1) % batch
        changed = draw(sampler, problem.rows(index))
        _same(changed, samples, f"{who}: replacing chain {row} changes no other", torch.arange(batch) != row)
    thinned = draw(sampler, problem, num_samples=STEPS // 3, thin=3)
    late = draw(sampler, problem, num_samples=STEPS - 4, burn_in=4)
    for name, path in as_dict(samples.value).items():
        kept = as_dict(thinned.value)[name]
        require_equal(Wrong, kept, path[2::3], f"{who}: thin=3 keeps every third draw", rounding(path.dtype))
        kept = as_dict(late.value)[name]
        require_equal(Wrong, kept, path[4:], f"{who}: burn_in=4 leaves out four draws", rounding(path.dtype))
    _check_step(sampler, problem, who)


def check_counts(sampler: Sampler, device: torch.device | str = "cpu") -> None:
    """Check what is counted of each chain, on bowls of which one is too steep and one is NaN off its start.

    Args:
        sampler: any sampler; with a Metropolis test it accepts, rejects and counts; without, it counts what
            is lost.
        device: where the chains are.

    Raises:
        SamplerContractError: saying what was expected, what came and in which chain.
    """
    who = type(sampler).__name__
    problem = bowl(3).to(device=device)
    steep, holes = 1, 2
    depth = problem.given["depth"].clone()
    depth[steep] = 1e9
    hole = torch.zeros(problem.batch, dtype=depth.dtype, device=device)
    hole[holes] = 1.0
    start = first_tensor(problem.over)
    given = {**problem.given, "depth": depth, "hole": hole.to(depth), "start": start}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it says aloud which chains are lost
        samples = draw(sampler, replace(problem, energy=_Hole(), given=given))
    calm = draw(
        sampler,
        replace(problem, energy=_Hole(), given={**given, "depth": problem.given["depth"]}),
        quiet=True,
    )
    others = torch.tensor([row not in (steep, holes) for row in range(problem.batch)])
    _same(samples, calm, f"{who}: chains that are lost change no other", others)
    fine = others.to(samples.divergent.device)
    claim = f"{who}: no divergence and nothing non-finite in a calm chain"
    require_rows(
        Wrong, ~fine | ((samples.divergent == 0) & (samples.nonfinite == 0)), claim, samples.divergent
    )
    if int(samples.nonfinite[holes]) < (STEPS if sampler.tested else 1):
        raise Wrong(
            f"{who}: chain {holes} sees NaN at every step; nonfinite counts {int(samples.nonfinite[holes])}."
        )
    if not sampler.tested:
        return
    draws = as_dict(samples.value)["value"]
    path = torch.cat([start.unsqueeze(0), draws])
    moved = (path[1:] != path[:-1]).flatten(2).any(2).to(start.dtype).mean(0)
    if sampler.one_test:
        claim = f"{who}: `accepted` is the share of steps that moved"
        require_equal(Wrong, samples.accepted.to(moved), moved, claim, 1e-6)
    if int(samples.divergent[steep]) + int(samples.nonfinite[steep]) == 0:
        raise Wrong(f"{who}: chain {steep} is too steep for its step; expected divergences, none counted.")
    require_equal(Wrong, draws[-1][holes], start[holes], f"{who}: a NaN proposal is rejected")


class _Hole(Energy):
    """A bowl; where `hole` is 1 it is NaN everywhere but at the start."""

    def forward(self, y: Tensor, center: Tensor, depth: Tensor, hole: Tensor, start: Tensor) -> Tensor:
        energy = 0.5 * flat(depth * (y - center) ** 2).sum(1)
        away = flat(y != start).any(1) & (hole > 0)
        return energy * torch.where(away, math.nan, 1.0).to(energy.dtype)  # its gradient, too


def draw(sampler: Sampler, problem: Posed, seed: int = 0, quiet: bool = False, **settings: Any) -> Samples:
    """`sample` of a problem with a seeded generator, STEPS draws unless told otherwise."""
    generator = seeded(first_tensor(problem.over), seed)
    settings = {"num_samples": STEPS, **settings}
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", RuntimeWarning)
        return sample(
            problem.energy, problem.over, sampler, given=problem.given, generator=generator, **settings
        )


def _check_form(samples: Samples, problem: Posed, who: str) -> None:
    values, starts = as_dict(samples.value), as_dict(problem.over)
    if isinstance(samples.value, Tensor) == isinstance(problem.over, Mapping) or set(values) != set(starts):
        raise Wrong(f"{who}: expected draws like `over`, {list(starts)}; came {list(values)}.")
    for name, start in starts.items():
        path = values[name]
        if path.shape != (STEPS, *start.shape) or path.dtype != start.dtype or path.requires_grad:
            raise Wrong(
                f"{who}: expected {name} detached, {(STEPS, *start.shape)}, {start.dtype}; came "
                f"{tuple(path.shape)}, "
                f"{path.dtype}."
            )
    for name in ("accepted", "divergent", "nonfinite"):
        count = getattr(samples, name)
        if count.shape != (problem.batch,):
            raise Wrong(f"{who}: expected one {name} a chain, ({problem.batch},); came {tuple(count.shape)}.")
    require_rows(
        Wrong,
        (samples.accepted >= 0) & (samples.accepted <= 1),
        f"{who}: `accepted` is a share",
        samples.accepted,
    )


def _check_energy(samples: Samples, problem: Posed, who: str) -> None:
    if samples.energy is None:
        return
    names = list(problem.over) if isinstance(problem.over, Mapping) else [_free(problem)]
    for i in (0, STEPS - 1):
        at = {name: path[i] for name, path in zip(names, as_dict(samples.value).values(), strict=True)}
        expected = problem.energy(**problem.given, **at).detach()
        require_equal(Wrong, samples.energy[i], expected, f"{who}: `energy` of draw {i} is E there", 1e-10)


def _check_step(sampler: Sampler, problem: Posed, who: str) -> None:
    """A step is a function of the state and its noise, and leaves both and the sampler as they were."""
    before = dict(vars(sampler))
    with torch.no_grad():
        posed, u = pose(problem.energy, problem.over, problem.given)
        state = sampler.init(posed, u, 1.0)
        noise = sampler.noise(u)
        sampler.draw(noise, seeded(u))
        held = copy.deepcopy((state, noise))
        one, two = (sampler.step(posed, state, noise)[0] for _ in range(2))
    for name, tensor in one.items():
        require_equal(
            Wrong, two[name], tensor, f"{who}: the same state and noise give the same step ({name})"
        )
    for old, new in zip(held, (state, noise), strict=True):
        for name, tensor in old.items():
            require_equal(Wrong, new[name], tensor, f"{who}: a step leaves the old {name!r} as it was")
    if any(vars(sampler).get(name) is not value for name, value in before.items()) or len(
        vars(sampler)
    ) != len(before):
        raise Wrong(f"{who}: a step leaves the sampler as it was; keep what changes in the state.")


def _free(problem: Posed) -> str:
    (name,) = (v for v in problem.energy.variables if v not in problem.given)
    return name


def _same(came: Samples, expected: Samples, claim: str, rows: Tensor | None = None) -> None:
    index = torch.arange(len(expected.accepted)) if rows is None else rows.nonzero().flatten()
    for name, path in as_dict(expected.value).items():
        chosen = index.to(path.device)
        require_equal(
            Wrong, as_dict(came.value)[name][:, chosen].movedim(1, 0), path[:, chosen].movedim(1, 0), claim
        )
    chosen = index.to(expected.accepted.device)
    require_equal(Wrong, came.accepted[chosen], expected.accepted[chosen], f"{claim} (accepted)")

"""Negatives: points that the model itself finds likely, where the energy is to be pushed up.

    y⁻ ~ p(y | given) ∝ exp(-βE(y, given)),        roughly: k steps of a sampler from some start

Latent variables of the energy move along, (y⁻, z⁻) ~ p(y, z | given). The chain sees the energy in evaluation
mode, so that no row depends on its neighbors or on chance, and leaves no trace of itself in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.chains import Chains
from ebm.infer.sampler import Sampler
from ebm.infer.suits import refuse_unsuited
from ebm.parts import constant
from ebm.problem import Problem


class Negatives(NamedTuple):
    """Points and how they were found.

    Attributes:
        value: y⁻, (B, *shape), detached.
        acceptance: the share of steps that were accepted, 0-dimensional; None for a sampler without a test.
        others: all other variables at these points, where they are not those of the data: latent ones that
            moved along, and what a chain of a buffer keeps. None where they are the data's.
    """

    value: Tensor
    acceptance: Tensor | None
    others: dict[str, Any] | None = None


def draw_negatives(
    energy: Energy,
    variable: str,
    start: Tensor,
    given: Mapping[str, Any],
    sampler: Sampler,
    steps: int,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    latents: Mapping[str, Tensor] | None = None,
    compile: bool = False,
) -> Negatives:
    """Where k steps of a sampler lead.

    Args:
        energy: an energy of `variable` and of what is given.
        variable: the name of y.
        start: where the chains begin, (B, *shape).
        given: all other variables.
        sampler: how to move.
        steps: k >= 1.
        beta: the inverse temperature of the chains.
        generator: source of all randomness.
        latents: where latent variables begin that move with y, by name, (B, *shape) each.
        compile: run the steps through torch.compile.

    Raises:
        TypeError: for whole numbers, or a kind of variable that the sampler is not made for.
        ValueError: if a chain came to where it or the energy is no finite number.
    """
    if not start.is_floating_point():
        raise TypeError(
            f"{type(sampler).__name__} moves {variable!r}, which holds {start.dtype}; convert it, "
            f"{variable}.float(): bits are zeros and ones in floating point."
        )
    free = {variable: start.detach(), **{name: z.detach() for name, z in (latents or {}).items()}}
    with constant(energy):
        with torch.no_grad():
            bound = energy.bind(given, generator, like=free).detach()
            shapes = {name: value.shape[1:] for name, value in free.items()}
            problem = Problem(bound, shapes, generator=generator, batch=start.shape[0])
            u = problem.pack(free)
            refuse_unsuited(sampler, problem, u)
            chains = Chains(problem, u, sampler, beta, compile)
        counts = chains.walk(steps)
    points, lost = problem.unpack(chains.state["u"]), chains.lost()
    value = points.pop(variable)
    if lost:
        raise ValueError(
            f"{type(sampler).__name__} left the points where the energy is finite, in {len(lost)} of "
            f"{len(value)} chains (row {lost[0]} first). Take a smaller step_size, or a sampler with a test "
            "(MALA, HMC); an energy that falls without end needs a term that grows, such as 0.01 * L2('y')."
        )
    acceptance = counts["accepted"].to(value.dtype).mean() / steps if sampler.tested else None
    return Negatives(value, acceptance, {**given, **points} if points else None)

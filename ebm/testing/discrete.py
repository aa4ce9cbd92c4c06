"""Discrete problems to hold a sampler to: bits, two groups of bits, one-hot sites, Choices.

E(y, field) = -Σ_d field_d y_d + ½ Σ_d y_d y_{d+1}        bits in a row, of any shape; rows differ in field
E(y, z, field) = -Σ_d field_d y_d - ½ Σ_d z_d + Σ_de y_d z_e / 2        no bonds within y or z
E(k, field) = -Σ_d field_{d, k_d} + ½ Σ_d [k_d = k_{d+1}]        as Choices, or one-hot
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.sampler import Sampler
from ebm.rows import flat
from ebm.testing.chains import STEPS, _same, draw
from ebm.testing.examples import randn
from ebm.testing.posed import Posed, as_dict, first_tensor
from ebm.testing.verdict import SamplerContractError as Wrong

BATCH = 4


class Bits(Energy):
    """Bits in a row that dislike to be 1 side by side; NaN away from `start` where `hole` is 1."""

    def forward(
        self, y: Tensor, field: Tensor, hole: Tensor | None = None, start: Tensor | None = None
    ) -> Tensor:
        s = flat(y)
        return _pierced(0.5 * (s[:, 1:] * s[:, :-1]).sum(1) - (flat(field) * s).sum(1), y, hole, start)


class TwoSides(Energy):
    """Bits y and bits z that dislike to be 1 together; affine in each."""

    def forward(self, y: Tensor, z: Tensor, field: Tensor) -> Tensor:
        return 0.5 * y.sum(1) * z.sum(1) - (field * y).sum(1) - 0.5 * z.sum(1)


class Colors(Energy):
    """Sites of several colors, (B, D) indices or (B, D, K) one-hot, that dislike to agree side by side."""

    def forward(
        self, y: Tensor, field: Tensor, hole: Tensor | None = None, start: Tensor | None = None
    ) -> Tensor:
        s = y if y.is_floating_point() else one_hot(y, field.shape[-1]).to(field)
        energy = 0.5 * (s[:, 1:] * s[:, :-1]).flatten(1).sum(1) - (field * s).flatten(1).sum(1)
        return _pierced(energy, y, hole, start)


def _pierced(energy: Tensor, y: Tensor, hole: Tensor | None, start: Tensor | None) -> Tensor:
    if hole is None or start is None:
        return energy
    away = flat(y != start).any(1) & (hole > 0)
    return energy * torch.where(away, math.nan, 1.0).to(energy)  # its gradient, too


def bits(*shape: int) -> Posed:
    """Bits of any shape, begun at chance; `Posed.distance` is not known."""
    start = (randn(BATCH, *shape) > 0).double()
    return Posed(Bits(), start, {"field": randn(BATCH, *shape, seed=1)}, name=f"bits of shape {shape}")


def two_sides() -> Posed:
    """Three bits y and two bits z, free both."""
    start = {"y": (randn(BATCH, 3) > 0).double(), "z": (randn(BATCH, 2, seed=1) > 0).double()}
    return Posed(TwoSides(), start, {"field": randn(BATCH, 3, seed=2)}, name="two sides of bits")


def colors(as_choices: bool) -> Posed:
    """Four sites of three colors, as Choices or one-hot."""
    index = randn(BATCH, 4, 3).argmax(2)
    start = Choices(index, 3) if as_choices else one_hot(index, 3).double()
    return Posed(Colors(), start, {"field": randn(BATCH, 4, 3, seed=1)}, name="colors")


def check_holes(sampler: Sampler, problem: Posed) -> None:
    """Check that a chain which sees NaN everywhere but at its start says so, and changes no other chain.

    Args:
        sampler: a discrete sampler.
        problem: `bits` or `colors`.

    Raises:
        SamplerContractError: saying what was expected, what came and in which chain.

    Example:
        >>> from ebm.infer import Gibbs
        >>> check_holes(Gibbs(), bits(3))
    """
    who, holes = f"{type(sampler).__name__} on {problem}", 2
    start = first_tensor(problem.over)
    field = problem.given["field"]
    pierced = {**problem.given, "start": start, "hole": torch.zeros(len(start)).to(field)}
    calm = draw(sampler, replace(problem, given=pierced))
    pierced["hole"] = torch.arange(len(start)).to(start.device).eq(holes).to(field)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        samples = draw(sampler, replace(problem, given=pierced))
    _same(samples, calm, f"{who}: a chain that sees NaN changes no other", torch.arange(len(start)) != holes)
    if int(calm.nonfinite.sum()) or int(calm.divergent.sum()):
        raise Wrong(f"{who}: nothing is divergent or non-finite where the energy is calm.")
    if int(samples.nonfinite[holes]) != STEPS:
        raise Wrong(
            f"{who}: chain {holes} sees NaN at every step; nonfinite counts {int(samples.nonfinite[holes])}."
        )
    if not torch.equal(as_dict(samples.value)["value"][-1][holes], start[holes]):
        raise Wrong(f"{who}: a value with a NaN energy is not taken; chain {holes} moved.")

"""Minimizations with known answers, to hold a minimizer to.

    argmin_y ½ Σ_d h_d (y_d - c_d)² = c                  the bowl: any shape; rows differ in center and depth
    argmin_{y,z} ½|y - c|² + ½|z - Ay|² = (c, Ac)        two variables at once

A `Posed` is what `minimize` is given, with the distance to the answer where it is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.method import Method
from ebm.infer.minimize import minimize
from ebm.rows import flat, norm
from ebm.solution import Solution
from ebm.staged import Staged
from ebm.targets.target import Target
from ebm.testing.examples import choose, converted, seeded

Over = Tensor | Choices | Mapping[str, Tensor]


@dataclass(frozen=True)
class Posed:
    """What `minimize` is given: B >= 3 rows that differ.

    Attributes:
        energy: what to minimize.
        over: the start, a tensor, a dict of tensors, or `Choices`.
        given: all other variables.
        distance: the distance of a solution's value to the nearest known minimum, (B,); None if not known.
        reach: how near a converged row has to come to a known minimum.
        max_steps, tol: as in `minimize`; enough to converge.
        name: how messages call it.
    """

    energy: Energy
    over: Over
    given: Mapping[str, Any] = field(default_factory=dict)
    distance: Callable[[Any], Tensor] | None = None
    reach: float = 1e-5
    max_steps: int = 2000
    tol: float = 1e-7
    name: str = ""

    @property
    def batch(self) -> int:
        """B."""
        return len(first_tensor(self.over))

    def __str__(self) -> str:
        shape = tuple(first_tensor(self.over).shape)
        return self.name or f"{self.energy.label} over {shape}"

    def solve(self, method: Method, *, seed: int = 0, **settings: Any) -> Solution:
        """`minimize` with this problem's settings, or others, and a seeded generator."""
        settings = {"max_steps": self.max_steps, "tol": self.tol, **settings}
        generator = seeded(first_tensor(self.over), seed)
        return minimize(self.energy, self.over, method, given=self.given, generator=generator, **settings)

    def rows(self, index: Tensor) -> Posed:
        """The problem of the rows `index` alone."""
        return replace(self, over=over_rows(self.over, index), given=choose(self.given, index), distance=None)

    def to(self, dtype: torch.dtype | None = None, device: Any = None) -> Posed:
        """The problem in another dtype or on another device; moves the energy itself."""
        over = self.over
        if isinstance(over, Choices):
            over = Choices(over.start.to(device=device), over.n)
        elif isinstance(over, Tensor):
            over = over.to(device=device, dtype=dtype)
        else:
            over = converted(over, dtype, device)
        energy = self.energy.to(device=device, dtype=dtype)
        return replace(self, energy=energy, over=over, given=converted(self.given, dtype, device))


def first_tensor(over: Over) -> Tensor:
    """The tensor of a start, or the first of several."""
    if isinstance(over, Choices):
        return over.start
    return over if isinstance(over, Tensor) else next(iter(over.values()))


def over_rows(over: Over, index: Tensor) -> Over:
    """The rows `index` of a start."""
    if isinstance(over, Choices):
        return Choices(over.start.index_select(0, index.to(over.start.device)), over.n)
    if isinstance(over, Tensor):
        return over.index_select(0, index.to(over.device))
    return choose(over, index)


def as_dict(value: Any) -> dict[str, Tensor]:
    """A start or a solution's value as {name: tensor}, whether it is one tensor or several."""
    if isinstance(value, Choices):
        value = value.start
    return {"value": value} if isinstance(value, Tensor) else dict(value)


class Bowl(Energy):
    """E(y, center, depth) = ½ Σ_d depth_d (y_d - center_d)², for y of any shape."""

    def forward(self, y: Tensor, center: Tensor, depth: Tensor) -> Tensor:
        return 0.5 * flat(depth * (y - center) ** 2).sum(1)

    def quadratic(self, name: str, **others: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """½ yᵀ diag(h) y - (h c)ᵀ y + ½ cᵀ diag(h) c; None for other variables than y."""
        if name != "y":
            return None
        h, c = flat(others["depth"]), flat(others["center"])
        return torch.diag_embed(h), h * c, 0.5 * (h * c * c).sum(1)


class Springs(Energy):
    """E(y, z, center) = ½|y - center|² + ½ Σ_e (z_e - Σ_d y_d / 4(1 + e))², lowest at y = center."""

    def forward(self, y: Tensor, z: Tensor, center: Tensor) -> Tensor:
        return 0.5 * ((y - center) ** 2).sum(1) + 0.5 * ((z - self.answer(y, z)) ** 2).sum(1)

    @staticmethod
    def answer(y: Tensor, z: Tensor) -> Tensor:
        """The best z for a y, like z."""
        return y.sum(1, keepdim=True) / torch.arange(1, z.shape[1] + 1, dtype=y.dtype, device=y.device) / 4


def bowl(
    *shape: int, batch: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0, **settings: Any
) -> Posed:
    """A bowl over y (B, *shape) with curvatures from ½ to 2; `settings` are those of `Posed`."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(batch, *shape, dtype=dtype, generator=generator)
    depth = 0.5 + 1.5 * torch.rand(batch, *shape, dtype=dtype, generator=generator)
    start = center + 2 * torch.rand(batch, *shape, dtype=dtype, generator=generator) - 1
    given = {"center": center, "depth": depth}
    return Posed(Bowl(), start, given, lambda y: norm(y - center.to(y)), **settings)


def springs(batch: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0, **settings: Any) -> Posed:
    """Two variables at once, y (B, 2) and z (B, 3), tied by springs."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(batch, 2, dtype=dtype, generator=generator)
    over = {n: torch.randn(batch, d, dtype=dtype, generator=generator) for n, d in (("y", 2), ("z", 3))}

    def distance(value: Mapping[str, Tensor]) -> Tensor:
        y, z = value["y"], value["z"]
        return norm(y - center.to(y)) + norm(z - Springs.answer(center.to(y), z))

    return Posed(Springs(), over, {"center": center}, distance, **settings)


class Tagging(Staged):
    """E(emission, tags) = Σ_t emission_t[tag_t] + ½ Σ_t |tag_t - tag_{t-1}|: the tags of a sequence."""

    def __init__(self, choices: int):
        super().__init__("tags", num_keys=choices)

    def start(self, emission: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return torch.zeros(len(emission), dtype=torch.int64, device=emission.device), emission

    def stage(
        self, state: tuple[Tensor, Tensor], choice: Tensor, t: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        before, emission = state
        cost = emission[:, t].gather(1, choice.unsqueeze(1)).squeeze(1)
        return (cost + 0.5 * (choice - before).abs() if t else cost), (choice, emission)

    def final(self, state: tuple[Tensor, Tensor]) -> Tensor:
        return torch.zeros_like(state[1][:, 0, 0])

    def key(self, state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0]

    def lower_bound(self, state: tuple[Tensor, Tensor], t: int) -> Tensor:
        return state[1][:, t:].amin(2).sum(1)


def tagging(choices: int = 3, length: int = 4, batch: int = 4, seed: int = 0, **settings: Any) -> Posed:
    """Choices along a sequence, begun at tag 0 throughout; held to all sequences, tried one by one."""
    generator = torch.Generator().manual_seed(seed)
    emission = torch.randn(batch, length, choices, dtype=torch.float64, generator=generator)
    energy = Tagging(choices)
    sequences = torch.tensor(list(itertools.product(range(choices), repeat=length)))

    def distance(tags: Tensor) -> Tensor:
        here = [energy(emission=emission, tags=s.expand(batch, -1)) for s in sequences]
        best = sequences[torch.stack(here).argmin(0)]
        return (tags.cpu() != best).sum(1).to(torch.float64)

    start = Choices(torch.zeros(batch, length, dtype=torch.int64), choices)
    name = f"tagging, {choices}^{length} sequences"
    return Posed(energy, start, {"emission": emission}, distance, name=name, **settings)


def nearest(values: Tensor, batch: int = 4, seed: int = 0) -> Posed:
    """The value (K, D) nearest to the center of each row of a bowl, begun at the first value."""
    problem = bowl(*values.shape[1:], batch=batch, dtype=values.dtype, seed=seed)
    center, depth = problem.given["center"], problem.given["depth"]
    cost = (depth.unsqueeze(1) * (values - center.unsqueeze(1)) ** 2).sum(2)  # (B, K)
    best = values[cost.argmin(1)]
    start = values[:1].expand(batch, *values.shape[1:]).clone()
    return replace(
        problem, over=start, distance=lambda y: norm(y - best.to(y)), name="the nearest of some values"
    )


def target(energy: Target, start: Tensor, **settings: Any) -> Posed:
    """A target of `ebm.targets`, begun at `start` (B, D): each row has to reach one of its global minima."""
    return Posed(energy, start, {}, energy.distance_to_minima, **settings)

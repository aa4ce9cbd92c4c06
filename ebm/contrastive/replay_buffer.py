"""A replay buffer: the ends of many chains, which go on from there the next time.

    draw B of the N points, each replaced by a fresh one with probability ρ;  walk;  put them back

The B are i, i + s, i + 2s, ... mod N for a random i and a random s prime to N: all different, each chain as
likely as any other, and no more work where N is large.

Between two updates of the model a chain need only follow a small change, so chains that are never begun anew
stay close to the model's own samples, however few steps they take. The fresh ones find what no chain has
found. A chain's age is the number of steps since it was fresh.

A chain of p(y | x) belongs to its x: x is kept with it, and a fresh chain takes that of the row of data which
it is drawn for. So the x of all chains are distributed as in the data. Latent variables z are kept likewise,
and go on.

Reference: Tieleman (2008), "Training Restricted Boltzmann Machines using Approximations to the Likelihood
Gradient"; the buffer with fresh points: Du & Mordatch (2019), sect. 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm.infer.method import count
from ebm.infer.starts import Start, begin
from ebm.processes import gather
from ebm.rows import expand


class Drawn(NamedTuple):
    """Chains taken from a buffer.

    Attributes:
        slots: where they belong, (B,), int64.
        points: where they stand, (B, *shape).
        age: steps since each was fresh, (B,), int64.
        kept: what else belongs to them, by name, (B, *shape) each.
    """

    slots: Tensor
    points: Tensor
    age: Tensor
    kept: dict[str, Tensor]


class ReplayBuffer(nn.Module):
    """N chains that go on. It is part of the loss that holds it, and so of a checkpoint.

    Args:
        start: makes fresh points: `Normal(2)`, `Uniform(1, 28, 28)`.
        capacity: N >= 1.
        fresh: ρ in [0, 1], the probability that a chain begins anew when it is drawn.
        keep: other variables that are kept with each chain, a row of each by name, which tells its shape and
            dtype: `keep={"x": x[0]}`.
        dtype: of the points; the default dtype if None.
        device: where they are kept; the CPU if None.
        generator: source of the first points.

    Raises:
        TypeError: if the start is no start object, or a row to keep no tensor.
        ValueError: if the buffer is empty, or ρ is no probability; on a draw, of more chains than there are,
            or beside rows of another shape than those that are kept.

    Example:
        >>> from ebm.infer.starts import Normal
        >>> buffer = ReplayBuffer(Normal(2), capacity=100, fresh=0.05)
        >>> drawn = buffer.draw(8)
        >>> buffer.put(drawn.slots, drawn.points + 1, drawn.age + 20)
        >>> int(buffer.age.sum())
        160
    """

    points: Tensor
    age: Tensor

    def __init__(
        self,
        start: Start,
        capacity: int = 10_000,
        *,
        fresh: float = 0.05,
        keep: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not isinstance(start, Start):
            raise TypeError(f"start is a start object, Normal(2) for instance; got {start!r}.")
        if not 0 <= fresh <= 1:
            raise ValueError(f"fresh is the probability of beginning anew, in [0, 1]; got {fresh}.")
        self.start, self.fresh = start, float(fresh)
        kind = torch.get_default_dtype() if dtype is None else dtype
        home = torch.device("cpu" if device is None else device)
        like = torch.empty(count("capacity", capacity), dtype=kind, device=home)
        points = begin(start, like, generator=generator)
        self.register_buffer("points", points.detach().clone())
        self.register_buffer("age", torch.zeros(capacity, dtype=torch.int64, device=home))
        self.keeps = tuple(keep or {})
        for name, row in (keep or {}).items():
            if not isinstance(row, Tensor):
                raise TypeError(f"keep tells a row of each variable, {name}={name}[0]; got {row!r}.")
            room = torch.zeros(capacity, *row.shape, dtype=row.dtype, device=home)
            self.register_buffer(f"kept_{name}", room)

    @property
    def kept(self) -> dict[str, Tensor]:
        """What else belongs to the chains, by name, (N, *shape) each."""
        return {name: self.get_buffer(f"kept_{name}") for name in self.keeps}

    def __len__(self) -> int:
        return len(self.points)

    def draw(
        self,
        size: int,
        generator: torch.Generator | None = None,
        beside: Mapping[str, Tensor] | None = None,
    ) -> Drawn:
        """Different chains, some of them begun anew.

        Args:
            size: B, at most N.
            generator: source of the choice and of the fresh points.
            beside: what fresh chains take of the variables that are kept: at most B rows of each, for the
                first chains. Further chains show what the buffer holds.
        """
        held, ages = self.points, self.age
        capacity, home = held.shape[0], held.device
        if not 1 <= size <= capacity:
            raise ValueError(
                f"the buffer holds {capacity} chains, of which {size} were asked for: take a capacity of at "
                "least the batch size."
            )
        at = home if generator is None else generator.device
        first, stride = torch.randint(1, capacity + 1, (2,), generator=generator, device=at).tolist()
        while math.gcd(stride, capacity) > 1:  # until it meets all chains before it meets one again
            stride += 1
        slots = torch.arange(first, first + stride * size, stride, device=home) % capacity
        points, age = held.index_select(0, slots), ages.index_select(0, slots)
        if self.fresh:
            chosen = torch.rand(size, generator=generator, device=at) < self.fresh
            anew = chosen.nonzero().squeeze(1).to(home)
            made = begin(self.start, points[: anew.shape[0]], generator=generator)
            points.index_copy_(0, anew, made.to(points.dtype))
            age.index_fill_(0, anew, 0)
        kept = {name: room.index_select(0, slots) for name, room in self.kept.items()}
        for name, rows in (beside or {}).items():
            self._refuse_shape(name, rows)
            old = kept[name][: len(rows)]
            new = expand(age[: len(rows)] == 0, old)
            kept[name][: len(rows)] = torch.where(new, rows.detach().to(old), old)
        return Drawn(slots, points, age, kept)

    def put(
        self, slots: Tensor, points: Tensor, age: Tensor, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        """Put chains back; those of all processes, so that every one keeps the same buffer.

        Args:
            slots: where they belong, (B,).
            points: where they stand now, (B, *shape), finite.
            age: steps since each was fresh, (B,), at least 1: a chain of age 0 has nothing to keep yet.
            kept: what else belongs to them, by name, (B, *shape) each.
        """
        kept = dict(kept or {})
        if set(kept) != set(self.keeps):
            raise ValueError(
                f"the buffer keeps {', '.join(self.keeps) or 'nothing'} with its chains; got "
                f"{', '.join(kept) or 'nothing'}."
            )
        held, ages = self.points, self.age
        if points.shape[1:] != held.shape[1:] or not slots.shape == age.shape == points.shape[:1]:
            raise ValueError(
                f"the buffer keeps points of shape {tuple(held.shape[1:])}, with a slot and an age "
                f"each; got points {tuple(points.shape)}, {len(slots)} slots, {len(age)} ages."
            )
        slots, points, age = gather(slots), gather(points.detach()), gather(age)
        held.index_copy_(0, slots, points.to(held.dtype))
        ages.index_copy_(0, slots, age)
        for name, rows in kept.items():
            self._refuse_shape(name, rows)
            room = self.get_buffer(f"kept_{name}")
            room[slots] = gather(rows.detach()).to(room)

    def _refuse_shape(self, name: str, rows: Tensor) -> None:
        if name not in self.keeps or rows.shape[1:] != self.get_buffer(f"kept_{name}").shape[1:]:
            held = {each: tuple(room.shape[1:]) for each, room in self.kept.items()}
            raise ValueError(
                f"rows of {name!r} have the shape {tuple(rows.shape[1:])}; the buffer keeps rows of "
                f"{held or 'nothing'}. Make it with a row: ReplayBuffer(..., keep={{'{name}': {name}[0]}})."
            )

    def extra_repr(self) -> str:
        return f"{len(self)} chains of {tuple(self.points.shape[1:])}, fresh={self.fresh:g}"

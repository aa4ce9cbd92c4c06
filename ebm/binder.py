"""Binding an energy: what stays fixed during a solve is computed once and kept as row data.

An energy is a weighted sum of terms, each a function of arguments that are free variables, given values, or
modules applied to such arguments:

    E(free) = Σ_i w_i · E_i(a_i1, a_i2, ...),      a = free variable | held rows | module(a, ...)

`Binder` writes an energy in this form. Whatever depends on given variables alone is evaluated at that moment
and `held`: a tensor (or a tuple of tensors) whose first dimension is the batch B. `Bound` is the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Rows(ABC):
    """Row data with a structure of its own, such as an energy bound inside another."""

    batch: int | None

    @abstractmethod
    def rows(self, index: Tensor) -> Rows:
        """The rows `index` (integers) alone."""

    @abstractmethod
    def repeat(self, k: int) -> Rows:
        """Every row k times, copies side by side."""

    @abstractmethod
    def detach(self) -> Rows:
        """The same rows, cut from the autograd graph."""


class Free(NamedTuple):
    """A variable whose value comes with every call."""

    name: str


class Held(NamedTuple):
    """Row data that was given, or computed from what was given, when the energy was bound."""

    key: int


@dataclass(frozen=True, eq=False)
class Apply:
    """A module applied to expressions, at least one of them free; evaluated once a call."""

    module: Callable[..., Any]
    arguments: tuple[Expression, ...]


Expression = Free | Held | Apply


class Term(NamedTuple):
    """One summand: `weight * leaf(**arguments)`, reported under `label`."""

    leaf: Any
    arguments: tuple[tuple[str, Expression], ...]
    weight: float | Tensor
    label: str

    def free(self) -> frozenset[str]:
        """The free variables that this term depends on."""
        return frozenset(name for _, expression in self.arguments for name in free_names(expression))


def free_names(expression: Expression) -> Iterator[str]:
    """The names of the free variables inside an expression."""
    if isinstance(expression, Free):
        yield expression.name
    elif isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from free_names(argument)


def held_keys(expression: Expression) -> Iterator[int]:
    """The keys of the row data inside an expression."""
    if isinstance(expression, Held):
        yield expression.key
    elif isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from held_keys(argument)


def map_rows(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply `function` to every tensor (and nested `Rows`) in row data; other leaves are options and stay."""
    if isinstance(value, Tensor | Rows):
        return function(value)
    if isinstance(value, tuple | list):
        made = [map_rows(v, function) for v in value]
        named = hasattr(value, "_fields")  # a named tuple stays one
        return type(value)(*made) if named else type(value)(made)
    if isinstance(value, dict):
        return {k: map_rows(v, function) for k, v in value.items()}
    return value


def batch_of(value: Any, name: str) -> int | None:
    """The number of rows in row data (None where it holds no tensor).

    Raises:
        ValueError: if a tensor has no batch dimension, or the tensors disagree.
    """
    if isinstance(value, Tensor) and value.ndim:  # nearly always, and once a training step
        return value.shape[0]
    sizes: set[int | None] = set()

    def collect(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim == 0:
            raise ValueError(
                f"{name!r} is a tensor without a batch dimension; expected B rows first, shape (B, ...). "
                f"Use {name}.expand(B) for a value that all rows share."
            )
        sizes.add(leaf.batch if isinstance(leaf, Rows) else leaf.shape[0])
        return leaf

    map_rows(value, collect)
    sizes.discard(None)
    if len(sizes) > 1:
        raise ValueError(
            f"{name!r} mixes batches of {sorted(map(str, sizes))} rows; every part needs the same B."
        )
    return sizes.pop() if sizes else None


@dataclass
class Binder:
    """Collects the row data of one bind, computing each shared part once.

    `batch`, `dtype` and `device` describe the rows (from given and free values; None where unknown);
    `generator` is the source of all randomness that an energy draws for this solve.
    """

    generator: torch.Generator | None = None
    batch: int | None = None
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    held: dict[int, Any] = field(default_factory=dict)
    _keys: dict[int, int] = field(default_factory=dict)
    _applied: dict[tuple[Any, ...], Expression] = field(default_factory=dict)

    def observe(self, name: str, value: Any) -> None:
        """Learn B, dtype and device from a value, and refuse one that disagrees on B."""
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == self.batch and self.dtype:
            return  # nearly always: nothing new
        rows = batch_of(value, name)
        if rows is not None and self.batch is not None and rows != self.batch:
            raise ValueError(
                f"{name!r} has {rows} rows where the other variables have {self.batch}; every variable needs "
                f"the same batch dimension first (expand or repeat_interleave the smaller one)."
            )
        self.batch = rows if self.batch is None else self.batch
        if isinstance(value, Tensor) and (self.dtype is None or self.device is None):
            self.device = value.device
            if value.is_floating_point():
                self.dtype = value.dtype

    def need_batch(self, who: str) -> int:
        """The batch size, for an energy that draws or allocates rows when it is bound."""
        if self.batch is None:
            raise ValueError(
                f"{who} needs the number of rows when it is bound: give at least one variable, or bind with "
                f"like={{name: tensor}}."
            )
        return self.batch

    def hold(self, value: Any) -> Held:
        """Keep row data; the same object is kept once."""
        if id(value) not in self._keys:
            key = max(self.held, default=-1) + 1
            self.held[key] = value  # also keeps the object alive, so that its id stays its own
            self._keys[id(value)] = key
        return Held(self._keys[id(value)])

    def apply(
        self, module: Callable[..., Any], arguments: tuple[Expression, ...], name: str = ""
    ) -> Expression:
        """`module(*arguments)`: computed now if nothing in it is free, else once in every call."""
        signature = (id(module), *(a if isinstance(a, Free | Held) else id(a) for a in arguments))
        if signature not in self._applied:
            if all(isinstance(a, Held) for a in arguments):
                value = module(*(self.held[a.key] for a in arguments if isinstance(a, Held)))
                self.observe(name or getattr(module, "__name__", type(module).__name__), value)
                self._applied[signature] = self.hold(value)
            else:
                self._applied[signature] = Apply(module, arguments)
        return self._applied[signature]

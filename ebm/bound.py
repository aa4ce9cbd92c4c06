"""A bound energy: a function of its free variables alone, whose row data can be dropped and repeated.

    E(free) = Σ_i w_i · E_i(a_i1, a_i2, ...),      a = free variable | held rows | module(a, ...)

Everything that was given when the energy was bound is held as row data, B rows first. So a solver can forget
the rows that are done (`rows`), copy rows for candidates (`repeat`) and split off summands without knowing
what they mean; an observation is encoded once, however many candidates are tried against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder, Expression, Free, Held, Rows, Term, held_keys, map_rows


class Bound(Rows):
    """An energy of its free variables alone: call it with them by keyword to get (B,).

    Made by `Energy.bind`; methods of inference see it through a `Problem`. `variables` are the free ones,
    `terms` the summands, `held` all row data, `batch` the number of rows (None if nothing was given).
    """

    def __init__(
        self, terms: tuple[Term, ...], held: dict[int, Any], variables: tuple[str, ...], rows: Binder
    ):
        self.summands, self.variables, self.held = terms, variables, held
        if held:
            used = {key for term in terms for _, e in term.arguments for key in held_keys(e)}
            self.held = {key: value for key, value in held.items() if key in used}  # not what was encoded
        self.batch, self.dtype, self.device = rows.batch, rows.dtype, rows.device

    def __repr__(self) -> str:
        return f"Bound({', '.join(self.variables)}; {len(self.summands)} terms, {self.batch} rows)"

    def __call__(self, **free: Any) -> Tensor:
        """The energy at the free variables' values, (B,)."""
        if set(free) != set(self.variables):
            raise TypeError(f"this bound energy is a function of {self.variables}; got {tuple(free)}.")
        return self.evaluate(free)

    def evaluate(self, free: Mapping[str, Any], terms: tuple[Term, ...] | None = None) -> Tensor:
        """`__call__` without the check of names, optionally of some of the terms."""
        total: Tensor | None = None
        cache: dict[int, Any] = {}
        held = self.held
        for leaf, arguments, weight, _ in self.summands if terms is None else terms:
            values = {}  # as `arguments` does it; this is the innermost loop of all, and calls add up
            for name, e in arguments:
                if type(e) is Free:
                    values[name] = free[e.name]
                else:
                    values[name] = held[e.key] if type(e) is Held else self._run(e, free, cache)
            energy = leaf.forward(**values)
            if not (type(weight) is float and weight == 1.0):
                energy = weight * energy
            total = energy if total is None else total + energy
        return self._zero(free) if total is None else total

    def terms(self, **free: Any) -> dict[str, Tensor]:
        """The weighted summands by name, each (B,); they add up to the energy."""
        out: dict[str, Tensor] = {}
        for term, energy in self._evaluated(free, self.summands):
            out[term.label] = out[term.label] + energy if term.label in out else energy
        return out

    def _evaluated(self, free: Mapping[str, Any], terms: tuple[Term, ...]) -> Iterator[tuple[Term, Tensor]]:
        cache: dict[int, Any] = {}
        for term in terms:
            energy = term.leaf.forward(**self.arguments(term, free, cache))
            yield (
                term,
                energy if isinstance(term.weight, float) and term.weight == 1.0 else term.weight * energy,
            )

    def arguments(self, term: Term, free: Mapping[str, Any], cache: dict[int, Any]) -> dict[str, Any]:
        """The values of a term's arguments; `cache` shares applied modules between terms of one call."""
        held = self.held
        return {
            name: free[e.name]
            if type(e) is Free
            else held[e.key]
            if type(e) is Held
            else self._run(e, free, cache)
            for name, e in term.arguments
        }

    def _run(self, e: Expression, free: Mapping[str, Any], cache: dict[int, Any]) -> Any:
        if isinstance(e, Free):
            return free[e.name]
        if isinstance(e, Held):
            return self.held[e.key]
        if id(e) not in cache:
            cache[id(e)] = e.module(*(self._run(a, free, cache) for a in e.arguments))
        return cache[id(e)]

    def _zero(self, free: Mapping[str, Any]) -> Tensor:
        """A sum whose every term has weight zero."""
        like = next((v for v in free.values() if isinstance(v, Tensor)), None)
        if like is not None:
            return like.new_zeros(like.shape[0], dtype=self.dtype or like.dtype)
        if self.batch is None:
            raise ValueError(
                "an energy whose terms all have weight zero needs one tensor variable to know B."
            )
        return torch.zeros(self.batch, dtype=self.dtype, device=self.device)

    def _with(self, held: dict[int, Any], batch: int | None) -> Bound:
        out = object.__new__(Bound)
        out.summands, out.held, out.variables = self.summands, held, self.variables
        out.batch, out.dtype, out.device = batch, self.dtype, self.device
        return out

    def rows(self, index: Tensor) -> Bound:
        """The same energy for the rows `index` (integers) alone."""
        held = {
            k: map_rows(v, lambda t: t.rows(index) if isinstance(t, Rows) else t.index_select(0, index))
            for k, v in self.held.items()
        }
        return self._with(held, None if self.batch is None else len(index))

    def repeat(self, k: int) -> Bound:
        """Every row k times, copies side by side: (B * k) rows that view as (B, k)."""
        held = {
            key: map_rows(v, lambda t: t.repeat(k) if isinstance(t, Rows) else t.repeat_interleave(k, 0))
            for key, v in self.held.items()
        }
        return self._with(held, None if self.batch is None else self.batch * k)

    def detach(self) -> Bound:
        """The same energy with held row data cut from the autograd graph."""
        if not self.held:
            return self
        return self._with({k: map_rows(v, lambda t: t.detach()) for k, v in self.held.items()}, self.batch)

    def bind(
        self,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
        like: Mapping[str, Any] | None = None,
    ) -> Bound:
        """Bind further: variables in `given` are no longer free; what depends on no free one is computed."""
        binder = Binder(generator, self.batch, self.dtype, self.device, dict(self.held))
        for name, value in {**(like or {}), **given}.items():
            binder.observe(name, value)
        values = {name: binder.hold(value) for name, value in given.items()}
        done: dict[int, Expression] = {}

        def fix(e: Expression) -> Expression:
            if isinstance(e, Free):
                return values.get(e.name, e)
            if isinstance(e, Held):
                return e
            if id(e) not in done:
                done[id(e)] = binder.apply(e.module, tuple(fix(a) for a in e.arguments))
            return done[id(e)]

        terms = tuple(t._replace(arguments=tuple((n, fix(e)) for n, e in t.arguments)) for t in self.summands)
        return Bound(terms, binder.held, tuple(v for v in self.variables if v not in given), binder)

"""What a method of inference sees: an energy of one tensor u of free variables, and nothing else.

    value(u) = E(u),    value_and_grad(u) = (E, ∇E),    E = smooth + Σ_i w_i h_i  where the h_i have a prox

One free variable is u itself, whatever its shape; several are laid out flat in (B, D). Randomness and row
data follow the rows: after `rows(index)` the problem is that of the surviving rows, and what is drawn for one
of them is what it would have been with all of them there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ebm.binder import Term
from ebm.bound import Bound
from ebm.derivative import hessian_product, product_with, recording, traced_gradient
from ebm.rows import flat
from ebm.signature import check_output
from ebm.split import closed_form_of, closed_forms, split_prox

Differentiate = Callable[["Problem", Tensor, bool], tuple[Tensor, Tensor]]


class Problem:
    """A bound energy over a layout of free variables, with constraints and a source of noise.

    Args:
        bound: the energy, given what is given.
        shapes: the free variables' shapes without the batch, in order.
        constraints: bound energies that are allowed where they are <= 0.
        generator: source of all draws.
        choices: for each discrete variable the number of its values.
        max_rows: evaluate at most so many candidate rows at once (None: all).
        create_graph: keep the autograd graph through `value_and_grad` (unrolling).
    """

    def __init__(
        self,
        bound: Bound,
        shapes: Mapping[str, torch.Size],
        constraints: tuple[Bound, ...] = (),
        generator: torch.Generator | None = None,
        choices: Mapping[str, int] | None = None,
        max_rows: int | None = None,
        create_graph: bool = False,
        batch: int = 0,
    ):
        self.bound, self.shapes, self.constraints = bound, dict(shapes), constraints
        self.generator, self.choices, self.max_rows = generator, dict(choices or {}), max_rows
        self.create_graph, self.full_batch = create_graph, batch
        self.fast: Differentiate | None = None  # `differentiate`, compiled
        self._ones: Tensor | None = None  # dE/dE, (B,), made once
        self.live: Tensor | None = None  # rows of the full batch that are left; None: all
        self.copies = 1  # of every row, side by side
        self._repeated: dict[int, Problem] = {}  # by number of copies
        self.smooth_terms, self.prox_terms = split_prox(bound.summands)
        self._plan = {False: self._planned(bound.summands)}  # smooth only? -> closed forms, and for autograd
        self._plan[True] = self._planned(self.smooth_terms) if self.prox_terms else self._plan[False]

    def _planned(self, terms: tuple[Term, ...]) -> tuple[list[tuple[Term, str]], tuple[Term, ...]]:
        if len(self.shapes) > 1 or not any(t.leaf.closed_form for t in terms):
            return [], terms
        closed = [(t, name) for t in terms if (name := closed_form_of(t)) is not None]
        return closed, tuple(t for t in terms if closed_form_of(t) is None)

    # The layout ---------------------------------------------------------------------------------------------

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Values of the free variables as the one tensor u."""
        if len(self.shapes) == 1:
            return next(iter(values.values()))
        return torch.cat([flat(values[name]) for name in self.shapes], 1)

    def unpack(self, u: Tensor) -> dict[str, Tensor]:
        """u as a value for each free variable; leading dimensions are kept."""
        if len(self.shapes) == 1:
            return {next(iter(self.shapes)): u}
        parts = u.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: part.reshape(*part.shape[:-1], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    # The energy ---------------------------------------------------------------------------------------------

    def value(self, u: Tensor, smooth: bool = False) -> Tensor:
        """E(u), (B,); with `smooth=True` of the terms without a prox alone."""
        return self.bound.evaluate(self.unpack(u), self.smooth_terms if smooth else None)

    def value_and_grad(self, u: Tensor, smooth: bool = False) -> tuple[Tensor, Tensor]:
        """E(u), (B,), and ∇E(u), like u; with `smooth=True` of the terms without a prox alone.

        Terms that offer a closed form are not differentiated by autograd.
        """
        return self.differentiate(u, smooth) if self.fast is None else self.fast(self, u, smooth)

    def differentiate(self, u: Tensor, smooth: bool = False) -> tuple[Tensor, Tensor]:
        """`value_and_grad`, never compiled."""
        closed, rest = self._plan[smooth]
        if not closed:
            return self._autograd(rest, u)
        value, gradient = closed_forms(self.bound, closed, self.unpack(u))
        if rest:
            rest_value, rest_gradient = self._autograd(rest, u)
            value, gradient = value + rest_value, gradient + rest_gradient
        return value, gradient

    @property
    def by_autograd(self) -> bool:
        """Whether no term offers a closed form, so that `value_and_grad` returns nothing that has a graph."""
        return not self._plan[False][0]

    def _autograd(self, terms: tuple[Term, ...], u: Tensor) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_compiling():
            return traced_gradient(lambda v: self.bound.evaluate(self.unpack(v), terms), u)
        with recording():
            return self._eager(terms, u)

    def _eager(self, terms: tuple[Term, ...], u: Tensor) -> tuple[Tensor, Tensor]:
        v = u if self.create_graph and u.requires_grad else u.detach().requires_grad_()
        value = self.bound.evaluate(self.unpack(v), terms)
        if self._ones is None or not isinstance(value, Tensor) or value.shape != self._ones.shape:
            check_output(value, len(u), "the energy")
            self._ones = torch.ones_like(value)
        if not value.requires_grad:  # nothing here depends on u
            return value, torch.zeros_like(u)
        gradient = product_with(value, v, self._ones, self.create_graph)
        return (value if self.create_graph else value.detach()), gradient

    def hessian_product(self, u: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """E(u), ∇E(u) and the function v -> (∇²E(u)) v, each like u."""
        return hessian_product(self.value, u)

    # The parts with a prox ----------------------------------------------------------------------------------

    def prox(self, u: Tensor, step: Tensor) -> Tensor:
        """argmin_v Σ_i step·w_i·h_i(v) + ½|v - u|² with one step per row, (B,); without a prox, u."""
        if not self.prox_terms:
            return u
        values = self.unpack(u)
        for variable, term in self.prox_terms.items():
            values[variable] = term.leaf.prox(values[variable], step * term.weight)
        return self.pack(values)

    def project(self, u: Tensor) -> Tensor:
        """The nearest point where no indicator (Box, Ball, Simplex, Sphere) is +inf; any number of rows."""
        values = self.unpack(u)
        for variable, term in self.prox_terms.items():
            if term.leaf.indicator:
                values[variable] = term.leaf.prox(values[variable], u.new_ones(len(u)))
        return self.pack(values)

    def prox_value(self, u: Tensor) -> Tensor | float:
        """Σ_i w_i·h_i(u), (B,); 0.0 where no term has a prox."""
        if not self.prox_terms:
            return 0.0
        return self.bound.evaluate(self.unpack(u), tuple(self.prox_terms.values()))

    def violation(self, u: Tensor) -> Tensor | None:
        """Σ_i max(0, constraint_i(u)), (B,), NaN counted as infinite; None without constraints."""
        if not self.constraints:
            return None
        free = self.unpack(u)
        parts = [
            c.evaluate({name: free[name] for name in c.variables}).clamp(min=0) for c in self.constraints
        ]
        return torch.stack(parts).sum(0).nan_to_num(nan=torch.inf, posinf=torch.inf)

    # Rows ---------------------------------------------------------------------------------------------------

    def _with(self, bound: Bound, constraints: tuple[Bound, ...]) -> Problem:
        out = object.__new__(Problem)
        out.__dict__.update(self.__dict__)
        out.bound, out.constraints, out._repeated = bound, constraints, {}
        return out

    def rows(self, index: Tensor) -> Problem:
        """The problem of the rows `index` alone."""
        out = self._with(self.bound.rows(index), tuple(c.rows(index) for c in self.constraints))
        out.live = index if self.live is None else self.live[index]
        return out

    def repeat(self, k: int) -> Problem:
        """Every row k times, copies side by side; kept, as candidates come again at every step."""
        if k not in self._repeated:
            out = self._with(self.bound.repeat(k), tuple(c.repeat(k) for c in self.constraints))
            out.copies, self._repeated[k] = k * self.copies, out
        return self._repeated[k]

    def with_graph(self) -> Problem:
        """The same problem, whose gradients can be differentiated."""
        out = self._with(self.bound, self.constraints)
        out.create_graph = True
        return out

    def detach(self) -> Problem:
        """The same problem, cut from the autograd graph."""
        return self._with(self.bound.detach(), tuple(c.detach() for c in self.constraints))

    def candidates(self, u: Tensor) -> tuple[Tensor, Tensor | None]:
        """Energies and violations, (B, K), of K candidates a row, (B, K, *shape)."""
        batch, count = u.shape[:2]
        chunk = count if self.max_rows is None else max(1, min(count, self.max_rows // max(batch, 1)))
        energies, violations = [], []
        for part in u.split(chunk, 1):
            k = part.shape[1]
            copies, points = self.repeat(k), part.reshape(batch * k, *part.shape[2:])
            energies.append(copies.value(points).view(batch, k))
            violation = copies.violation(points)
            if violation is not None:
                violations.append(violation.view(batch, k))
        return torch.cat(energies, 1), torch.cat(violations, 1) if violations else None

    def per_row(self, setting: float | Tensor) -> float | Tensor:
        """A method's setting, one number or one per row of the full batch, (B,), for the live rows."""
        if not isinstance(setting, Tensor) or setting.ndim == 0:
            return setting
        if setting.shape != (self.full_batch,):
            raise ValueError(
                f"a setting per row has shape ({self.full_batch},), one number a row; got "
                f"{tuple(setting.shape)}."
            )
        live = setting if self.live is None else setting[self.live]
        return live if self.copies == 1 else live.repeat_interleave(self.copies)

    def normal(self, like: Tensor, *count: int) -> Tensor:
        """Standard normal noise (B, *count, *shape), drawn for the full batch; live rows are kept."""
        shape = (self.full_batch, self.copies, *count, *like.shape[1:])
        noise = torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=self.generator)
        return (noise if self.live is None else noise[self.live]).flatten(0, 1)

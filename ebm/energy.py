"""Energies: functions of named variables, one number a row, low where the variables fit together.

    E : (x, y, z, ...) ↦ ℝ,        each variable (B, *shape), the energy (B,),        p ∝ exp(-βE)

Energies form an algebra: `E1 + E2`, `0.5 * E`, `-E`, `sum([...])`; a variable can be given a value (`given`)
or made a function of others (`compose`), and a part can carry a name (`named`). Everything else in this
package finds the variables that make an energy small, or gives an energy the right shape.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ebm.binder import Binder, Expression, Free, Held, Term, map_rows
from ebm.bound import Bound
from ebm.signature import check_output, read_signature, refuse_missing, refuse_unknown

Scope = Mapping[str, Expression]
Weight = float | Tensor


class Energy(nn.Module):
    """A function of named variables that gives one number per row.

    Subclasses write `forward(self, x, y, ...)`: parameters without a default are the `variables`, those with
    one are options. Optional closed forms, each held to autograd by `ebm.testing.check_energy`:

    - `closed_form = ("y",)` with `value_and_grad(self, name, **variables) -> ((B,), like the variable)`;
    - `quadratic(self, name, **others) -> (A, b, c)`, meaning ½ vᵀAv - bᵀv + c of the flattened variable v,
      with A (D, D) or (B, D, D), b (B, D) and c (B,); a 0-dim A is a multiple of the identity;
    - `prox(self, v, step) -> argmin_u step·E(u) + ½|u - v|²`, for energies of one variable (`step` is (B,));
      `separable = True` if it acts on each coordinate alone, `indicator = True` if E is 0 or +inf.

    Example:
        >>> class Spring(Energy):
        ...     def forward(self, x, y):
        ...         return 0.5 * ((x - y) ** 2).sum(1)
        >>> Spring().variables
        ('x', 'y')
        >>> Spring()(x=torch.zeros(2, 3), y=torch.ones(2, 3))
        tensor([1.5000, 1.5000])
    """

    variables: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    closed_form: ClassVar[tuple[str, ...]] = ()
    indicator: ClassVar[bool] = False
    separable: ClassVar[bool] = False
    _plain: ClassVar[bool] = False  # one term, with nothing to prepare

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            cls.variables, cls.options = read_signature(cls.forward, skip=1)
        cls._plain = cls.prepare is Energy.prepare and cls._summands is Energy._summands

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Row data to compute or draw once a bind, handed to `forward` under these names (default: none).

        Override it in an energy that is random (draw here, from `binder.generator`) or that can do part of
        its work before the free variables are known. `given` holds the values of those that are known.
        """
        return {}

    def bind(
        self,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
        like: Mapping[str, Any] | None = None,
    ) -> Bound:
        """The energy of the remaining variables: what depends on `given` alone is computed now, once.

        Args:
            given: values of some variables, B rows first (tensors, or tuples of them), or of options.
            generator: source of all randomness of the energy during the solve.
            like: values of free variables, used for nothing but their B, dtype and device.

        Raises:
            TypeError: if `given` names something that is neither a variable nor an option.
            ValueError: if the batches disagree.
        """
        if given:
            refuse_unknown(self, [n for n in given if n not in self.variables and n not in self.options])
        binder = Binder(generator)
        for name, value in {**(like or {}), **given}.items():
            binder.observe(name, value)
        free = tuple(v for v in self.variables if v not in given)
        scope: dict[str, Expression] = {v: Free(v) for v in free}
        scope |= {name: binder.hold(value) for name, value in given.items()}
        plain = self._plain and (Term(self, tuple(scope.items()), 1.0, self.label),)
        return Bound(plain or tuple(self._summands(binder, scope, 1.0, None)), binder.held, free, binder)

    def _summands(self, binder: Binder, scope: Scope, weight: Weight, label: str | None) -> list[Term]:
        """This energy as a list of weighted terms whose variables stand for the expressions in `scope`."""
        arguments = {name: scope[name] for name in (*self.variables, *self.options) if name in scope}
        given = {n: binder.held[e.key] for n, e in arguments.items() if isinstance(e, Held)}
        arguments |= {n: binder.hold(value) for n, value in self.prepare(binder, given).items()}
        return [Term(self, tuple(arguments.items()), weight, label or self.label)]

    def __call__(self, *positional: Any, **variables: Any) -> Tensor:
        if positional:
            names = ", ".join(f"{v}=..." for v in self.variables)
            raise TypeError(f"energies are called by keyword: {self.label}({names}), not by position.")
        refuse_missing(self, variables)
        rows = [variables[v].shape[:1] for v in self.variables if isinstance(variables[v], Tensor)]
        if self._plain:
            refuse_unknown(self, [v for v in variables if v not in self.variables and v not in self.options])
            if any(not r or r != rows[0] for r in rows):
                self.bind(variables)  # says which variable has no rows, or others than the first
            energy = super().__call__(**variables)
        else:
            energy = self.bind(variables)()
        if rows:
            check_output(energy, rows[0][0], type(self).__name__)
        return energy

    def terms(self, **variables: Any) -> dict[str, Tensor]:
        """The energy's weighted summands by name, each (B,); they add up to the energy."""
        return self.bind(variables).terms()

    def __add__(self, other: Energy) -> Energy:
        return Sum(self, other) if isinstance(other, Energy) else NotImplemented

    def __radd__(self, other: Any) -> Energy:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # sum([...]) begins with 0

    def __sub__(self, other: Energy) -> Energy:
        return self + (-1.0) * other if isinstance(other, Energy) else NotImplemented

    def __mul__(self, weight: float | Tensor) -> Energy:
        return View(self, weight=weight) if isinstance(weight, int | float | Tensor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | Tensor) -> Energy:
        return self * (1.0 / divisor) if isinstance(divisor, int | float | Tensor) else NotImplemented

    def __neg__(self) -> Energy:
        return View(self, weight=-1.0)

    def given(self, **values: Any) -> Energy:
        """The energy of the other variables, with these fixed (an early `bind`): E(·, x = values["x"])."""
        return View(self, values=values)

    def compose(self, **functions: tuple[Any, ...]) -> Energy:
        """The energy with variables replaced by functions of others: `E.compose(s_x=(encoder, "x"))`."""
        return View(self, functions=functions)

    def named(self, name: str) -> Energy:
        """The same energy, reported under `name` by `terms` and keyed by it in the state_dict of a sum."""
        return View(self, name=name)

    @property
    def label(self) -> str:
        """The name under which `terms` reports this energy."""
        return type(self).__name__


class Sum(Energy):
    """E(·) = Σ_i E_i(·), each term a function of some of the variables; nested sums are one sum."""

    def __init__(self, *energies: Energy):
        super().__init__()
        self.parts = nn.ModuleDict()
        for part in [p for e in energies for p in (e.energies().values() if isinstance(e, Sum) else (e,))]:
            label, n = part.label, 2
            while label in self.parts:
                label, n = f"{part.label}_{n}", n + 1
            self.parts[label] = part
        self.variables = tuple(dict.fromkeys(v for part in self.energies().values() for v in part.variables))
        self.options = tuple(dict.fromkeys(o for part in self.energies().values() for o in part.options))

    def energies(self) -> dict[str, Energy]:
        """The summands by name."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Energy)}

    def _summands(self, binder: Binder, scope: Scope, weight: Weight, label: str | None) -> list[Term]:
        parts = self.energies().items()
        return [t for name, part in parts for t in part._summands(binder, scope, weight, label or name)]


class View(Energy):
    """An energy with a weight, a name, or some of its variables fixed or made functions of others.

    E'(·) = weight · E(·, v = values[v], s = f(·)). The weight is a number or a 0-dim tensor or parameter
    (registered, so it is saved and can be learned). Values are row data, and follow their rows.
    """

    def __init__(
        self,
        part: Energy,
        weight: float | Tensor = 1.0,
        name: str | None = None,
        values: Mapping[str, Any] | None = None,
        functions: Mapping[str, tuple[Any, ...]] | None = None,
    ):
        super().__init__()
        self.part, self.values, self.functions = part, dict(values or {}), dict(functions or {})
        self.name = part.label if name is None else name
        if not self.name or "." in self.name:
            raise ValueError(f"a name keys a state_dict, so it is not empty and holds no dot; got {name!r}.")
        if isinstance(weight, Tensor) and weight.ndim:
            raise ValueError(
                f"a weight is one number; got shape {tuple(weight.shape)}. A weight that differs by row is "
                f"row data: make it a variable of the energy, so that it follows its rows."
            )
        if isinstance(weight, Tensor) and not isinstance(weight, nn.Parameter):
            self.register_buffer("weight", weight)
        else:
            self.weight = weight if isinstance(weight, Tensor) else float(weight)
        refuse_unknown(part, [n for n in self.values if n not in (*part.variables, *part.options)])
        refuse_unknown(part, [n for n in self.functions if n not in part.variables])
        for variable, function in self.functions.items():
            tied = isinstance(function, tuple) and len(function) > 1 and callable(function[0])
            if not tied or not all(isinstance(n, str) for n in function[1:]):
                raise TypeError(f"compose expects {variable}=(function, 'variable', ...); got {function!r}.")
        composed = {name: f for name, (f, *_) in self.functions.items() if isinstance(f, nn.Module)}
        self.composed = nn.ModuleDict(composed)
        kept = [v for v in part.variables if v not in self.functions and v not in self.values]
        inputs = [v for _, *names in self.functions.values() for v in names]
        self.variables = tuple(dict.fromkeys([*kept, *inputs]))
        self.options = tuple(o for o in part.options if o not in self.values)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> View:
        super()._apply(fn, recurse)  # .to(...), .double() and .cuda() take the values along
        self.values = {name: map_rows(value, fn) for name, value in self.values.items()}
        return self

    def _summands(self, binder: Binder, scope: Scope, weight: Weight, label: str | None) -> list[Term]:
        learned = isinstance(self.weight, Tensor) and self.weight.requires_grad
        if not learned and float(self.weight) == 0.0:  # 0 · E drops the term, even where E is +inf
            return []
        inner = dict(scope)
        for name, value in self.values.items():
            binder.observe(name, value)
            inner[name] = binder.hold(value)
        for name, (function, *inputs) in self.functions.items():
            inner[name] = binder.apply(function, tuple(scope[i] for i in inputs), name)
        own = self.name if self.name != self.part.label else None
        return self.part._summands(binder, inner, weight * self.weight, label or own)

    @property
    def label(self) -> str:
        return self.name

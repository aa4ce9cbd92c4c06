"""Latent variables, minimized away: the free energy at zero temperature.

    F_∞(x, y) = min_z E(x, y, z)

The result is an energy without z. Its value and first derivative are exact to the tolerance of the inner
solve (envelope theorem: ∂F = ∂E at z*); a second derivative of it raises unless the minimizer is
differentiated too.

Reference: LeCun et al. (2006), "A Tutorial on Energy-Based Learning", eq. 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder, map_rows
from ebm.bound import Bound
from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.differentiate import hold_minimum, newton_correction
from ebm.infer.method import Method
from ebm.infer.minimize import Differentiate, check_suits, minimize, solve, warn_unconverged
from ebm.infer.starts import Start, as_choices, start_of
from ebm.problem import Problem
from ebm.solution import Solution, one_tensor


def min_over(
    energy: Energy,
    latent: str | Sequence[str],
    method: Method,
    start: Start | Choices | Mapping[str, Start | Choices],
    *,
    max_steps: int = 1000,
    tol: float = 1e-5,
    differentiate: Differentiate = "no",
) -> MinOver:
    """The energy of the other variables, with the latent ones minimized away: F(y) = min_z E(y, z).

    A minimum over y of this minimum is one joint problem: `minimize(E, {"y": ..., "z": ...}, ...)` finds it
    with far fewer evaluations than nesting does.

    Args:
        energy: an energy of the latent and other variables.
        latent: the name of the latent variable, or several names.
        method: how to minimize over it, e.g. `LBFGS()`, `FISTA()`, `Enumerate(values)`.
        start: where to begin, an object of `ebm.infer.starts` (for several latents: a dict of them); for a
            discrete latent `Choices(Zeros(5), n=3)`.
        max_steps, tol: as in `minimize`.
        differentiate: "no" detaches z* (value and first derivative exact; a second one raises, unless the
            method is discrete: there z* does not move, so all derivatives are right); "implicit"
            makes all derivatives up to the third right; "unroll" differentiates through the steps.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import GradientDescent
        >>> from ebm.infer.starts import Zeros
        >>> @energy
        ... def spring(y, z):
        ...     return ((y - z) ** 2 + z**2).sum(1)
        >>> free = min_over(spring, "z", GradientDescent(0.2), start=Zeros(1))
        >>> free(y=torch.tensor([[2.0]])), free.solve(y=torch.tensor([[2.0]])).value
        (tensor([2.]), tensor([[1.0000]]))
    """
    return MinOver(energy, latent, method, start, max_steps, tol, differentiate)


class MinOver(Energy):
    """F(...) = min_z E(..., z); made by `min_over`, which documents the arguments."""

    def __init__(
        self,
        energy: Energy,
        latent: str | Sequence[str],
        method: Method,
        start: Start | Choices | Mapping[str, Start | Choices],
        max_steps: int,
        tol: float,
        differentiate: Differentiate,
    ):
        super().__init__()
        self.single = isinstance(latent, str)
        names = (latent,) if isinstance(latent, str) else tuple(latent)
        given = dict(start) if isinstance(start, Mapping) else {names[0]: start}
        starts = {name: found for name, value in given.items() if (found := start_of(value)) is not None}
        if set(starts) != set(names) or len(given) > len(starts):
            raise TypeError(
                f"min_over needs a start object for each of {', '.join(names)}, such as Zeros(8), Normal(8) "
                f"or Choices(Zeros(8), n=3) of ebm.infer.starts; got {start!r}."
            )
        unknown = [n for n in names if n not in energy.variables]
        if unknown:
            raise TypeError(
                f"{energy.label} is an energy of {', '.join(energy.variables)}; it has no {unknown[0]!r}."
            )
        if differentiate not in ("no", "unroll", "implicit"):
            raise ValueError(f"differentiate is 'no', 'unroll' or 'implicit'; got {differentiate!r}.")
        self.energy, self.latent, self.method = energy, names, method
        self.starts = torch.nn.ModuleDict({n: starts[n] for n in names})
        self.choices = {name: value.n for name, value in given.items() if isinstance(value, Choices)}
        self.max_steps, self.tol, self.differentiate = max_steps, tol, differentiate
        self.variables = tuple(v for v in energy.variables if v not in names)
        self.options = energy.options

    @property
    def label(self) -> str:
        return f"min over {', '.join(self.latent)} of {self.energy.label}"

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the inner energy, and draw all noise of the inner solve, once."""
        like = (
            {}
            if binder.batch is None
            else {"rows": torch.empty(binder.batch, 0, dtype=binder.dtype, device=binder.device)}
        )
        drawn = {name: start.draw(binder) for name, start in self._starts().items()}
        seed = (
            torch.randint(2**31, (), generator=binder.generator, device=_home(binder))
            if self.method.population
            else None
        )
        return {
            "_bound": self.energy.bind(given, binder.generator, like),
            "_drawn": drawn,
            "_seed": None if seed is None else int(seed),
            "_rows": None if binder.batch is None else torch.arange(binder.batch, device=binder.device),
            "_batch": binder.batch,
        }

    def forward(
        self,
        *,
        _bound: Bound,
        _drawn: Any,
        _seed: int | None,
        _rows: Tensor | None,
        _batch: int | None,
        **variables: Any,
    ) -> Tensor:
        free = {name: variables[name] for name in self.variables if name in _bound.variables}
        bound = _bound.bind(free)
        problem, u = self._pose(bound, variables, _drawn, _seed, _rows, _batch)
        if self.differentiate == "unroll" and torch.is_grad_enabled():
            solution = solve(problem.with_graph(), u, self.method, self.max_steps, self.tol, unroll=True)
            z = one_tensor(solution.value)
        else:
            with torch.no_grad():
                solution = solve(problem.detach(), u.detach(), self.method, self.max_steps, self.tol)
            if self.method.discrete:
                z = one_tensor(solution.value)  # as z* does not move, nothing is missing
            elif self.differentiate == "implicit":
                z = newton_correction(problem, one_tensor(solution.value))
            else:
                z = hold_minimum(one_tensor(solution.value), self._sources(bound))
        warn_unconverged(solution, self.label)
        return problem.value(z)

    def _pose(
        self,
        bound: Bound,
        variables: Mapping[str, Any],
        drawn: Mapping[str, Any],
        seed: int | None,
        rows: Tensor | None,
        batch: int | None,
    ) -> tuple[Problem, Tensor]:
        """The inner problem and its start, with the noise that was drawn at bind."""
        binder = Binder(None, bound.batch, bound.dtype, bound.device)
        values = {name: start(variables, drawn[name], binder) for name, start in self.starts.items()}
        values |= {name: as_choices(values[name], n) for name, n in self.choices.items()}
        generator = None
        if seed is not None:
            generator = torch.Generator(device=_home(binder)).manual_seed(seed)
        problem = Problem(
            bound,
            {name: value.shape[1:] for name, value in values.items()},
            generator=generator,
            choices=self.choices,
            batch=bound.batch or 0,
        )
        if rows is not None and batch is not None:
            problem.live, problem.full_batch = rows, batch  # noise is drawn for all rows, live or not
        check_suits(self.method, problem, self.differentiate)
        return problem, problem.pack(values)

    def _starts(self) -> dict[str, Start]:
        return {name: start for name, start in self.starts.items() if isinstance(start, Start)}

    def _sources(self, bound: Bound) -> list[Tensor]:
        """Everything with a gradient on which the minimizer depends."""
        found: list[Tensor] = [p for p in self.energy.parameters() if p.requires_grad]

        def collect(rows: Any) -> Any:
            if isinstance(rows, Bound):
                for value in rows.held.values():
                    map_rows(value, collect)
            elif isinstance(rows, Tensor) and rows.requires_grad:
                found.append(rows)
            return rows

        for value in bound.held.values():
            map_rows(value, collect)
        return found

    def solve(self, **variables: Any) -> Solution:
        """The minimizer z* and how it was found, for given values of all other variables."""
        over: dict[str, Start | Choices] = {
            name: Choices(start, self.choices[name]) if name in self.choices else start
            for name, start in self._starts().items()
        }
        return minimize(
            self.energy,
            next(iter(over.values())) if self.single else over,
            self.method,
            given=variables,
            max_steps=self.max_steps,
            tol=self.tol,
            differentiate=self.differentiate,
        )


def _home(binder: Binder) -> torch.device:
    return binder.generator.device if binder.generator is not None else binder.device or torch.device("cpu")

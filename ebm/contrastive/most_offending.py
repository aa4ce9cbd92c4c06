"""The most offending incorrect answer to real y, found by a minimizer.

    ȳ_i = argmin E(x_i, y) over |y - y_i| >= ε,        E_I = E(x_i, ȳ_i)

Among real answers there are wrong ones as close to the right one as one likes, with an energy as close as one
likes: no loss could hold them a margin apart. So those within ε count as right. The minimizer keeps to the
constraint; ȳ is not differentiated, and at a minimum need not be, since its energy is stationary there.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2
(the definition for continuous Y).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.answers import Answers, checked_radius, refuse_choices
from ebm.energy import Energy
from ebm.infer.method import Method, count
from ebm.infer.minimize import minimize
from ebm.infer.starts import Start, begin
from ebm.parts import constant
from ebm.rows import expand, norm
from ebm.solution import one_tensor

CORRECT = "correct"


class Within(Energy):
    """E(y, correct) = ε - |y - correct|, a constraint: allowed, <= 0, where y is at least ε away.

    Args:
        variable: the name of y.
        radius: ε.

    Example:
        >>> Within("y", 1.0)(y=torch.tensor([[3.0], [0.5]]), correct=torch.zeros(2, 1))
        tensor([-2.0000,  0.5000])
    """

    def __init__(self, variable: str, radius: float):
        super().__init__()
        self.variable, self.radius = variable, radius
        self.variables = (variable, CORRECT)

    def forward(self, **values: Tensor) -> Tensor:
        return self.radius - norm(values[self.variable] - values[CORRECT])


class MostOffending(Answers):
    """The lowest answer at least `radius` from the right one, as a minimizer finds it.

    The energy is in evaluation mode meanwhile. Where a search ends a little inside the radius, its answer is
    moved out along the ray from y_i. It is one answer and not all of them, so there are no probabilities.

    Args:
        method: how to search, with a radius one that keeps to constraints: `Enumerate(values)`, `CEM(...)`,
            `AugmentedLagrangian(LBFGS())`; without one any.
        start: where, a start object. `Data("correct")` begins at the right answer, which suits a population;
            a gradient vanishes there where the energy has been learned.
        radius: ε >= 0, in units of y; Euclidean.
        max_steps, tol: as in `minimize`.

    Raises:
        TypeError: if the method or the start is none; on a call, for y that is not real.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import Enumerate
        >>> from ebm.infer.starts import Zeros
        >>> @energy
        ... def bowl(y):
        ...     return (y**2).sum(1)
        >>> grid = torch.linspace(-2, 2, 41)[:, None]
        >>> answers = MostOffending(Enumerate(grid), Zeros(1), radius=0.5)
        >>> value, wrong = answers.wrong(bowl, "y", torch.tensor([[0.2]]), {})
        >>> value.round(decimals=4), wrong
        (tensor([[[-0.3000]]]), tensor([[True]]))
    """

    complete = False

    def __init__(
        self, method: Method, start: Start, radius: float, *, max_steps: int = 100, tol: float = 1e-5
    ):
        super().__init__()
        if not isinstance(method, Method) or not isinstance(start, Start):
            raise TypeError(
                f"MostOffending takes a minimizer of ebm.infer and a start object, such as CEM(200, 20) and "
                f"Normal(2); got {method!r} and {start!r}. For choices say AllAnswers(n)."
            )
        self.method, self.start, self.radius = method, start, checked_radius(radius)
        self.max_steps, self.tol = count("max_steps", max_steps), tol

    def wrong(
        self,
        energy: Energy,
        variable: str,
        y: Tensor,
        given: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        refuse_choices(type(self).__name__, variable, y)
        place = begin(self.start, y, {**given, CORRECT: y}, generator).detach()
        limits = [Within(variable, self.radius)] if self.radius else []
        with constant(energy):
            found = minimize(
                energy,
                place,
                self.method,
                given={**given, CORRECT: y} if limits else given,
                subject_to=limits,
                max_steps=self.max_steps,
                tol=self.tol,
                generator=generator,
            )
        value = one_tensor(found.value)
        if not self.radius:
            return value.unsqueeze(1), torch.ones(len(y), 1, dtype=torch.bool, device=y.device)
        moved = value - y
        length = norm(moved)
        outside = y + moved * expand((self.radius / length).clamp(min=1.0), moved)
        return outside.unsqueeze(1), (length > 0).unsqueeze(1)

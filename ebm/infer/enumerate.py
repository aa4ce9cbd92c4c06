"""Exhaustive enumeration: look at every candidate and keep the best.

    u* = argmin_{c ∈ C} E(c),        C = {0, ..., n-1}^shape, or a given set of K values

The answer is the global minimum of the set, so every faster method for discrete variables is held to it.
With a latent variable of K values it is exact inference: k-means is ½|y - Wz|² with z enumerated over the K
one-hot vectors. Of equally good candidates it takes the first, where the last entry changes fastest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.infer.method import Method, State, stop_where
from ebm.infer.ranking import best
from ebm.problem import Problem
from ebm.solution import Stop

LIMIT = 2**24  # combinations a row that are worth waiting for
CHUNK_ROWS = 2**16  # candidate rows evaluated at once where `max_rows` does not say


class Enumerate(Method):
    """Try every combination of the Choices, or each of the given values of a continuous variable.

    u* = argmin_{c ∈ C} E(c), by (violation, energy) where there are constraints. It takes one step; a row
    ends by "exhausted", or by "non-finite" if no candidate has a finite energy. NaN counts as worst.

    Args:
        values: (K, *shape), the candidates of a free variable of that shape, the same for all rows; None for
            Choices. With values the start says the batch and the dtype, and is no candidate itself.

    Raises:
        TypeError: without values, if a free variable is continuous; with them, if it is not, or not alone.
        ValueError: if there are no values, if they do not have the variable's shape, or if there are more
            than 2²⁴ combinations.

    Example:
        >>> from ebm import Choices, energy, minimize
        >>> @energy
        ... def disagreement(spins, field):
        ...     sign = 2.0 * spins - 1.0
        ...     return -(field * sign).sum(1) - (sign[:, 1:] * sign[:, :-1]).sum(1)
        >>> up = Choices(torch.ones(1, 3, dtype=torch.long), n=2)
        >>> minimize(disagreement, up, Enumerate(), given={"field": torch.tensor([[-0.5, -0.5, 0.6]])}).value
        tensor([[0, 0, 0]])

        K-means assigns a point to the nearest prototype:

        >>> prototypes = torch.tensor([[0.0, 0.0], [4.0, 4.0]])
        >>> @energy
        ... def reconstruction(y, z):
        ...     return 0.5 * ((y - z @ prototypes) ** 2).sum(1)
        >>> z, y = torch.zeros(1, 2), torch.tensor([[3.0, 5.0]])
        >>> minimize(reconstruction, {"z": z}, Enumerate(torch.eye(2)), given={"y": y}).value
        {'z': tensor([[0., 1.]])}
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, values: Tensor | None = None):
        if values is not None and (values.ndim == 0 or len(values) == 0):
            raise ValueError(f"Enumerate needs K >= 1 candidates, (K, *shape); got {tuple(values.shape)}.")
        self.values = values

    def init(self, problem: Problem, u: Tensor) -> State:
        _, candidate = self._candidates(problem, u)
        if self.values is not None:  # the answer is a candidate, so what it is compared with must be one
            u = candidate(torch.zeros(len(u), dtype=torch.int64, device=u.device))
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        u = state["u"]
        total, candidate = self._candidates(problem, u)
        size = max(1, (problem.max_rows or CHUNK_ROWS) // len(u))
        number = torch.empty(len(u), 0, dtype=torch.int64, device=u.device)  # of the best so far: none
        energy, violation = state["value"].new_empty(len(u), 0), state["value"].new_empty(len(u), 0)
        for part in torch.arange(total, device=u.device).split(size):
            points = candidate(part)
            energies, violations = problem.candidates(points.expand(len(u), *points.shape))
            energy, number = torch.cat([energy, energies], 1), torch.cat([number, part.expand(len(u), -1)], 1)
            if violations is None:
                winner = best(energy, None).unsqueeze(1)
            else:
                violation = torch.cat([violation, violations], 1)
                winner = best(energy, violation).unsqueeze(1)
                violation = violation.gather(1, winner)
            energy, number = energy.gather(1, winner), number.gather(1, winner)
        return searched(problem, candidate(number.squeeze(1)), done=True)

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]

    def _candidates(self, problem: Problem, u: Tensor) -> tuple[int, Callable[[Tensor], Tensor]]:
        """How many there are, and the function from their numbers (k,) to themselves (k, *shape)."""
        real = [name for name in problem.shapes if name not in problem.choices]
        if self.values is None:
            if real:
                raise TypeError(
                    f"Enumerate() tries every combination of Choices, and {', '.join(real)} is continuous; "
                    f"name its candidates, Enumerate(values) with values (K, *shape)."
                )
            return _combinations(problem, u)
        if len(real) != 1 or problem.choices:
            raise TypeError(
                f"Enumerate(values) tries values of one continuous variable; the free variables are "
                f"{', '.join(problem.shapes)}, of which {', '.join(real) or 'none'} continuous. Choices take "
                f"Enumerate()."
            )
        if self.values.shape[1:] != u.shape[1:]:
            raise ValueError(
                f"a candidate has the shape of its variable, and {real[0]!r} has {tuple(u.shape[1:])}; got "
                f"values of shape {tuple(self.values.shape)} (the number of candidates first)."
            )
        values = self.values.to(u)
        return len(values), values.__getitem__


def _combinations(problem: Problem, u: Tensor) -> tuple[int, Callable[[Tensor], Tensor]]:
    """The numbers 0, 1, ... written with one digit an entry of u."""
    bases = [problem.choices[name] for name, shape in problem.shapes.items() for _ in range(shape.numel())]
    total = math.prod(bases)
    if total > LIMIT:
        product = " x ".join(map(str, bases[:6])) + (" x ..." if len(bases) > 6 else "")
        raise ValueError(
            f"there are {total} combinations a row ({product}), and Enumerate tries {LIMIT} at most; use "
            f"DynamicProgramming() on a Staged energy, or hold some of the entries fixed."
        )
    place = torch.tensor([math.prod(bases[d + 1 :]) for d in range(len(bases))], device=u.device)
    base = torch.tensor(bases, device=u.device)

    def candidate(number: Tensor) -> Tensor:
        return (number.unsqueeze(1) // place % base).view(len(number), *u.shape[1:])

    return total, candidate


def searched(problem: Problem, u: Tensor, done: bool) -> State:
    """The state of a search that takes one step: its point, and the code with which each row then stops."""
    value, violation = problem.value(u), problem.violation(u)
    finite = value.isfinite()
    code = stop_where(finite, Stop.EXHAUSTED) + stop_where(~finite, Stop.NON_FINITE)
    state = {"u": u, "value": value, "code": code if done else torch.zeros_like(code)}
    return state if violation is None else {**state, "violation": violation}

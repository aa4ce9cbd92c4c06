"""Exhaustive enumeration: look at every candidate and keep the best.

    u* = argmin_{c ∈ C} E(c),        C = {0, ..., n-1}^shape, or a given set of K values

The answer is the global minimum of the set, so every faster method for discrete variables is held to it. With a
latent variable that takes K values it is exact inference: k-means is ½|y - Wz|² with z enumerated over the K one-hot
vectors. Of equally good candidates the first is taken, in the order of an odometer whose last entry turns fastest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.infer.method import Method, State, stop_where
from ebm.infer.ranking import best, lower, without_nan
from ebm.problem import Problem
from ebm.solution import Stop

LIMIT = 2**24  # combinations a row that are worth waiting for
CHUNK_ROWS = 2**16  # candidate rows evaluated at once where `max_rows` does not say


class Enumerate(Method):
    """Try every combination of the Choices, or every one of the given values of a continuous variable.

    u* = argmin_{c ∈ C} E(c), by (violation, energy) where there are constraints. One step; a row ends by "exhausted",
    or by "non-finite" if no candidate has a finite energy (NaN counts as worst). `max_rows` bounds the memory.

    Args:
        values: (K, *shape), the candidates of a free variable of that shape, the same for all rows; None for Choices.
            The start then says the batch, the shape and the dtype, and is itself no candidate.

    Raises:
        TypeError: without values, if a free variable is not Choices; with values, if it is, or there are several.
        ValueError: if there are no values, their shape is not the variable's, or there are more than 2²⁴ combinations.

    Example:
        >>> from ebm import Choices, energy, minimize
        >>> @energy
        ... def disagreement(spins, fields):
        ...     signs = 2.0 * spins - 1.0
        ...     return -(fields * signs).sum(1) - (signs[:, 1:] * signs[:, :-1]).sum(1)
        >>> up = Choices(torch.ones(1, 3, dtype=torch.long), n=2)
        >>> fields = torch.tensor([[-0.5, -0.5, 0.6]])
        >>> minimize(disagreement, up, Enumerate(), given={"fields": fields}).value
        tensor([[0, 0, 0]])

        K-means assigns a point to the nearest column of W:

        >>> @energy
        ... def reconstruction(y, z):
        ...     return 0.5 * ((y - z @ torch.tensor([[0.0, 0.0], [4.0, 4.0]])) ** 2).sum(1)
        >>> one_hot = Enumerate(torch.eye(2))
        >>> minimize(reconstruction, {"z": torch.zeros(1, 2)}, one_hot, given={"y": torch.tensor([[3.0, 5.0]])}).value
        {'z': tensor([[0., 1.]])}
    """

    population = True
    discrete = True
    differentiable = False

    def __init__(self, values: Tensor | None = None):
        if values is not None and (values.ndim == 0 or len(values) == 0):
            raise ValueError(f"Enumerate needs at least one candidate, shape (K, *shape); got {tuple(values.shape)}.")
        self.values = values

    def init(self, problem: Problem, u: Tensor) -> State:
        _, candidate = self._candidates(problem, u)
        if self.values is not None:  # what is returned is a candidate, so what it is compared with must be one
            u = candidate(u.new_zeros(len(u), dtype=torch.int64))
        return searched(problem, u, done=False)

    def step(self, problem: Problem, state: State) -> State:
        u = state["u"]
        total, candidate = self._candidates(problem, u)
        size = max(1, (problem.max_rows or CHUNK_ROWS) // len(u))
        index = torch.zeros(len(u), dtype=torch.int64, device=u.device)  # the best so far
        energy, violation = torch.full_like(state["value"], torch.inf), None
        for first in range(0, total, size):
            part = candidate(torch.arange(first, min(first + size, total), device=u.device))  # (k, *shape)
            energies, violations = problem.candidates(part.expand(len(u), *part.shape))
            winner = best(energies, violations).unsqueeze(1)
            won, by = without_nan(
                energies.gather(1, winner).squeeze(1),
                None if violations is None else violations.gather(1, winner).squeeze(1),
            )
            if by is not None and violation is None:
                violation = torch.full_like(by, torch.inf)
            better = lower(won, by, energy, violation)
            index = torch.where(better, first + winner.squeeze(1), index)
            energy = torch.where(better, won, energy)
            violation = None if by is None else torch.where(better, by, violation)
        return searched(problem, candidate(index), done=True)

    def verdict(self, state: State, tol: float) -> Tensor:
        return state["code"]

    def _candidates(self, problem: Problem, u: Tensor) -> tuple[int, Callable[[Tensor], Tensor]]:
        """How many candidates there are, and the function from their numbers, (k,), to themselves, (k, *shape)."""
        shape = u.shape[1:]
        real = [name for name in problem.shapes if name not in problem.choices]
        if self.values is None:
            if real:
                raise TypeError(
                    f"Enumerate() tries every combination of Choices, and {', '.join(real)} is continuous; give the "
                    f"candidates, Enumerate(values) with values (K, *shape)."
                )
            return _combinations(problem, u)
        if not real or len(problem.shapes) > 1:
            raise TypeError(
                f"Enumerate(values) tries values of one continuous variable; the free ones are {', '.join(problem.shapes)}"
                f"{', Choices' if not real else ''}. Use Enumerate() on Choices."
            )
        if self.values.shape[1:] != shape:
            raise ValueError(
                f"the candidates of {real[0]!r} have shape (K, {', '.join(map(str, shape))}); got "
                f"{tuple(self.values.shape)}."
            )
        values = self.values.to(u)
        return len(values), values.__getitem__


def _combinations(problem: Problem, u: Tensor) -> tuple[int, Callable[[Tensor], Tensor]]:
    """The numbers 0, 1, ... written with one digit an entry of u."""
    bases = [problem.choices[name] for name, shape in problem.shapes.items() for _ in range(shape.numel())]
    total = math.prod(bases)
    if total > LIMIT:
        raise ValueError(
            f"there are {total} combinations a row ({' x '.join(map(str, bases[:6]))}{' ...' if len(bases) > 6 else ''}), "
            f"and Enumerate stops at {LIMIT}; use DynamicProgramming() on a Staged energy, or fix some of the entries."
        )
    places = [math.prod(bases[d + 1 :]) for d in range(len(bases))]
    place, base = (torch.tensor(n, dtype=torch.int64, device=u.device) for n in (places, bases))

    def candidate(number: Tensor) -> Tensor:
        return (number.unsqueeze(1) // place % base).view(len(number), *u.shape[1:])

    return total, candidate


def searched(problem: Problem, u: Tensor, done: bool) -> State:
    """The state of a search that ends in one step: its point, and the code with which each row then stops."""
    value, violation = problem.value(u), problem.violation(u)
    code = stop_where(value.isfinite(), Stop.EXHAUSTED) + stop_where(~value.isfinite(), Stop.NON_FINITE)
    state = {"u": u, "value": value, "code": code if done else torch.zeros_like(code)}
    return state if violation is None else {**state, "violation": violation}

"""Staged energies: a cost that is paid along a sequence of choices.

    E(given, a) = Σ_{t<T} c_t(s_t, a_t) + c_T(s_T),        s_0 = start(given),  s_{t+1} = stage(s_t, a_t, t)

A path through a graph, the tags of a sentence and the actions of a plan are sequences whose energy comes
stage by stage. It is an energy like any other, but who knows its stages can minimize it without trying all
n^T of them: two beginnings that lead to the same `key` have the same future, and only the cheaper one need
go on.

Reference: Bellman (1957), "Dynamic Programming", ch. III (the principle of optimality).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.signature import check_output, read_signature


class Staged(Energy, ABC):
    """The energy of a sequence of choices a ∈ {0, ..., n-1}^T, given stage by stage.

    E(given, a) = Σ_{t<T} c_t(s_t, a_t) + c_T(s_T)

    Its variables are the parameters of `start` and the choice variable, (B, T) int64. A state is a tensor,
    or a tuple or dict of tensors, rows first, and carries whatever the stages need of the given variables.
    (A search copies it for each beginning that it keeps, so tables that all rows share belong in buffers.) A
    cost of +inf forbids a choice. Two more methods are optional:

    - `key(state) -> (B,)` int64 in [0, num_keys): states of a stage with equal keys are equal for the future;
    - `lower_bound(state, t) -> (B,)`: never above the cost of stages t, ..., T-1 and the end (for A*).

    Args:
        choice: the name of the choice variable.
        horizon: T >= 1; None if any length will do.
        num_keys: how many values `key` has, at least 1; None without a `key`.

    Raises:
        TypeError: if `start` has no variable, or the class has only one of `key` and `num_keys`.
        ValueError: if `horizon` or `num_keys` is below 1, or a sequence is not T long.

    Example:
        The cheapest way of two roads from city 0 to city 2 (a road from a city to itself costs nothing):

        >>> from ebm import Choices, minimize
        >>> from ebm.staged import Staged
        >>> from ebm.infer import DynamicProgramming
        >>> class Route(Staged):
        ...     def __init__(self, toll):
        ...         super().__init__("cities", horizon=2, num_keys=len(toll))
        ...         self.register_buffer("toll", toll)
        ...     def start(self, source, target):
        ...         return source, target
        ...     def stage(self, state, choice, t):
        ...         city, target = state
        ...         return self.toll[city, choice], (choice, target)
        ...     def final(self, state):
        ...         city, target = state
        ...         return torch.where(city == target, 0.0, torch.inf)
        ...     def key(self, state):
        ...         return state[0]
        >>> route = Route(torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 1.0], [5.0, 1.0, 0.0]]))
        >>> ends = {"source": torch.tensor([0]), "target": torch.tensor([2])}
        >>> route(cities=torch.tensor([[2, 2]]), **ends)
        tensor([5.])
        >>> anywhere = Choices(torch.zeros(1, 2, dtype=torch.long), n=3)
        >>> best = minimize(route, anywhere, DynamicProgramming(), given=ends)
        >>> best.value, best.energy
        (tensor([[1, 2]]), tensor([2.]))
    """

    def __init__(self, choice: str, horizon: int | None = None, num_keys: int | None = None):
        super().__init__()
        who = type(self).__name__
        given, self.options = read_signature(self.start)
        if not given:
            raise TypeError(
                f"{who}.start needs at least one variable, which tells it the number of rows; write e.g. "
                f"start(self, source) with source of shape (B,)."
            )
        if choice in (*given, *self.options):
            raise TypeError(f"{who}: {choice!r} names the choice variable and a parameter of start.")
        for name, value in (("horizon", horizon), ("num_keys", num_keys)):
            if value is not None and value < 1:
                raise ValueError(f"{who}: {name} must be at least 1; got {value}.")
        if (num_keys is None) == hasattr(self, "key"):
            has, lacks = ("key", "num_keys") if num_keys is None else ("num_keys", "key")
            raise TypeError(
                f"{who} has {has} but no {lacks}; states are merged by key(state) -> (B,) in [0, num_keys), "
                f"which takes both."
            )
        self.choice, self.horizon, self.num_keys = choice, horizon, num_keys
        self.variables = (*given, choice)

    @abstractmethod
    def start(self, **given: Any) -> Any:
        """The state s_0 of every row; its parameters are the energy's other variables."""

    @abstractmethod
    def stage(self, state: Any, choice: Tensor, t: int) -> tuple[Tensor, Any]:
        """The cost c_t(s_t, a_t), (B,), and the next state, after `choice` (B,) int64 at time t."""

    @abstractmethod
    def final(self, state: Any) -> Tensor:
        """The cost c_T(s_T) of ending in a state, (B,)."""

    def forward(self, **variables: Any) -> Tensor:
        choices = variables.pop(self.choice)
        self.check_choices(choices)
        state = self.start(**variables)
        total: Tensor | float = 0.0
        for t in range(choices.shape[1]):
            cost, state = self.stage(state, choices[:, t], t)
            check_output(cost, len(choices), f"{self.label}.stage")
            total = total + cost
        final = self.final(state)
        check_output(final, len(choices), f"{self.label}.final")
        return total + final

    def check_choices(self, choices: Tensor) -> None:
        """Refuse what is not a sequence of choices for every row."""
        length = "T >= 1" if self.horizon is None else self.horizon
        if choices.ndim != 2 or choices.shape[1] != (self.horizon or max(1, choices.shape[1])):
            raise ValueError(
                f"{self.label}: {self.choice!r} is a sequence of choices for every row, shape (B, {length}); "
                f"got {tuple(choices.shape)}."
            )
        if choices.dtype != torch.int64:
            raise TypeError(f"{self.label}: {self.choice!r} is int64 (.long()); got {choices.dtype}.")

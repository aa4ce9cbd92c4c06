"""Worlds: batched environments, state in and state out.

    s_0 ~ reset(B),    s_{t+1} = step(s_t, a_t, noise),    o_t = observe(s_t),    cost(s_t, a_t): low is good

B episodes run side by side in tensors, on any device. A state is a dictionary of tensors, rows first; a world
itself holds settings alone, so an episode can be branched, repeated or replayed from any state. Actions are
held to the world's bounds by the world, whoever sends them. `ebm.world.adapter` makes a gymnasium environment
of a world.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ebm.regularizers import Ball, Box

State = dict[str, Tensor]


class World(ABC):
    """A batched environment.

    Attributes:
        action_size: A, numbers in an action.
        choices: K, where the allowed numbers are only the K evenly spaced ones from -1 to 1; None elsewhere.
        steps: length of an episode.
    """

    action_size: ClassVar[int]
    choices: ClassVar[int | None] = None
    steps: int

    @property
    @abstractmethod
    def bounds(self) -> Box | Ball:
        """The set of allowed actions, as an indicator of "actions", (B, T, A) or (B, A)."""

    @abstractmethod
    def reset(
        self,
        batch: int,
        generator: Generator | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The first states of B episodes."""

    @abstractmethod
    def move(self, state: State, actions: Tensor, generator: Generator | None) -> State:
        """The next states, after allowed actions (B, A)."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """What is seen of the states, (B, *shape)."""

    @abstractmethod
    def cost(self, state: State, actions: Tensor) -> Tensor:
        """What allowed actions (B, A) cost in these states, (B,); gymnasium's reward is its negative."""

    @abstractmethod
    def frames(self, state: State) -> Tensor:
        """Pictures of the states for people, (B, H, W, 3) uint8."""

    def ended(self, state: State) -> Tensor:
        """Whether an episode is over before its time, (B,) bool (default: never)."""
        first = next(iter(state.values()))
        return torch.zeros(len(first), dtype=torch.bool, device=first.device)

    def step(self, state: State, actions: Tensor, generator: Generator | None = None) -> State:
        """The next states, after actions (B, A) that are brought into the bounds first.

        Raises:
            TypeError: if the actions are no floating-point tensor.
            ValueError: if their shape is another, or one is NaN or infinite.
        """
        return self.move(state, self.allowed(actions, len(next(iter(state.values())))), generator)

    def allowed(self, actions: Tensor, batch: int) -> Tensor:
        """The nearest allowed actions, (B, A); refuses what is no action."""
        who = type(self).__name__
        if not isinstance(actions, Tensor) or not actions.is_floating_point():
            raise TypeError(f"{who} takes actions as a floating-point tensor; got {_kind(actions)}.")
        if actions.shape != (batch, self.action_size):
            raise ValueError(
                f"{who} runs {batch} episodes, so actions are ({batch}, {self.action_size}); got "
                f"{tuple(actions.shape)}."
            )
        if not bool(actions.isfinite().all()):
            rows = (~actions.isfinite().all(1)).nonzero().flatten().tolist()
            raise ValueError(f"{who}: the actions of episodes {rows[:5]} are NaN or infinite.")
        actions = self.bounds.prox(actions, actions.new_ones(batch))
        if self.choices is None:
            return actions
        gap = 2 / (self.choices - 1)
        return ((actions + 1) / gap).round() * gap - 1


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__

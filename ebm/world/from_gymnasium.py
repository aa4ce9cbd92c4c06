"""Any gymnasium environment, B copies of it behind one call.

    o = reset(seed);    o', cost, ended, truncated = step(actions),        (B, ...) each, cost = -reward

What a gymnasium environment hides in itself can't be branched, repeated or set back, so this is no `World`:
there is no state to hand over, and the copies are stepped one after the other in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces


class Outcome(NamedTuple):
    """What a step brought: observations (B, *shape), costs (B,), and who has ended or run out of time."""

    observations: np.ndarray
    costs: np.ndarray
    ended: np.ndarray
    truncated: np.ndarray


class FromGymnasium:
    """Copies of a gymnasium environment, with the manners of a `World` as far as they go.

    An episode that is over stands still: it isn't stepped, its observation stays and its cost is 0, until it
    is reset.

    Args:
        environments: B of them, all of one kind, with observations that are arrays.

    Raises:
        ValueError: if there are none, one is there twice, or their spaces differ.
        TypeError: if observations are no arrays, or actions are neither arrays (Box) nor numbers (Discrete).

    Example:
        >>> carts = FromGymnasium([gymnasium.make("CartPole-v1") for _ in range(3)])
        >>> carts.reset(seed=0).shape
        (3, 4)
        >>> outcome = carts.step(np.array([0, 1, 1]))
        >>> outcome.costs, outcome.ended
        (array([-1., -1., -1.]), array([False, False, False]))
    """

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]):
        self.environments = list(environments)
        if not self.environments:
            raise ValueError("FromGymnasium needs one environment at least, as in [gymnasium.make(...)].")
        if len({id(each) for each in self.environments}) < len(self.environments):
            raise ValueError("an environment is there twice: make one for each row.")
        first = self.environments[0]
        self.action_space, self.observation_space = first.action_space, first.observation_space
        for each in self.environments:
            if (each.action_space, each.observation_space) != (self.action_space, self.observation_space):
                raise ValueError(f"environments have the same spaces; {each} differs from {first}.")
        if not isinstance(self.observation_space, spaces.Box):
            raise TypeError(f"observations are arrays (Box); those of {first} are {self.observation_space}.")
        if not isinstance(self.action_space, spaces.Box | spaces.Discrete):
            raise TypeError(f"actions are of a Box or Discrete; those of {first} are {self.action_space}.")
        self._seen: np.ndarray | None = None
        self.over = np.ones(len(self.environments), dtype=bool)  # (B,)

    def reset(self, *, seed: int | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """Begin episodes, and return all observations, (B, *shape).

        Args:
            seed: row i gets seed + i; None goes on with each environment's own randomness.
            rows: bool (B,), those to begin anew; all if None.

        Raises:
            ValueError: if `rows` has another shape, or leaves out some before the first reset.
        """
        chosen = np.ones_like(self.over) if rows is None else np.asarray(rows, dtype=bool)
        if chosen.shape != self.over.shape or (self._seen is None and not chosen.all()):
            raise ValueError(f"rows is bool ({len(self.over)},), and all at first; got {chosen}.")
        new = {
            i: self.environments[i].reset(seed=None if seed is None else seed + i)[0]
            for i in range(len(chosen))
            if chosen[i]
        }
        self._seen = np.stack([new[i] if chosen[i] else self.observe()[i] for i in range(len(chosen))])
        self.over = self.over & ~chosen
        return self._seen.copy()

    def observe(self) -> np.ndarray:
        """What was seen last, (B, *shape).

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("nothing has been seen yet: call reset() first.")
        return self._seen.copy()

    def step(self, actions: np.ndarray) -> Outcome:
        """Act in every episode that isn't over.

        Args:
            actions: (B, *shape) of a Box, into which they are brought; whole numbers (B,) of a Discrete.

        Raises:
            ValueError: if actions have another shape, are NaN, or no such choice exists.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        actions, seen = self._allowed(np.asarray(actions)), self.observe()
        costs, ended, truncated = np.zeros(len(seen)), self.over.copy(), np.zeros_like(self.over)
        for i in np.flatnonzero(~self.over):
            seen[i], reward, ended[i], truncated[i], _ = self.environments[i].step(actions[i])
            costs[i] = -float(reward)
        self._seen, self.over = seen, self.over | ended | truncated
        return Outcome(seen.copy(), costs, ended, truncated)

    def close(self) -> None:
        """Close all environments."""
        for each in self.environments:
            each.close()

    def _allowed(self, actions: np.ndarray) -> np.ndarray:
        space = self.action_space
        shape = (len(self.over), *(space.shape or ()))
        if actions.shape != shape:
            raise ValueError(
                f"actions are {shape}, one for each of {shape[0]} episodes; got {actions.shape}."
            )
        if isinstance(space, spaces.Box):
            if np.isnan(actions).any():
                raise ValueError(
                    f"the actions of episodes {np.flatnonzero(np.isnan(actions).any(-1))} are NaN."
                )
            return np.clip(actions, space.low, space.high).astype(space.dtype)
        if not all(space.contains(action) for action in actions):
            raise ValueError(f"actions are whole numbers of {space}; got {actions}.")
        return actions

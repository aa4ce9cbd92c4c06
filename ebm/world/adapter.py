"""A world as a gymnasium environment: one episode at a time, numpy in and numpy out.

    reward = -cost(s_t, a_t),    terminated = ended(s_{t+1}),    truncated after world.steps

It steps the world's own batched form with a batch of one, so the two agree bit for bit. `reset` draws a seed
for torch's generator from gymnasium's `np_random`: `int(np_random.integers(2**63))`.

    from ebm.world.adapter import Environment, register
    env = Environment(TwoRooms(wall=32))            or    register(); env = gymnasium.make("ebm/TwoRooms-v0")
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from ebm.regularizers import Ball, Box
from ebm.world.cart_pole import CartPole
from ebm.world.pendulum import Pendulum
from ebm.world.point_mass import PointMass
from ebm.world.two_rooms import TwoRooms
from ebm.world.world import State, World


@runtime_checkable
class HasGoal(Protocol):
    """A world with a goal to reach: `info` tells how far it is and whether it is reached."""

    def distance(self, state: State) -> Tensor:
        """How far the goal is, (B,)."""

    def reached(self, state: State) -> Tensor:
        """Whether it is near enough, (B,) bool."""


@runtime_checkable
class ShowsGoal(Protocol):
    """A world that can show its goal as an observation."""

    def goal_observation(self, state: State) -> Tensor:
        """What would be seen at the goal, (B, *shape)."""


class Environment(gymnasium.Env[Any, Any]):
    """One episode of a world, for gymnasium.

    - An action is an array (A,), brought into the world's bounds; of a `Ball` the action space is the box
      around it. Where a world has `choices`, K of them, an action is a whole number below K (or A of them).
    - An observation is what the world's `observe` gives, as an array: images in uint8, or floats.
    - `info` holds "distance" and "success" where the world has a goal, and after a reset also "goal", what
      would be seen there, where the world can show it.
    - `reset(options={"state": state})` begins in a state of one row instead of a drawn one.

    Args:
        world: the world; it is not changed.
        render_mode: "rgb_array" to have `render` return pictures (H, W, 3); None for none.
        with_goal: observations are dictionaries of "observation" and "goal", for agents that learn to go
            where they are told.
        dtype: in which the world is stepped, and of observations that are no images.
        device: on which the world is stepped.

    Raises:
        ValueError: for another render mode, or `with_goal` for a world that can't show its goal.
        TypeError: if the world's bounds are neither a `Box` nor a `Ball`.

    Example:
        >>> env = Environment(TwoRooms())
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, env.action_space.shape, sorted(info)
        ((2, 65, 65), (2,), ['distance', 'goal', 'success'])
        >>> observation, reward, terminated, truncated, info = env.step(np.array([0.5, 0.0]))
        >>> reward < 0, terminated, truncated, info["success"]
        (True, False, False, False)
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's)

    def __init__(
        self,
        world: World,
        *,
        render_mode: str | None = None,
        with_goal: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ):
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode is "rgb_array" or None; got {render_mode!r}.')
        if with_goal and not isinstance(world, ShowsGoal):
            raise ValueError(f"{type(world).__name__} has no goal_observation, so with_goal must be False.")
        self.world, self.render_mode, self.with_goal = world, render_mode, with_goal
        self.dtype = dtype
        self._generator = Generator("cpu" if device is None else device)
        self._state: State | None = None
        self._left = 0  # steps until truncation
        self.action_space = action_space(world)
        seen = world.observe(self._first(self._generator.manual_seed(0)))[0]
        space = _observation_space(seen)
        self.observation_space = spaces.Dict(observation=space, goal=space) if with_goal else space

    @property
    def state(self) -> State:
        """The world's state, of one row; a copy.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("there is no state yet: call reset() first.")
        return {name: value.clone() for name, value in self._state.items()}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, in `options["state"]` if there is one; returns the observation and `info`."""
        super().reset(seed=seed)
        if set(options or {}) - {"state"}:
            raise ValueError(f'the only option of a reset is "state"; got {sorted(options or {})}.')
        self._generator.manual_seed(int(self.np_random.integers(2**63)))
        self._state = (options or {}).get("state") or self._first(self._generator)
        self._left = self.world.steps
        info = self._info(self._state)
        if isinstance(self.world, ShowsGoal):
            info["goal"] = _numpy(self.world.goal_observation(self._state)[0])
        return self._observation(self._state), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act; returns the observation, reward, whether it has ended, whether time is up, and `info`."""
        if self._state is None or not self._left:
            raise gymnasium.error.ResetNeeded("no episode is under way: call reset() before step().")
        actions = self.world.allowed(self._actions(action), 1)
        reward = -float(self.world.cost(self._state, actions))
        self._state = self.world.move(self._state, actions, self._generator)
        terminated = bool(self.world.ended(self._state))
        truncated = self._left == 1
        self._left = 0 if terminated else self._left - 1
        return self._observation(self._state), reward, terminated, truncated, self._info(self._state)

    def render(self) -> Any:
        """The picture of the state, (H, W, 3) uint8; None without a render mode."""
        return None if self.render_mode is None else _numpy(self.world.frames(self.state)[0])

    def _first(self, generator: Generator) -> State:
        return self.world.reset(1, generator, device=generator.device, dtype=self.dtype)

    def _actions(self, action: Any) -> Tensor:
        """An action as the world takes it, (1, A)."""
        if self.world.choices is not None:
            if not self.action_space.contains(action):
                raise ValueError(f"an action is of {self.action_space}; got {action!r}.")
            action = np.atleast_1d(action) * (2 / (self.world.choices - 1)) - 1
        return torch.as_tensor(np.asarray(action), dtype=self.dtype, device=self._generator.device)[None]

    def _observation(self, state: State) -> Any:
        seen = _numpy(self.world.observe(state)[0])
        if self.with_goal and isinstance(self.world, ShowsGoal):
            return {"observation": seen, "goal": _numpy(self.world.goal_observation(state)[0])}
        return seen

    def _info(self, state: State) -> dict[str, Any]:
        if not isinstance(self.world, HasGoal):
            return {}
        return {"distance": float(self.world.distance(state)), "success": bool(self.world.reached(state))}


def action_space(world: World) -> spaces.Space[Any]:
    """The gymnasium space of a world's actions.

    Raises:
        TypeError: if the world's bounds are neither a `Box` nor a `Ball`.

    Example:
        >>> action_space(Pendulum()), action_space(CartPole())
        (Box(-2.0, 2.0, (1,), float32), Discrete(2))
    """
    size, bounds = (world.action_size,), world.bounds
    if world.choices is not None:
        many = [world.choices] * world.action_size
        return spaces.MultiDiscrete(many) if len(many) > 1 else spaces.Discrete(world.choices)
    if isinstance(bounds, Ball):
        return spaces.Box(-bounds.radius, bounds.radius, size, np.float32)
    if isinstance(bounds, Box):
        low, high = (np.float32(torch.as_tensor(bound).cpu().numpy()) for bound in (bounds.low, bounds.high))
        return spaces.Box(np.broadcast_to(low, size), np.broadcast_to(high, size), dtype=np.float32)
    raise TypeError(f"gymnasium needs a Box or a Ball as bounds; {type(world).__name__} has {bounds}.")


def register() -> list[str]:
    """Make the worlds known to `gymnasium.make`, once; returns their ids.

    Settings go into the world: `gymnasium.make("ebm/TwoRooms-v0", world=TwoRooms(wall=32))`.

    Example:
        >>> register()
        ['ebm/TwoRooms-v0', 'ebm/PointMass-v0', 'ebm/Pendulum-v0', 'ebm/CartPole-v0']
        >>> gymnasium.make("ebm/PointMass-v0").reset(seed=0)[0]
        array([-1.5,  0. ,  0. ,  0. ], dtype=float32)
    """
    worlds: list[World] = [TwoRooms(), PointMass(), Pendulum(), CartPole()]
    ids = {f"ebm/{type(world).__name__}-v0": world for world in worlds}
    for name, world in ids.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, "ebm.world.adapter:Environment", kwargs={"world": world})
    return list(ids)


def _observation_space(seen: Tensor) -> spaces.Box:
    """All images, or all vectors, of this shape."""
    if seen.dtype == torch.uint8:
        return spaces.Box(0, 255, tuple(seen.shape), np.uint8)
    return spaces.Box(-np.inf, np.inf, tuple(seen.shape), _numpy(seen).dtype.type)


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()

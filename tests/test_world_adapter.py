"""Worlds as gymnasium environments, and gymnasium environments behind one call."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random
from torch import Generator, Tensor

from ebm.regularizers import Box, Simplex
from ebm.regularizers.regularizer import Regularizer
from ebm.testing.world_list import worlds
from ebm.world import CartPole, Pendulum, PointMass, TwoRooms
from ebm.world.adapter import Environment, action_space, register
from ebm.world.from_gymnasium import FromGymnasium
from ebm.world.world import World

WORLDS = worlds()
IDS = ["ebm/TwoRooms-v0", "ebm/PointMass-v0", "ebm/Pendulum-v0", "ebm/CartPole-v0"]
each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())

# gymnasium's advice, not its rules: normalized actions and bounded observations; and what it does only to
# environments that it made itself
ADVICE = "normalized space|is -infinity|is infinity|not having a spec"


def told(env: gymnasium.Env[Any, Any]) -> list[str]:
    """What gymnasium's checker warns of, its advice aside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    return [str(each.message) for each in caught if not re.search(ADVICE, str(each.message))]


@each_world
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_checker_passes(world: World, render_mode: str | None) -> None:
    assert told(Environment(world, render_mode=render_mode)) == []


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_passes_on_what_it_makes(name: str) -> None:
    assert register() == IDS == register()
    assert told(gymnasium.make(name).unwrapped) == []  # renders it, too, as it has a spec
    env = gymnasium.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2] == 3


def test_settings_go_into_the_world_that_is_made() -> None:
    register()
    env = gymnasium.make("ebm/TwoRooms-v0", world=TwoRooms(wall=40, steps=3), with_goal=True)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"observation", "goal"} and env.unwrapped.state["wall"].tolist() == [40.0]  # type: ignore[attr-defined]
    assert told(env.unwrapped) == []


@each_world
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_agrees_step_for_step_with_the_batched_form(world: World, dtype: torch.dtype) -> None:
    env = Environment(world, render_mode="rgb_array", dtype=dtype)
    env.action_space.seed(1)
    seen, info = env.reset(seed=7)
    g = Generator().manual_seed(int(np_random(7)[0].integers(2**63)))
    state = world.reset(1, g, dtype=dtype)
    ended = truncated = False
    steps = 0
    while not (ended or truncated):
        np.testing.assert_array_equal(seen, world.observe(state)[0])
        np.testing.assert_array_equal(env.render(), world.frames(state)[0])
        if isinstance(world, TwoRooms | PointMass):
            assert info["distance"] == float(world.distance(state))
            assert info["success"] is bool(world.reached(state))
        action = env.action_space.sample()
        if world.choices is None:
            actions = torch.as_tensor(action, dtype=dtype)[None]
        else:
            actions = torch.tensor([[(-1.0, 1.0)[action]]], dtype=dtype)
        expected = -float(world.cost(state, world.allowed(actions, 1)))
        state = world.step(state, actions, g)
        seen, reward, ended, truncated, info = env.step(action)
        steps += 1
        assert (
            reward == expected and ended == bool(world.ended(state)) and truncated == (steps == world.steps)
        )
    assert isinstance(world, CartPole) == ended
    with pytest.raises(gymnasium.error.ResetNeeded, match="no episode is under way"):
        env.step(env.action_space.sample())
    assert env.reset()[0].shape == seen.shape


@pytest.mark.parametrize("name", ["CartPole", "Pendulum", "PointMass, random starts"])
def test_rows_of_a_batch_are_episodes_on_their_own(name: str) -> None:
    world = WORLDS[name]
    state = world.reset(4, Generator().manual_seed(0), dtype=torch.float64)
    actions = (
        2 * torch.rand(10, 4, world.action_size, dtype=torch.float64, generator=Generator().manual_seed(1))
        - 1
    )
    envs = [Environment(world, dtype=torch.float64) for _ in range(4)]
    for i, env in enumerate(envs):
        start = {name: value[i : i + 1] for name, value in state.items()}
        np.testing.assert_array_equal(env.reset(options={"state": start})[0], world.observe(start)[0])
    for each in actions:
        state = world.step(state, each)
        for i, env in enumerate(envs):
            one = int(each[i, 0] > 0) if world.choices else each[i].numpy()
            seen = env.step(one)[0]
            np.testing.assert_allclose(seen, world.observe(state)[i], rtol=1e-13, atol=1e-13)


def test_seeds_give_different_episodes_and_no_seed_goes_on() -> None:
    env = Environment(TwoRooms())
    walls = []
    for seed in (0, None, None, 1, 0, None):
        env.reset(seed=seed)
        walls.append(tuple(float(value[0]) for value in (env.state["door"], env.state["wall"])))
    assert walls[0] == walls[4] and walls[1] == walls[5] and len(set(walls[:4])) == 4
    first, second = Environment(TwoRooms()), Environment(TwoRooms())
    assert not np.array_equal(first.reset()[0], second.reset()[0])  # unseeded, they differ


def test_what_was_returned_stays_as_it_was() -> None:
    for world in WORLDS.values():
        env = Environment(world, with_goal=isinstance(world, TwoRooms))
        start = env.reset(seed=0)
        kept = copy.deepcopy(start)
        before = env.state
        for _ in range(3):
            env.step(env.action_space.sample())
        np.testing.assert_equal(start, kept)
        env.reset(options={"state": before})
        env.state["state" if "state" in before else "position"].zero_()
        assert torch.equal(*(next(iter(state.values())) for state in (env.state, before)))
        env.step(env.action_space.sample())
        env.reset(options={"state": before})  # a state can be gone back to
        assert torch.equal(*(next(iter(state.values())) for state in (env.state, before)))


def test_goals_are_shown() -> None:
    world = TwoRooms()
    env = Environment(world)
    _, info = env.reset(seed=3)
    np.testing.assert_array_equal(info["goal"], world.goal_observation(env.state)[0])
    both = Environment(world, with_goal=True)
    observation, _ = both.reset(seed=3)
    np.testing.assert_array_equal(observation["goal"], info["goal"])
    assert observation in both.observation_space
    at_goal = {**env.state, "position": env.state["goal"]}
    _, info = env.reset(options={"state": at_goal})
    assert info["success"] is True and info["distance"] == 0.0


def test_spaces_are_those_of_the_bounds() -> None:
    assert action_space(TwoRooms()) == spaces.Box(-2.45, 2.45, (2,), np.float32)
    assert action_space(PointMass()) == spaces.Box(-1, 1, (2,), np.float32)
    assert action_space(Pendulum()) == gymnasium.make("Pendulum-v1").action_space
    assert action_space(CartPole()) == gymnasium.make("CartPole-v1").action_space
    assert Environment(TwoRooms()).observation_space == spaces.Box(0, 255, (2, 65, 65), np.uint8)
    vectors = Environment(CartPole(), dtype=torch.float64).observation_space
    assert vectors == spaces.Box(-np.inf, np.inf, (4,), np.float64)


class Odd(PointMass):
    """A point mass whose settings the adapter has to deal with."""

    def __init__(self, bounds: Regularizer):
        super().__init__()
        self.odd = bounds

    @property
    def bounds(self) -> Any:
        return self.odd


class Three(PointMass):
    """Each number of an action is one of three."""

    choices = 3


def test_other_spaces() -> None:
    uneven = action_space(Odd(Box("actions", Tensor([-1, -2]), 3.0)))
    assert uneven == spaces.Box(np.float32([-1, -2]), np.float32([3, 3]))
    with pytest.raises(TypeError, match="gymnasium needs a Box or a Ball as bounds; Odd has Simplex"):
        action_space(Odd(Simplex("actions")))
    env = Environment(Three(), dtype=torch.float64)
    assert env.action_space == spaces.MultiDiscrete([3, 3])
    env.reset(seed=0)
    assert env.step(np.array([0, 2]))[0].tolist() == pytest.approx([-1.52, 0.02, -0.2, 0.2])
    assert env.step(np.array([1, 1]))[0].tolist() == pytest.approx([-1.56, 0.06, -0.2, 0.2])
    assert told(Environment(Three())) == []


def test_errors_teach() -> None:
    with pytest.raises(ValueError, match="render_mode is \"rgb_array\" or None; got 'human'"):
        Environment(TwoRooms(), render_mode="human")
    with pytest.raises(ValueError, match="Pendulum has no goal_observation"):
        Environment(Pendulum(), with_goal=True)
    env = Environment(CartPole())
    for call in (lambda: env.step(0), lambda: env.state, lambda: env.unwrapped.state):  # type: ignore[attr-defined]
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\)"):
            call()
    env.reset(seed=0)
    for action in (2, -1, 0.5, np.array([1.0])):
        with pytest.raises(ValueError, match=r"an action is of Discrete\(2\); got"):
            env.step(action)
    with pytest.raises(ValueError, match=r'the only option of a reset is "state"; got \[\'speed\'\]'):
        env.reset(options={"speed": 3})
    rooms = Environment(TwoRooms())
    rooms.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions are \(1, 2\); got \(1, 3\)"):
        rooms.step(np.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        rooms.step(np.array([np.nan, 0.0]))


def test_worlds_do_without_gymnasium() -> None:
    code = "import sys; sys.modules['gymnasium'] = None; import ebm.world; print(ebm.world.TwoRooms().steps)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "200"


# --- gymnasium's environments behind one call ---------------------------------------------------------------


def copies(name: str, count: int, **settings: Any) -> list[Any]:
    return [gymnasium.make(name, **settings) for _ in range(count)]


def test_copies_do_what_each_would_alone() -> None:
    carts, alone = FromGymnasium(copies("CartPole-v1", 3)), copies("CartPole-v1", 3)
    seen = carts.reset(seed=5)
    np.testing.assert_array_equal(seen, [env.reset(seed=5 + i)[0] for i, env in enumerate(alone)])
    rng, over = np.random.default_rng(0), [False] * 3
    last = list(seen)
    for _ in range(80):
        actions = rng.integers(2, size=3)
        actions[1] = 1  # falls soon
        outcome = carts.step(actions)
        for i, env in enumerate(alone):
            if over[i]:
                assert outcome.costs[i] == 0 and outcome.ended[i]
            else:
                last[i], reward, over[i], truncated, _ = env.step(actions[i])
                assert (outcome.costs[i], outcome.ended[i], outcome.truncated[i]) == (
                    -reward,
                    over[i],
                    truncated,
                )
            np.testing.assert_array_equal(outcome.observations[i], last[i])
        assert carts.over.tolist() == over
        np.testing.assert_array_equal(carts.observe(), outcome.observations)
        outcome.observations[:] = 0
    assert all(over)
    again = carts.reset(seed=5, rows=np.array([False, True, False]))
    np.testing.assert_array_equal(again[1], seen[1])
    np.testing.assert_array_equal(again[[0, 2]], np.array(last)[[0, 2]])
    assert carts.over.tolist() == [True, False, True]
    carts.close()


def test_copies_of_the_pendulum_are_the_batched_world() -> None:
    pendulums = FromGymnasium(copies("Pendulum-v1", 4))
    pendulums.reset(seed=0)
    start = np.array([env.unwrapped.state for env in pendulums.environments])
    world, state = Pendulum(), {"state": torch.from_numpy(start)}
    g = Generator().manual_seed(0)
    for step in range(200):
        actions = 6 * torch.rand(4, 1, generator=g) - 3
        cost = world.cost(state, world.allowed(actions.double(), 4))
        state = world.step(state, actions.double())
        outcome = pendulums.step(actions.numpy())
        np.testing.assert_allclose(outcome.observations, world.observe(state), atol=1e-5)
        np.testing.assert_allclose(outcome.costs, cost, atol=1e-5)
        assert outcome.truncated.all() == (step == 199) and not outcome.ended.any()
    assert pendulums.over.all()


def test_copies_of_a_world_come_back_as_they_were() -> None:
    register()
    points = FromGymnasium(copies("ebm/PointMass-v0", 2, world=PointMass(spread=0.5)))
    seen = points.reset(seed=1)
    state = {"state": torch.from_numpy(seen)}
    actions = torch.tensor([[1.0, 0.5], [-0.5, 1.0]])
    outcome = points.step(actions.numpy())
    np.testing.assert_allclose(outcome.observations, PointMass().step(state, actions)["state"], rtol=1e-6)
    np.testing.assert_allclose(outcome.costs, PointMass().cost(state, actions), rtol=1e-6)


def test_what_cannot_run_side_by_side_is_told() -> None:
    with pytest.raises(ValueError, match="needs one environment at least"):
        FromGymnasium([])
    with pytest.raises(ValueError, match="is there twice"):
        FromGymnasium(copies("CartPole-v1", 1) * 2)
    with pytest.raises(ValueError, match="have the same spaces"):
        FromGymnasium([*copies("CartPole-v1", 1), *copies("Pendulum-v1", 1)])
    with pytest.raises(TypeError, match=r"observations are arrays \(Box\); those of"):
        FromGymnasium([Environment(TwoRooms(), with_goal=True)])
    with pytest.raises(TypeError, match="actions are of a Box or Discrete; those of"):
        FromGymnasium([Environment(Three())])
    carts = FromGymnasium(copies("CartPole-v1", 2))
    for call in (carts.observe, lambda: carts.step(np.array([0, 1]))):
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) first"):
            call()
    for rows in ([True, False], [True]):
        with pytest.raises(ValueError, match=r"rows is bool \(2,\), and all at first"):
            carts.reset(rows=np.array(rows))
    carts.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions are \(2,\), one for each of 2 episodes; got \(3,\)"):
        carts.step(np.array([0, 1, 1]))
    for wrong in (np.array([0, 2]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match=r"actions are whole numbers of Discrete\(2\); got"):
            carts.step(wrong)
    pendulums = FromGymnasium(copies("Pendulum-v1", 2))
    pendulums.reset(seed=0)
    with pytest.raises(ValueError, match=r"the actions of episodes \[1\] are NaN"):
        pendulums.step(np.array([[0.0], [np.nan]]))

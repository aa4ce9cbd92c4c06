"""The contract of worlds, on every one of the package."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from ebm.regularizers import Ball, Box
from ebm.testing.world_list import worlds
from ebm.world.world import State, World

WORLDS = worlds()
pytestmark = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def reach(world: World) -> float:
    """The greatest number in an allowed action."""
    bounds = world.bounds
    assert isinstance(bounds, Ball | Box)
    return bounds.radius if isinstance(bounds, Ball) else float(bounds.high)


def wide_actions(world: World, batch: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
    """Half of them out of the bounds."""
    return (
        2 * reach(world) * (2 * torch.rand(batch, world.action_size, generator=seeded(seed), dtype=dtype) - 1)
    )


def run(
    world: World, batch: int, steps: int, dtype: torch.dtype | None = None, changed: int = -1
) -> list[State]:
    """States of episodes; the actions of one row may be changed."""
    g = seeded(1)
    states = [world.reset(batch, g, dtype=dtype)]
    for step in range(steps):
        actions = wide_actions(world, batch, step, dtype)
        if changed >= 0:
            actions[changed] *= -1
        states.append(world.step(states[-1], actions, g))
    return states


def equal(one: State, other: State, rows: slice | list[int] = slice(None)) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k][rows], other[k][rows]) for k in one)


def test_the_same_seed_gives_the_same_episodes_and_another_does_not(world: World) -> None:
    for one, other in zip(run(world, 5, 6), run(world, 5, 6), strict=True):
        assert equal(one, other)
    again = world.reset(5, seeded(2))
    starts_are_fixed = equal(world.reset(5, seeded(3)), again)
    assert starts_are_fixed == (getattr(world, "spread", None) == (0.0,) * 4)


def test_a_neighbors_action_changes_nothing(world: World) -> None:
    kept, changed = run(world, 5, 12), run(world, 5, 12, changed=2)
    others = [0, 1, 3, 4]
    for one, other in zip(kept, changed, strict=True):
        assert equal(one, other, others)
        assert torch.equal(world.observe(one)[others], world.observe(other)[others])
    assert not equal(kept[-1], changed[-1], [2])


def test_rows_can_be_taken_out_and_repeated(world: World) -> None:
    state = run(world, 4, 3)[-1]
    some = {name: value[[3, 1, 1]] for name, value in state.items()}
    actions = wide_actions(world, 4, 9)
    allowed = world.allowed(actions, 4)
    assert torch.equal(world.observe(some), world.observe(state)[[3, 1, 1]])
    assert torch.equal(world.frames(some), world.frames(state)[[3, 1, 1]])
    assert torch.equal(world.ended(some), world.ended(state)[[3, 1, 1]])
    assert torch.equal(world.cost(some, allowed[[3, 1, 1]]), world.cost(state, allowed)[[3, 1, 1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_and_dtypes_stay(world: World, dtype: torch.dtype, batch: int) -> None:
    states = run(world, batch, 8, dtype)
    seen = world.observe(states[0])
    for state in states:
        assert state.keys() == states[0].keys()
        for name, value in state.items():
            assert value.dtype == dtype and value.shape == states[0][name].shape and len(value) == batch
            assert bool(value.isfinite().all())
        now = world.observe(state)
        assert now.shape == seen.shape and now.dtype == seen.dtype and len(now) == batch
        assert now.dtype in (torch.uint8, dtype)
        cost = world.cost(state, world.allowed(wide_actions(world, batch, 5, dtype), batch))
        assert cost.shape == (batch,) and cost.dtype == dtype and bool(cost.isfinite().all())
        ended = world.ended(state)
        assert ended.shape == (batch,) and ended.dtype == torch.bool
        frames = world.frames(state)
        assert frames.dtype == torch.uint8 and frames.ndim == 4 and frames.shape[::3] == (batch, 3)


def test_no_rows_are_no_trouble(world: World) -> None:
    state = world.step(world.reset(0, seeded()), torch.empty(0, world.action_size), seeded())
    assert [len(value) for value in state.values()] == [0] * len(state)
    assert len(world.observe(state)) == len(world.frames(state)) == len(world.ended(state)) == 0


def test_a_device_is_kept(world: World) -> None:
    """On torch's device without numbers, where any other device would be noticed."""
    state = world.reset(3, device="meta")
    moved = world.move(state, torch.zeros(3, world.action_size, device="meta"), None)
    assert {value.device.type for value in [*moved.values(), world.ended(moved)]} == {"meta"}
    cost = world.cost(state, torch.zeros(3, world.action_size, device="meta"))
    assert cost.device.type == "meta"


@pytest.mark.cuda
def test_cuda_is_kept(world: World) -> None:
    g = Generator("cuda").manual_seed(0)
    state = world.reset(3, g, device="cuda")
    state = world.step(state, torch.zeros(3, world.action_size, device="cuda"), g)
    cost = world.cost(state, torch.zeros(3, world.action_size, device="cuda"))
    made = [*state.values(), world.observe(state), world.frames(state), world.ended(state), cost]
    assert {value.device.type for value in made} == {"cuda"}


def test_no_state_is_changed(world: World) -> None:
    state = world.reset(4, seeded())
    before = {name: value.clone() for name, value in state.items()}
    actions = wide_actions(world, 4, 0)
    sent = actions.clone()
    world.step(state, actions, seeded())
    world.cost(state, world.allowed(actions, 4))
    world.frames(state)
    seen = world.observe(state)
    seen.zero_()  # what is seen is no window into the state
    world.ended(state)
    assert equal(state, before) and torch.equal(actions, sent)


def test_actions_out_of_bounds_are_brought_into_them(world: World) -> None:
    actions = torch.cat([wide_actions(world, 200, 0), torch.full((1, world.action_size), 1e15)])
    allowed = world.allowed(actions, 201)
    assert bool((world.bounds(actions=allowed) == 0).all())
    torch.testing.assert_close(world.allowed(allowed, 201), allowed, rtol=0, atol=1e-6)
    state = world.reset(201, seeded(4))
    torch.testing.assert_close(world.step(state, actions, seeded(5)), world.step(state, allowed, seeded(5)))
    inside = world.bounds(actions=actions) == 0
    assert 0.1 < float(inside.float().mean()) < 0.9
    if world.choices is None:
        torch.testing.assert_close(allowed[inside], actions[inside])
    else:
        assert sorted(set(allowed.flatten().tolist())) == torch.linspace(-1, 1, world.choices).tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(world: World, value: float) -> None:
    state, actions = world.reset(4, seeded()), torch.zeros(4, world.action_size)
    actions[2, 0] = value
    with pytest.raises(ValueError, match=rf"{type(world).__name__}.*episodes \[2\] are NaN or infinite"):
        world.step(state, actions, seeded())


def test_what_is_no_action_is_refused(world: World) -> None:
    state, size, who = world.reset(4, seeded()), world.action_size, type(world).__name__
    for wrong in (torch.zeros(3, size), torch.zeros(4, size + 1), torch.zeros(size), torch.zeros(4, 1, size)):
        with pytest.raises(ValueError, match=rf"{who} runs 4 episodes, so actions are \(4, {size}\); got"):
            world.step(state, wrong, seeded())
    for other, name in ((torch.zeros(4, size, dtype=torch.long), "torch.int64"), ([0.0] * size, "list")):
        with pytest.raises(TypeError, match=rf"{who} takes actions as a floating-point tensor; got {name}"):
            world.step(state, other, seeded())  # type: ignore[arg-type]


def test_settings_out_of_range_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match=r"positive; got (steps=)?0"):
        type(world)(steps=0)  # type: ignore[call-arg]
    assert world.steps > 0

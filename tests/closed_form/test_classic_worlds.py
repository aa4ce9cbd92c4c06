"""Pendulum and CartPole against gymnasium's own, the point mass against its equations."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from ebm.world import CartPole, KnownDynamics, Pendulum, PointMass

FLOAT = torch.float64


def gymnasium_pendulum() -> Any:
    return gymnasium.make("Pendulum-v1").unwrapped


def gymnasium_cart_pole() -> Any:
    return gymnasium.make("CartPole-v1").unwrapped


def in_turn(
    env: Any, start: Tensor, actions: list[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States after each action, what was seen of them, rewards, and whether it had ended."""
    env.reset(seed=0)
    env.state = start.numpy().copy()
    rows = []
    for action in actions:
        seen, reward, ended, _, _ = env.step(action)
        rows.append((np.array(env.state), seen, float(reward), ended))
    return tuple(np.array(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def test_the_pendulum_is_gymnasiums_over_200_steps(generator: Generator) -> None:
    world, batch, steps = Pendulum(), 6, 200
    state = world.reset(batch, generator, dtype=FLOAT)
    start = state["state"]
    actions = (
        6 * torch.rand(steps, batch, 1, generator=generator, dtype=FLOAT) - 3
    )  # a third beyond the bounds
    ours = []
    for each in actions:
        reward = -world.cost(state, world.allowed(each, batch))
        state = world.step(state, each)
        ours.append((state["state"], world.observe(state), reward, world.ended(state)))
    states, seen, rewards, ended = (torch.stack(column, 1).numpy() for column in zip(*ours, strict=True))
    for i in range(batch):
        env = gymnasium_pendulum()
        expected = in_turn(env, start[i], list(actions[:, i].numpy()))
        np.testing.assert_allclose(states[i], expected[0], rtol=0, atol=1e-11)  # rounding grows as angles do
        np.testing.assert_allclose(seen[i], expected[1], rtol=0, atol=1e-6)  # gymnasium's are float32
        np.testing.assert_allclose(rewards[i], expected[2], rtol=0, atol=1e-10)
    assert not ended.any() and np.abs(states[..., 1]).max() == 8.0  # fast enough to be clipped


@pytest.mark.parametrize("name", ["Pendulum", "CartPole"])
def test_single_steps_are_gymnasiums_to_the_last_digits(name: str, generator: Generator) -> None:
    pendulum = name == "Pendulum"
    world, env = (Pendulum(), gymnasium_pendulum()) if pendulum else (CartPole(), gymnasium_cart_pole())
    wide = torch.tensor([40.0, 8.0] if pendulum else [3.0, 3.0, 0.4, 4.0], dtype=FLOAT)
    start = wide * (2 * torch.rand(500, len(wide), generator=generator, dtype=FLOAT) - 1)
    actions = 4 * torch.rand(500, 1, generator=generator, dtype=FLOAT) - 2
    taken = actions.numpy() if pendulum else (actions[:, 0] > 0).long().numpy()
    after = world.step({"state": start}, actions)["state"].numpy()
    rewards = -world.cost({"state": start}, world.allowed(actions, 500)).numpy()
    for i in range(500):
        expected, _, reward, ended = in_turn(env, start[i], [taken[i]])
        np.testing.assert_allclose(after[i], expected[0], rtol=1e-14, atol=1e-14)
        assert bool(world.ended({"state": torch.from_numpy(expected)})) == bool(ended[0])
        if pendulum or not world.ended({"state": start[i : i + 1]}):
            assert rewards[i] == pytest.approx(reward[0], rel=1e-13)


def test_cart_and_pole_are_gymnasiums_to_the_end_of_episodes(generator: Generator) -> None:
    world, batch = CartPole(), 40
    state = world.reset(batch, generator, dtype=FLOAT)
    start = state["state"]
    assert float(start.abs().max()) <= 0.05
    choices = torch.randint(2, (200, batch), generator=generator)
    ours = []
    for each in choices:
        actions = (2.0 * each - 1)[:, None].to(FLOAT)
        reward = -world.cost(state, world.allowed(actions, batch))
        state = world.step(state, actions)
        ours.append((state["state"], world.observe(state), reward, world.ended(state)))
    states, seen, rewards, ended = (torch.stack(column, 1).numpy() for column in zip(*ours, strict=True))
    lengths = []
    for i in range(batch):
        with pytest.warns(UserWarning, match="already returned terminated"):
            expected = in_turn(gymnasium_cart_pole(), start[i], choices[:, i].tolist())
        last = int(expected[3].argmax())
        lengths.append(last + 1)
        np.testing.assert_allclose(states[i, : last + 1], expected[0][: last + 1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(seen[i, : last + 1], expected[1][: last + 1], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(ended[i, : last + 1], expected[3][: last + 1])
        np.testing.assert_array_equal(rewards[i, : last + 2], expected[2][: last + 2])  # and 0 afterwards
    assert min(lengths) >= 8 and max(lengths) < 200


def test_starts_are_as_gymnasiums(generator: Generator) -> None:
    n = 40_000
    for world, wide in ((Pendulum(), [math.pi, 1.0]), (CartPole(), [0.05] * 4)):
        start = world.reset(n, generator, dtype=FLOAT)["state"] / torch.tensor(wide, dtype=FLOAT)
        assert float(start.abs().max()) <= 1
        assert float(start.mean(0).abs().max()) < 4 / math.sqrt(3 * n)
        assert float((start.square().mean(0) - 1 / 3).abs().max()) < 4 * math.sqrt(4 / 45 / n)


def test_of_a_carts_actions_the_sign_counts() -> None:
    world = CartPole()
    sent = torch.tensor([[-3.0], [-0.01], [0.0], [0.01], [0.9], [7.0]])
    assert world.allowed(sent, 6).flatten().tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]


def test_the_dynamics_are_differentiable() -> None:
    world, state = CartPole(), torch.tensor([0.0, 0.0, 0.1, 0.0], dtype=FLOAT)
    share = torch.zeros(1, dtype=FLOAT, requires_grad=True)
    assert torch.autograd.gradcheck(world.dynamics, (state.requires_grad_(), share))
    assert torch.autograd.gradcheck(Pendulum().dynamics, (state[:2].detach().requires_grad_(), share))
    assert torch.autograd.gradcheck(PointMass().dynamics, (state, share.detach().repeat(2).requires_grad_()))


# --- the point mass -----------------------------------------------------------------------------------------


def written_out(s: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, float]:
    """The next state, and the cost of it, in plain numbers."""
    ax, ay = (min(1.0, max(-1.0, value)) for value in a)
    vx, vy = s[2] + 0.2 * ax, s[3] + 0.2 * ay
    x, y = s[0] + 0.1 * (s[2] + vx), s[1] + 0.1 * (s[3] + vy)
    clearance = math.hypot(x, y - 0.05) - 0.5
    cost = (x - 1.5) ** 2 + y**2 + 0.1 * (vx**2 + vy**2) + 0.01 * (ax**2 + ay**2)
    return np.array([x, y, vx, vy]), cost + 500 * max(0.0, 0.05 - clearance) ** 2


def test_the_point_mass_is_its_equations(generator: Generator) -> None:
    world = PointMass(spread=(2.0, 1.0, 1.0, 1.0))
    state = world.reset(300, generator, dtype=FLOAT)
    actions = 4 * torch.rand(300, 2, generator=generator, dtype=FLOAT) - 2
    after, cost = world.step(state, actions)["state"], world.cost(state, world.allowed(actions, 300))
    expected = [written_out(*each) for each in zip(state["state"].numpy(), actions.numpy(), strict=True)]
    np.testing.assert_allclose(after, [each[0] for each in expected], rtol=0, atol=1e-14)
    np.testing.assert_allclose(cost, [each[1] for each in expected], rtol=1e-12)
    assert 0.05 < float((world.clearance(after) < 0.05).double().mean()) < 0.95


def test_who_does_nothing_pays_180() -> None:
    world = PointMass()
    state, total = world.reset(1), 0.0
    for _ in range(20):
        total += float(world.cost(state, torch.zeros(1, 2)))
        state = world.step(state, torch.zeros(1, 2))
    assert total == pytest.approx(180.0) and state["state"].tolist() == [[-1.5, 0.0, 0.0, 0.0]]


def test_the_dynamics_serve_as_a_world_model(generator: Generator) -> None:
    world = PointMass(spread=0.5)
    state, actions = world.reset(3, generator), 3 * torch.randn(3, 7, 2, generator=generator)
    states = KnownDynamics(world.dynamics, action_size=2).rollout(world.observe(state), actions)
    for t in range(7):
        torch.testing.assert_close(states[:, t], state["state"], rtol=0, atol=0)
        state = world.step(state, actions[:, t])
    costs = world.stage_cost(states[:, 1:], actions.clamp(-1, 1))
    assert costs.shape == (3, 7)
    gradient = torch.autograd.functional.jacobian(
        lambda a: world.stage_cost(world.dynamics(states[0, 0], a), a), torch.zeros(2)
    )
    assert bool(gradient.isfinite().all()) and bool((gradient != 0).any())


def test_random_starts_of_the_point_mass(generator: Generator) -> None:
    assert torch.equal(PointMass().reset(2, generator)["state"], torch.tensor([[-1.5, 0, 0, 0]]).repeat(2, 1))
    n, spread = 20_000, torch.tensor([0.3, 0.8, 0.2, 0.0], dtype=FLOAT)
    start = PointMass(spread=spread.tolist()).reset(n, generator, dtype=FLOAT)["state"]
    u = (start - torch.tensor([-1.5, 0, 0, 0], dtype=FLOAT))[:, :3] / spread[:3]
    assert float(u.abs().max()) <= 1 + 1e-12 and bool((start[:, 3] == 0).all())
    assert float((u.square().mean(0) - 1 / 3).abs().max()) < 4 * math.sqrt(4 / 45 / n)
    for wrong in (-0.1, (1.0, 2.0), (0.0, 0.0, 0.0, math.inf), math.nan):
        with pytest.raises(ValueError, match="spread is a number or four"):
            PointMass(spread=wrong)


def test_the_goal_of_the_point_mass_is_reached_within_a_tenth() -> None:
    world = PointMass()
    state = {"state": torch.tensor([[1.5, 0.099, 3.0, 0.0], [1.5, 0.101, 0.0, 0.0]])}
    assert world.reached(state).tolist() == [True, False]
    torch.testing.assert_close(world.distance(state), torch.tensor([0.099, 0.101]))


# --- pictures -----------------------------------------------------------------------------------------------


def where(frame: Tensor, color: tuple[float, float, float]) -> tuple[float, float]:
    """The middle (column, row) of the pixels of a color."""
    pixels = (frame.float() / 255 - torch.tensor(color)).abs().amax(-1) < 0.02
    row, column = pixels.nonzero().double().T
    return float(column.mean()), float(row.mean())


VERMILION, DARK = (0.835, 0.369, 0.0), (0.25, 0.25, 0.25)


def test_pictures_show_the_state() -> None:
    pendulum = Pendulum().frames({"state": torch.tensor([[0.0, 0.0], [math.pi / 2, 0.0], [math.pi, 9.0]])})
    (up, left, down), middle = [where(frame, VERMILION) for frame in pendulum], 63.5
    assert up[1] < middle - 5 and abs(up[0] - middle) < 1  # angles grow to the left, as in gymnasium
    assert left[0] < middle - 5 and abs(left[1] - middle) < 1 and down[1] > middle + 5
    cart = CartPole().frames({"state": torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0.5, 0]])})
    (straight, leaning), (west, east) = ([where(f, c) for f in cart] for c in (VERMILION, DARK))
    assert abs(east[0] - west[0] - 80) < 1 and abs(straight[0] - west[0]) < 1 and leaning[0] > east[0] + 5
    point = PointMass().frames(
        {"state": torch.tensor([[-1.5, 0, 0, 0], [-1.0, 1.0, 0, 0], [9.0, 9.0, 0, 0]])}
    )
    assert where(point[0], VERMILION) == pytest.approx((79.5 - 48, 47.5), abs=0.3)
    assert where(point[1], VERMILION) == pytest.approx((79.5 - 32, 47.5 - 32), abs=0.3)
    assert not ((point[2].float() / 255 - torch.tensor(VERMILION)).abs().amax(-1) < 0.02).any()

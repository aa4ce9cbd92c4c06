"""Two Rooms against what was computed otherwise: small steps, dense drawings, loops, and scripted floors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Generator, Tensor

from ebm.world.dots import draw_dots
from ebm.world.policies import expert_policy, greedy_policy, random_policy
from ebm.world.two_rooms import TwoRooms, draw_walls, travel

LOW, HIGH, HALF_WALL, HALF_DOOR = 5.0, 59.0, 1.5, 4.0
FLOAT = torch.float64


def inside(x: np.ndarray, y: np.ndarray, wall: np.ndarray, door: np.ndarray) -> np.ndarray:
    """Whether points lie in the wall, not only on it."""
    return (np.abs(x - wall) < HALF_WALL) & (np.abs(y - door) > HALF_DOOR)


def small_steps(p: np.ndarray, a: np.ndarray, wall: np.ndarray, door: np.ndarray, n: int) -> tuple:
    """The last of n + 1 points on the way before one that is in a wall or beyond the border."""
    x, y = p.T[:, :, None] + a.T[:, :, None] * (np.arange(n + 1) / n)  # (B, n + 1) each
    bad = (x < LOW) | (x > HIGH) | (y < LOW) | (y > HIGH) | inside(x, y, wall[:, None], door[:, None])
    hit, row = bad.any(1), np.arange(len(p))
    last = np.where(hit, bad.argmax(1) - 1, n)
    return np.stack([x[row, last], y[row, last]], 1), hit


def segments(count: int, speed: float, seed: int) -> tuple[np.ndarray, ...]:
    """Starts outside the wall but not far from its door or the border, some of them on the wall; and ways."""
    rng = np.random.default_rng(seed)
    wall, door = rng.integers(20, 45, count).astype(float), rng.integers(10, 55, count).astype(float)
    p = (np.stack([wall, door], 1) + rng.uniform((-5, -8), (5, 8), (count, 2))).clip(LOW, HIGH)
    shut = inside(p[:, 0], p[:, 1], wall, door)
    p[:, 0] = np.where(shut, wall + HALF_WALL * rng.choice([-1, 1], count), p[:, 0])
    corner = rng.random(count) < 0.1
    p[:, 1] = np.where(corner & ~shut, door + HALF_DOOR * rng.choice([-1, 1], count), p[:, 1])
    way = rng.normal(size=(count, 2))
    way *= speed * rng.random((count, 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return p.clip(LOW, HIGH), way, wall, door


@pytest.mark.parametrize(("speed", "seed"), [(2.45, 0), (25.0, 1)])
def test_travel_agrees_with_small_steps(speed: float, seed: int) -> None:
    n, given = 1000, segments(5000, speed, seed)
    expected, expected_hit = small_steps(*given, n)
    end, hit = (value.numpy() for value in travel(*map(torch.tensor, given)))
    assert 0.1 < hit.mean() < 0.6
    unit = np.linalg.norm(given[1], axis=1) / n + 1e-9
    odd = (np.linalg.norm(end - expected, axis=1) > 1.001 * unit) | (hit != expected_hit)
    assert odd.sum() < 10  # corners that are cut by less than one small step, to be looked at more closely
    rows = [value[odd] for value in given]
    expected, expected_hit = small_steps(*rows, 1_000_000)
    np.testing.assert_array_equal(hit[odd], expected_hit)
    np.testing.assert_allclose(end[odd], expected, atol=speed * 2e-6)


GRAZES = [  # start, way, where it ends, whether it meets a wall: x 30.5 to 33.5, the door's y 26 to 34
    ((29.5, 33.0), (2.0, 2.0), (30.5, 34.0), True),  # into the wall through the door's corner
    ((29.5, 27.0), (2.0, -2.0), (30.5, 26.0), True),
    ((34.5, 33.0), (-2.0, 2.0), (33.5, 34.0), True),
    ((34.5, 27.0), (-2.0, -2.0), (33.5, 26.0), True),
    ((29.5, 35.0), (2.0, -2.0), (31.5, 33.0), False),  # around the corner, into the door
    ((34.5, 25.0), (-2.0, 2.0), (32.5, 27.0), False),
    ((29.5, 34.0), (5.0, 0.0), (34.5, 34.0), False),  # along the door's side
    ((33.0, 26.0), (-1.0, 0.0), (32.0, 26.0), False),
    ((33.5, 26.0), (0.0, -2.0), (33.5, 24.0), False),  # along the wall's face
    ((30.5, 20.0), (0.0, 9.0), (30.5, 29.0), False),
    ((30.5, 20.0), (1.0, 0.0), (30.5, 20.0), True),  # against the wall that it touches
    ((30.5, 20.0), (-1.0, 0.0), (29.5, 20.0), False),
    ((32.0, 34.0), (0.0, 0.5), (32.0, 34.0), True),
    ((32.0, 34.0), (1.0, -1.0), (33.0, 33.0), False),
    ((29.5, 36.0), (3.0, -12.0), (32.0, 26.0), True),  # in by one side of the door, against the other
    ((5.0, 5.0), (-1.0, -1.0), (5.0, 5.0), True),
    ((5.0, 40.0), (0.0, 1.0), (5.0, 41.0), False),
    ((29.0, 58.0), (3.0, 2.0), (30.5, 59.0), True),  # where wall and border meet
    ((32.0, 30.0), (0.0, 0.0), (32.0, 30.0), False),
    ((30.5, 34.0), (0.0, 0.0), (30.5, 34.0), False),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ways_that_graze_a_wall_are_exact(dtype: torch.dtype) -> None:
    start, way, end, hit = (list(column) for column in zip(*GRAZES, strict=True))
    wall, door = torch.full((len(GRAZES),), 32.0, dtype=dtype), torch.full((len(GRAZES),), 30.0, dtype=dtype)
    at, met = travel(torch.tensor(start, dtype=dtype), torch.tensor(way, dtype=dtype), wall, door)
    assert met.tolist() == hit
    tolerance = 0 if dtype == torch.float64 else 4e-6
    torch.testing.assert_close(at, torch.tensor(end, dtype=dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_aimed_at_a_corner_of_the_door_nothing_gets_into_the_wall(
    dtype: torch.dtype, generator: Generator
) -> None:
    wall = torch.randint(20, 45, (200_000,), generator=generator).to(dtype)
    door = torch.randint(10, 55, (200_000,), generator=generator).to(dtype)
    u = torch.rand(200_000, 3, generator=generator, dtype=dtype)
    corner = torch.stack([wall - HALF_WALL, door + HALF_DOOR], 1)
    start = corner - 1.6 * u[:, :2]
    end, hit = travel(start, (corner - start) * (1 + u[:, 2:]), wall, door)
    assert not inside(*end.T.numpy(), wall.numpy(), door.numpy()).any()
    assert float(hit.float().mean()) > 0.9  # the few others stopped short of it by rounding


def test_no_one_is_ever_in_a_wall_after_many_random_steps(generator: Generator) -> None:
    world = TwoRooms(speed=6.0)
    state = world.reset(2000, generator)
    crossed = torch.zeros(2000, dtype=torch.bool)
    for _ in range(300):
        before = state["position"][:, 0] < state["wall"]
        state = world.step(state, random_policy(state, generator, speed=6.0), generator)
        x, y = state["position"].T.numpy()
        assert not inside(x, y, state["wall"].numpy(), state["door"].numpy()).any()
        assert x.min() >= LOW and x.max() <= HIGH and y.min() >= LOW and y.max() <= HIGH
        crossed |= before != (state["position"][:, 0] < state["wall"])
    assert 0.2 < float(crossed.float().mean()) < 1.0


def dense(position: Tensor) -> np.ndarray:
    """All pixels of each picture from their own distance."""
    x, y = position.double().numpy().T[:, :, None, None]
    column, row = np.arange(65)[None, None, :], np.arange(65)[None, :, None]
    return np.rint(255 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.3**2))).astype(np.uint8)


def test_dots_are_dense_drawings_bit_for_bit(generator: Generator) -> None:
    position = LOW + (HIGH - LOW) * torch.rand(1500, 2, generator=generator, dtype=FLOAT)
    ends = torch.tensor([[LOW, LOW], [HIGH, HIGH], [LOW, HIGH], [31.5, 32.5], [30.0, 30.49999], [30.5, 31.5]])
    position = torch.cat([position, ends.to(FLOAT)])
    np.testing.assert_array_equal(draw_dots(position, 65).numpy(), dense(position))
    drawn = draw_dots(position.float(), 65).numpy().astype(int)  # in single precision a few round otherwise
    difference = np.abs(drawn - dense(position.float()))
    assert difference.max() <= 1 and difference.mean() < 1e-4


@pytest.mark.parametrize("center", [(4.4, 30.0), (30.0, 60.0), (math.nan, 30.0)])
def test_dots_beyond_the_picture_are_refused(center: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="a dot needs 5 px around it, so its center lies from 5 to 59; got"):
        draw_dots(torch.tensor([[30.0, 30.0], center]), 65)


def test_walls_are_those_of_a_loop_over_pixels() -> None:
    walls, doors = [20, 32, 44], [10, 31, 54]
    drawn = draw_walls(torch.tensor(walls).double(), torch.tensor(doors).double())
    for picture, wall, door in zip(drawn.tolist(), walls, doors, strict=True):
        for r in range(65):
            for c in range(65):
                border = not (5 <= r <= 59 and 5 <= c <= 59)
                shut = abs(c - wall) <= 1 and not door - 4 <= r <= door + 4
                open_ = abs(c - wall) <= 1 and not shut
                assert picture[r][c] == (255 if shut or (border and not open_) else 0), (r, c, wall, door)


def test_layouts_are_even_over_their_ranges(generator: Generator) -> None:
    world, n = TwoRooms(), 50_000
    state = world.reset(n, generator, dtype=FLOAT)
    for name, low, high in (("wall", 20, 44), ("door", 10, 54)):
        values = state[name].long()
        assert torch.equal(values.double(), state[name])
        counts = torch.bincount(values, minlength=65)
        assert int(counts[low : high + 1].sum()) == n
        assert stats.chisquare(counts[low : high + 1].numpy()).pvalue > 1e-3, name
    left = state["position"][:, 0] < state["wall"]
    assert torch.equal(left, state["goal"][:, 0] > state["wall"])
    assert abs(float(left.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(n)
    shares = []
    for name, here in (("position", left), ("goal", ~left)):
        x, y = state[name].T
        assert stats.kstest((y.numpy() - LOW) / (HIGH - LOW), "uniform").pvalue > 1e-3
        room_low = torch.where(here, LOW, state["wall"] + HALF_WALL + 1)
        room_high = torch.where(here, state["wall"] - HALF_WALL - 1, HIGH)
        shares += [(x - room_low) / (room_high - room_low), y]
        assert stats.kstest(shares[-2].numpy(), "uniform").pvalue > 1e-3
    together = torch.stack([state["wall"], state["door"], left.double(), *shares])
    correlation = torch.corrcoef(together) - torch.eye(7, dtype=FLOAT)
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(n)


def test_fixed_layouts_are_fixed_and_keep_the_other_draws() -> None:
    free, fixed = (w.reset(9, Generator().manual_seed(3)) for w in (TwoRooms(), TwoRooms(wall=40, door=12)))
    assert fixed["wall"].tolist() == [40.0] * 9 and fixed["door"].tolist() == [12.0] * 9
    assert torch.equal(free["position"][:, 1], fixed["position"][:, 1])
    for settings in ({"wall": 19}, {"wall": 45}, {"door": 9}, {"door": 55}, {"steps": 0}, {"speed": 0.0}):
        with pytest.raises(ValueError, match="got"):
            TwoRooms(**settings)


def test_a_bounce_is_half_a_normal_and_only_where_a_wall_was_met(generator: Generator) -> None:
    n = 20_000
    world = TwoRooms(wall=32, door=10)
    state = world.reset(n, generator, dtype=FLOAT)
    state["position"] = torch.tensor([[29.0, 40.0]], dtype=FLOAT).repeat(n, 1)
    free = world.step(state, torch.tensor([[-2.0, 1.0]], dtype=FLOAT).repeat(n, 1), generator)["position"]
    assert torch.equal(free, torch.tensor([[27.0, 41.0]], dtype=FLOAT).expand(n, 2))
    after = world.step(state, torch.tensor([[2.4, 0.0]], dtype=FLOAT).repeat(n, 1), generator)["position"]
    x, y = after[:, 0] - 30.5, after[:, 1] - 40.0
    assert float(x.max()) == 0.0
    stuck = x == 0  # thrown against the wall, where it stops, in y as well
    assert abs(float(stuck.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(n)
    assert torch.equal(y[stuck], torch.zeros_like(y[stuck]))
    assert stats.kstest(-x[~stuck].numpy(), "halfnorm", (0, 0.5)).pvalue > 1e-3
    assert stats.kstest(y[~stuck].numpy(), "norm", (0, 0.5)).pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([x[~stuck], y[~stuck]]))[0, 1])) < 4 / math.sqrt(n / 2)


def test_longer_actions_are_shortened(generator: Generator) -> None:
    world = TwoRooms(wall=32, door=10)
    state = {**world.reset(1, generator), "position": torch.tensor([[20.0, 30.0]])}
    moved = world.step(state, torch.tensor([[-30.0, 40.0]]), generator)["position"]
    torch.testing.assert_close(moved, torch.tensor([[20 - 0.6 * 2.45, 30 + 0.8 * 2.45]]))


# --- floors -------------------------------------------------------------------------------------------------


def episodes(policy: Callable[..., Tensor], batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(reached at the last step, ever, first step at which; shortest possible number of steps), (B,) each."""
    world, g = TwoRooms(), Generator().manual_seed(seed)
    state = world.reset(batch, g)
    least = ((world.distance(state) - world.near) / world.speed).clamp(min=0)
    first = torch.full((batch,), torch.inf)
    for step in range(1, world.steps + 1):
        state = world.step(state, policy(state, g), g)
        first = torch.where(world.reached(state) & first.isinf(), float(step), first)
    return world.reached(state), first.isfinite(), first, least


def test_the_random_floor() -> None:
    last, ever, _, _ = episodes(random_policy, 400, 0)
    assert float(last.float().mean()) <= 0.05
    assert float(ever.float().mean()) <= 0.05


def test_the_greedy_floor() -> None:
    """It gets there where the straight way leads through the door, or a slide along the wall does: 39 %."""
    last, ever, first, least = episodes(greedy_policy, 1000, 1)
    error = math.sqrt(0.4 * 0.6 / 1000)
    assert abs(float(ever.float().mean()) - 0.42) < 4 * error
    assert float(last.float().mean()) <= float(ever.float().mean())
    assert bool((first >= least).all())


def test_the_greedy_floor_is_that_of_small_steps() -> None:
    """The whole world once more, in numpy; only its rules are shared."""
    rng, count = np.random.default_rng(0), 1000
    wall, door = rng.integers(20, 45, count).astype(float), rng.integers(10, 55, count).astype(float)
    left, right = rng.uniform(LOW, wall - 2.5), rng.uniform(wall + 2.5, HIGH)
    from_left = rng.random(count) < 0.5
    p = np.stack([np.where(from_left, left, right), rng.uniform(LOW, HIGH, count)], 1)
    goal = np.stack([np.where(from_left, right, left), rng.uniform(LOW, HIGH, count)], 1)
    reached = np.zeros(count, dtype=bool)
    for _ in range(200):
        way = goal - p
        way *= np.minimum(1, 2.45 / np.linalg.norm(way, axis=1).clip(1e-9))[:, None]
        p, hit = small_steps(p, way, wall, door, 50)
        p, _ = small_steps(p, 0.5 * rng.normal(size=(count, 2)) * hit[:, None], wall, door, 50)
        reached |= np.linalg.norm(goal - p, axis=1) < 4.5
    _, ever, _, _ = episodes(greedy_policy, 3000, 2)
    share = float(ever.float().mean())
    assert abs(reached.mean() - share) < 4 * math.sqrt(share * (1 - share) * (1 / count + 1 / 3000))


def test_the_expert_gets_there_always_and_soon() -> None:
    last, ever, first, least = episodes(expert_policy, 500, 3)
    assert bool(last.all()) and bool(ever.all())
    assert 15 <= float(first.median()) <= 24.5 and float(first.max()) < 60
    assert bool((first >= least).all())

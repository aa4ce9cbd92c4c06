"""Two Rooms: steps and clips a second, of a batch and of one episode after the other.

    python -m benchmarks worlds --threads 2

The loops are what one would write by hand for one episode: plain numbers for the steps (numpy's would cost
more), numpy for pictures, drawn as outer products. Published for this task, with another environment on
another machine: 4,105 steps and 24.5 clips of 17 frames a second on 2 cores (worker processes and all); the
checks say how many a second each side made, beside the times.
"""

from __future__ import annotations

import math
import random
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from benchmarks.case import Answers, Case
from ebm.world import TwoRooms, random_walks
from ebm.world.adapter import Environment
from ebm.world.dots import draw_dots
from ebm.world.two_rooms import SIDE, draw_walls

STEPS = 50
EPISODES = 16_384
SEEN = 20  # episodes with a picture at every step
CLIPS, BATCH, FRAMES = 2048, 128, 17
LOW, HIGH, SPEED = 5.0, 59.0, 2.45
Given = dict[str, Tensor]


class Moved(NamedTuple):
    """Where every episode ended, whether it ended in the room where it began, and how long it took."""

    position: np.ndarray
    stayed: np.ndarray
    pace: float  # steps a second


Batch = tuple[np.ndarray, np.ndarray]  # of clips: dots, walls


class Seen(NamedTuple):
    """The first batch of clips, dots (128, 17, 65, 65) and walls (128, 65, 65) in uint8; clips a second."""

    first: Batch
    pace: float


def starts(batch: int) -> Given:
    g = Generator().manual_seed(0)
    state = TwoRooms().reset(batch, g)
    angle = 2 * math.pi * torch.rand(STEPS, batch, generator=g)
    size = 1.5 * SPEED * torch.rand(STEPS, batch, generator=g)  # a third of them are to be shortened
    return {**state, "actions": size.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], -1)}


def travel(x: float, y: float, ax: float, ay: float, wall: float, door: float) -> tuple[float, float, bool]:
    """One way until a wall is met, in plain numbers."""
    share, hit = 1.0, False
    if ax and (to := ((HIGH if ax > 0 else LOW) - x) / ax) <= share:
        share, hit = to, True
    if ay and (to := ((HIGH if ay > 0 else LOW) - y) / ay) <= share:
        share, hit = to, True
    left, right, low, high = wall - 1.5, wall + 1.5, door - 4.0, door + 4.0
    in_door = left < x < right
    if ax and 0 <= (to := ((left if ax > 0 else right) - x) / ax) <= share:
        if low <= y + to * ay <= high:
            in_door = True
        else:
            share, hit = to, True
    if in_door and ay and 0 <= (to := ((high if ay > 0 else low) - y) / ay) <= share:
        at = x + to * ax
        if at < right if ax > 0 else at > left:
            share, hit = to, True
    return x + share * ax, y + share * ay, hit


def step(x: float, y: float, ax: float, ay: float, wall: float, door: float) -> tuple[float, float]:
    size = math.hypot(ax, ay)
    if size > SPEED:
        ax, ay = ax * SPEED / size, ay * SPEED / size
    x, y, hit = travel(x, y, ax, ay, wall, door)
    if hit:
        x, y, _ = travel(x, y, random.gauss(0, 0.5), random.gauss(0, 0.5), wall, door)
    return x, y


def draw(path: np.ndarray, wall: float, door: float) -> Batch:
    """A clip's dots, (17, 65, 65), and its walls, (65, 65), uint8."""
    profile = np.exp((np.arange(SIDE) - path[:, :, None]) ** 2 / (-2 * 1.3**2))  # (17, 2, 65)
    dots = np.rint(255 * profile[:, 1, :, None] * profile[:, 0, None, :]).astype(np.uint8)
    picture = np.full((SIDE, SIDE), 255, dtype=np.uint8)
    picture[5:-5, 5:-5] = 0
    column = round(wall)
    picture[:, column - 1 : column + 2] = 255
    picture[round(door) - 4 : round(door) + 5, column - 1 : column + 2] = 0
    return dots, picture


# --- steps --------------------------------------------------------------------------------------------------


def step_batch(given: Given, look: bool = False) -> Moved:
    world, g, began = TwoRooms(), Generator().manual_seed(1), time.perf_counter()
    state = {name: value for name, value in given.items() if name != "actions"}
    for actions in given["actions"]:
        state = world.step(state, actions, g)
        if look:
            world.observe(state)
    return moved(given, state["position"].numpy(), began)


def step_one_by_one(given: Given, _: None) -> Moved:
    random.seed(1)
    began = time.perf_counter()
    columns = given["position"].tolist(), given["wall"].tolist(), given["door"].tolist()
    ends = []
    for i, ((x, y), wall, door) in enumerate(zip(*columns, strict=True)):
        for ax, ay in given["actions"][:, i].tolist():
            x, y = step(x, y, ax, ay, wall, door)
        ends.append((x, y))
    return moved(given, np.array(ends), began)


def see_in_gymnasium(given: Given, _: None) -> Moved:
    env, began, ends = Environment(TwoRooms()), time.perf_counter(), []
    actions = given["actions"].numpy()
    for i in range(len(given["wall"])):
        start = {name: value[i : i + 1] for name, value in given.items() if name != "actions"}
        env.reset(seed=i, options={"state": start})
        for action in actions[:, i]:
            env.step(action)
        ends.append(env.state["position"][0].numpy())
    return moved(given, np.array(ends), began)


def moved(given: Given, position: np.ndarray, began: float) -> Moved:
    wall = given["wall"].numpy()
    stayed = (position[:, 0] < wall) == (given["position"][:, 0].numpy() < wall)
    return Moved(position, stayed, len(position) * STEPS / (time.perf_counter() - began))


def where(given: Given, result: Moved) -> Answers:
    return {
        "steps a second": result.pace,
        "episodes": len(result.position),
        "stayed in their room": float(result.stayed.mean()),
        "mean x": float(result.position[:, 0].mean()),
        "mean y": float(result.position[:, 1].mean()),
    }


def elsewhere(mine: Answers, yours: Answers) -> str:
    """An objection where the same actions led elsewhere; only the bounces differ."""
    n = mine["episodes"]
    for name, spread in (("stayed in their room", 0.5), ("mean x", 16.0), ("mean y", 16.0)):
        if abs(mine[name] - yours[name]) > 4 * spread / math.sqrt(n):
            return f"{name}: {mine[name]:.3g} and {yours[name]:.3g}"
    return ""


# --- clips --------------------------------------------------------------------------------------------------


def clips_batch(_: None) -> Seen:
    began = time.perf_counter()
    kept: list[Batch] = []
    walks = random_walks(TwoRooms(), CLIPS, FRAMES - 1, Generator().manual_seed(0))
    for i in range(0, CLIPS, BATCH):
        path, wall, door = (walks[name][i : i + BATCH] for name in ("position", "wall", "door"))
        dots = draw_dots(path.flatten(0, 1), SIDE).view(BATCH, FRAMES, SIDE, SIDE)
        batch = dots.numpy(), draw_walls(wall, door).numpy()
        kept = kept or [batch]  # one is enough to look at
    return Seen(kept[0], CLIPS / (time.perf_counter() - began))


def clips_one_by_one(_: None, __: None) -> Seen:
    rng, began = np.random.default_rng(0), time.perf_counter()
    kept: list[Batch] = []
    random.seed(0)
    for _batch in range(0, CLIPS, BATCH):
        dots, walls = zip(*(clip(rng) for _clip in range(BATCH)), strict=True)
        batch = np.stack(dots), np.stack(walls)
        kept = kept or [batch]
    return Seen(kept[0], CLIPS / (time.perf_counter() - began))


def clip(rng: np.random.Generator) -> Batch:
    wall, door = float(rng.integers(20, 45)), float(rng.integers(10, 55))
    x, y = rng.uniform(LOW, HIGH, 2).tolist()
    if abs(x - wall) < 1.5 and abs(y - door) > 4:
        x = wall + random.choice((-1.5, 1.5))
    heading = rng.uniform(0, 2 * math.pi) + rng.vonmises(0, 5.0, FRAMES - 1)
    size = rng.normal(1, 0.4, FRAMES - 1).clip(0.2, 1.8)
    path = [(x, y)]
    for ax, ay in np.stack([size * np.cos(heading), size * np.sin(heading)], 1).tolist():
        x, y = step(x, y, ax, ay, wall, door)
        path.append((x, y))
    return draw(np.array(path), wall, door)


def ink(_: None, result: Seen) -> Answers:
    dots = result.first[0].astype(np.float64)
    row = (dots.sum(3) * np.arange(SIDE)).sum(2) / dots.sum((2, 3))  # (128, 17)
    return {
        "clips a second": result.pace,
        "ink of a dot": float(dots.sum((2, 3)).mean()),
        "ink of the walls": float(result.first[1].mean()),
        "rows that a clip spans": float((row.max(1) - row.min(1)).mean()),
    }


def other_ink(mine: Answers, yours: Answers) -> str:
    """An objection where the pictures differ by more than chance does."""
    for name, share in (("ink of a dot", 1e-3), ("ink of the walls", 1e-3), ("rows that a clip spans", 0.25)):
        if abs(mine[name] / yours[name] - 1) > share:
            return f"{name}: {mine[name]:.4g} and {yours[name]:.4g}"
    return ""


CASES: list[Case] = [
    Case(
        "Two Rooms, 16,384 episodes of 50 steps, against a loop over episodes",
        step_batch,
        step_one_by_one,
        lambda: starts(EPISODES),
        where,
        elsewhere,
        at_least=5.0,
    ),
    Case(
        "Two Rooms, 20 episodes seen at every step, against the gymnasium form",
        lambda given: step_batch(given, look=True),
        see_in_gymnasium,
        lambda: starts(SEEN),
        where,
        elsewhere,
        at_least=5.0,
    ),
    Case(
        "Two Rooms, 2,048 clips of 17 frames, against a loop over clips",
        clips_batch,
        clips_one_by_one,
        lambda: None,
        ink,
        other_ink,
        at_least=3.0,
    ),
]

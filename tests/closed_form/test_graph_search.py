"""Graph search against breadth-first search in mazes, and its promises where states are continuous."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebm import Choices, Solution, minimize
from ebm.infer import Enumerate, GraphSearch
from ebm.infer.graph import Graph
from ebm.infer.pose import pose
from ebm.staged import Staged
from ebm.targets import Rosenbrock

MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))
FAR = 100.0  # a step away from the goal is worth that many steps of time


class Maze(Staged):
    """Steps of cost 1 on a grid; what is shut costs `bump` and leaves one where one is."""

    rest = 4

    def __init__(self, bump: float = torch.inf, hard: bool = False):
        super().__init__("moves")
        self.bump, self.hard, self.staged = bump, hard, []

    def start(self, shut, begin, goal):
        return {"shut": shut, "at": begin, "goal": goal}

    def stage(self, state, choice, t):
        self.staged.append(len(choice))
        height, width = state["shut"].shape[1:]
        to = state["at"] + torch.tensor([*MOVES, (0, 0)])[choice]
        inside = ((to >= 0) & (to < torch.tensor([height, width]))).all(1)
        row, column = (to * inside[:, None]).unbind(1)
        fine = inside & ~state["shut"][torch.arange(len(to)), row, column]
        cost = torch.where(fine, (choice != self.rest).double(), self.bump)
        return cost, {**state, "at": torch.where(fine[:, None], to, state["at"])}

    def final(self, state):
        away = (state["at"] - state["goal"]).abs().sum(1).double()
        return torch.where(away == 0, 0.0, torch.inf) if self.hard else FAR * away

    def place(self, state):
        return state["at"].double() + 0.5  # the middle of the cell


def plan(maze: Maze, method: GraphSearch, where: dict[str, Tensor], length: int) -> Solution:
    resting = torch.full((len(where["begin"]), length), maze.rest)
    return minimize(maze, Choices(resting, n=5), method, given=where)


def distances(shut: Tensor, begin: Tensor) -> dict[tuple[int, int], int]:
    """Steps to every cell that can be reached, breadth first."""
    first = (int(begin[0]), int(begin[1]))
    found, queue = {first: 0}, deque([first])
    while queue:
        r, c = queue.popleft()
        for dr, dc in MOVES:
            to = (r + dr, c + dc)
            inside = 0 <= to[0] < shut.shape[0] and 0 <= to[1] < shut.shape[1]
            if inside and not shut[to] and to not in found:
                found[to] = found[r, c] + 1
                queue.append(to)
    return found


def least(where: dict[str, Tensor], row: int, length: int) -> float:
    """The lowest energy of a plan of at most so many steps."""
    reached = distances(where["shut"][row], where["begin"][row])
    goal = where["goal"][row].tolist()
    return min(
        steps + FAR * (abs(r - goal[0]) + abs(c - goal[1]))
        for (r, c), steps in reached.items()
        if steps <= length
    )


@st.composite
def mazes(draw: st.DrawFn) -> dict[str, Tensor]:
    batch, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(2, 5))
    share = draw(st.sampled_from([0.0, 0.3, 0.5]))
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    shut = torch.rand(batch, height, width, generator=g) < share
    ends = torch.stack(
        [torch.randint(0, n, (2, batch), generator=g) for n in (height, width)], 2
    )  # (2, B, 2)
    shut[torch.arange(batch), ends[0, :, 0], ends[0, :, 1]] = False
    return {"shut": shut, "begin": ends[0], "goal": ends[1]}


def drawn(*pictures: list[str]) -> dict[str, Tensor]:
    """Mazes as drawn: # is shut, s the start, g the goal."""

    def spot(picture: list[str], letter: str) -> list[int]:
        return next([r, line.index(letter)] for r, line in enumerate(picture) if letter in line)

    shut = torch.tensor([[[cell == "#" for cell in line] for line in picture] for picture in pictures])
    begin, goal = (torch.tensor([spot(picture, letter) for picture in pictures]) for letter in "sg")
    return {"shut": shut, "begin": begin, "goal": goal}


DEAD_END = ["......", ".###..", "s..#.g", ".###..", "......"]
SHUT_IN = ["..##..", "..#g##", "s..#..", "....#.", "......"]
DETOUR = ["s.....", "#####.", "......", ".#####", ".....g"]


@settings(max_examples=20)
@given(mazes(), st.sampled_from([1, 3, 24]), st.sampled_from([2, 25]), st.sampled_from([torch.inf, 1.0]))
def test_flooding_a_maze_is_breadth_first_search(where, expand, length, bump):
    method = GraphSearch(0.5, expand, waves=60, greed=0.0)  # searches on to the end
    found = plan(Maze(bump), method, where, length)
    expected = [least(where, row, length) for row in range(len(found.energy))]
    assert found.energy.tolist() == expected
    assert found.reasons == ["stalled"] * len(expected)


@settings(max_examples=20)
@given(mazes(), st.sampled_from([1, 4, 24]), st.sampled_from([0.01, 1.0, 50.0]))
def test_a_greedy_search_finds_every_goal_that_can_be_reached(where, expand, greed):
    found = plan(Maze(), GraphSearch(0.5, expand, waves=60, good_enough=0.0, greed=greed), where, 25)
    for row, reason in enumerate(found.reasons):
        steps = distances(where["shut"][row], where["begin"][row]).get(tuple(where["goal"][row].tolist()))
        assert reason == ("stalled" if steps is None else "goal")
        if steps is not None:
            assert steps <= found.energy[row] <= 25
    again = Maze()(moves=found.value, **where)
    assert (found.energy == again).all()


def test_ways_out_of_dead_ends_and_around():
    where = drawn(DEAD_END, SHUT_IN, DETOUR)
    found = plan(Maze(), GraphSearch(0.5, good_enough=0.0), where, 30)
    assert found.reasons == ["goal", "stalled", "goal"]
    assert found.energy.tolist() == [9.0, least(where, 1, 30), 19.0]
    taken = (found.value != Maze.rest).sum(1)
    assert taken.tolist()[::2] == [9, 19]
    assert all((value[:n] != 4).all() for value, n in zip(found.value, taken, strict=True))  # then it rests


def test_a_plan_is_no_longer_than_it_may_be():
    where = drawn(DETOUR)
    for length, energy in ((18, least(where, 0, 18)), (19, 19.0)):
        found = plan(Maze(), GraphSearch(0.5, good_enough=0.0, greed=0.0), where, length)
        assert found.value.shape == (1, length) and float(found.energy) == energy
        assert found.reasons == ["goal" if length == 19 else "stalled"]


@pytest.mark.parametrize("greed", [0.0, 1.0])
def test_a_goal_that_is_a_condition_is_found_as_well(greed):
    where = drawn(DETOUR, SHUT_IN)
    found = plan(Maze(hard=True), GraphSearch(0.5, good_enough=0.0, greed=greed), where, 30)
    assert found.energy.tolist() == [19.0, torch.inf] and found.reasons[0] == "goal"


@pytest.mark.parametrize(("greed", "expand"), [(0.0, 3), (1.0, 3), (1.0, 24)])
def test_neighbors_change_nothing(greed, expand):
    pictures = [["......"] * 3 + [".....g", "s....."], DEAD_END, SHUT_IN, DETOUR]
    method = GraphSearch(0.5, expand, good_enough=0.0, greed=greed)
    together = plan(Maze(), method, drawn(*pictures), 30)
    for row, picture in enumerate(pictures):
        for neighbor in (picture, DETOUR, SHUT_IN):
            beside = plan(Maze(), method, drawn(neighbor, picture), 30)
            assert (beside.value[1] == together.value[row]).all()
            assert beside.energy[1] == together.energy[row] and beside.reasons[1] == together.reasons[row]


def test_what_is_done_is_dropped_and_waves_are_counted():
    open_field = ["sg....", "......", "......", "......", "......"]
    where = drawn(DETOUR, open_field)
    for waves in (1, 3):
        maze = Maze()
        found = plan(maze, GraphSearch(0.5, 1, waves=waves, good_enough=0.0), where, 30)
        assert maze.staged[30:-30] == [8, 4, 4][:waves]  # between the energies of the start and the end
        assert found.reasons == ["stalled", "goal"] and found.energy[1] == 1


class Table(Staged):
    """Two steps with costs of their own, some of them forbidden or NaN; places are all apart."""

    rest = 2

    def __init__(self):
        super().__init__("a")

    def start(self, cost, end):
        return {"cost": cost, "end": end, "node": torch.zeros(len(cost), dtype=torch.long)}

    def stage(self, state, choice, t):
        row = torch.arange(len(choice))
        resting = choice == self.rest
        child = (2 * state["node"] + 1 + choice).clamp(max=14)
        paid = torch.where(resting, 0.0, state["cost"][row, child])
        return paid, {**state, "node": torch.where(resting, state["node"], child)}

    def final(self, state):
        return state["end"].gather(1, state["node"][:, None]).squeeze(1)

    def place(self, state):
        return state["node"].double().unsqueeze(1)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0]), st.sampled_from([1, 24]))
def test_forbidden_and_nan_costs_are_avoided(seed, greed, expand):
    g = torch.Generator().manual_seed(seed)
    values = torch.tensor([0.0, 1.0, 2.0, torch.inf, torch.nan], dtype=torch.float64)
    cost, end = (values[torch.randint(0, 5, (3, 15), generator=g)] for _ in range(2))
    over, known = Choices(torch.full((3, 3), 2), n=3), {"cost": cost, "end": end}
    found = minimize(Table(), over, GraphSearch(0.5, expand, greed=greed), given=known)
    oracle = minimize(Table(), over, Enumerate(), given=known)
    best = oracle.energy.nan_to_num(nan=torch.inf)
    assert (found.energy.nan_to_num(nan=torch.inf) == best).all()


# Continuous places ------------------------------------------------------------------------------------------


class Roam(Staged):
    """Steps of length 1 along 7 headings, each at a cost of 0.3, in a box of side 8 around the start."""

    rest = 7

    def __init__(self):
        super().__init__("moves")
        angle = torch.arange(7, dtype=torch.float64) * (2 * math.pi / 7)
        self.moves = torch.cat([torch.stack([angle.cos(), angle.sin()], 1), torch.zeros(1, 2).double()])

    def start(self, begin, goal):
        return begin, begin, goal

    def stage(self, state, choice, t):
        at, begin, goal = state
        to = at + self.moves[choice]
        inside = ((to - begin).abs() <= 4).all(1)
        return torch.where(inside, 0.3 * (choice != self.rest).double(), torch.inf), (to, begin, goal)

    def final(self, state):
        return torch.linalg.vector_norm(state[0] - state[2], dim=1)

    def place(self, state):
        return state[0]


def grown(method: GraphSearch, batch: int = 1) -> Graph:
    """The graph of a search that went on until no place was left."""
    over = Choices(torch.full((batch, 60), Roam.rest), n=8)
    known = {
        "begin": torch.zeros(batch, 2).double(),
        "goal": torch.tensor([[9.0, 1.0]]).double().expand(batch, 2),
    }
    problem, u = pose(Roam(), over, known, (), None, None, False)
    graph = Graph(method, problem, u)
    while bool(graph.order.isfinite().any()):
        graph.wave()
    return graph


@pytest.mark.parametrize(("r", "expand"), [(0.3, 24), (0.6, 1), (0.95, 24)])
def test_places_are_apart_few_and_everywhere(r, expand):
    graph = grown(GraphSearch(r, expand, waves=500))
    place = graph.place[0]
    apart = torch.cdist(place, place).fill_diagonal_(torch.inf)
    assert apart.min() > r
    assert len(place) <= (8 + r) ** 2 / (math.pi * r**2 / 4)  # balls of radius r / 2 that don't overlap
    children = (place[:, None] + Roam().moves[:7]).flatten(0, 1)
    children = children[(children.abs() <= 4).all(1)]
    assert torch.cdist(children, place).amin(1).max() <= r  # none is lost: each has a kept one nearby


class Fan(Staged):
    """From 0 to 1.0, 1.4, ..., 4.2, the farther the dearer; the last of them alone leads on, to 9."""

    rest = 9

    def __init__(self):
        super().__init__("a")

    def start(self, goal):
        return torch.zeros_like(goal), goal

    def stage(self, state, choice, t):
        at, goal = state
        to = torch.where(at == 0, 1 + 0.4 * choice, 9.0)
        cost = torch.where((at == 0) | (at > 4), 1 + 0.1 * choice, torch.inf)
        resting = choice == self.rest
        return torch.where(resting, 0.0, cost), (torch.where(resting, at, to), goal)

    def final(self, state):
        return 10 * (state[0] - state[1]).abs()

    def place(self, state):
        return state[0].unsqueeze(1)


def test_none_of_a_chain_of_near_places_is_forgotten():
    # each is within 0.5 of the next, so of nine the 1st, 3rd, 5th, 7th and 9th are kept, one after the other
    known = {"goal": torch.tensor([9.0], dtype=torch.float64)}
    over = Choices(torch.full((1, 3), 9), n=10)
    found = minimize(Fan(), over, GraphSearch(0.5, good_enough=0.0, greed=0.0), given=known)
    assert found.value.tolist() == [[8, 0, 9]] and float(found.energy) == pytest.approx(2.8)


def test_spacing_is_per_row():
    sizes = torch.tensor([0.3, 0.9, 2.0], dtype=torch.float64)
    known = {"begin": torch.zeros(3, 2).double(), "goal": torch.tensor([[3.3, 2.9]]).double().expand(3, 2)}
    over = torch.full((3, 12), Roam.rest)
    found = minimize(Roam(), Choices(over, n=8), GraphSearch(sizes, waves=500), given=known)
    for row, r in enumerate(sizes):
        one = {name: value[:1] for name, value in known.items()}
        alone = minimize(Roam(), Choices(over[:1], n=8), GraphSearch(float(r), waves=500), given=one)
        assert torch.equal(found.value[row], alone.value[0]) and found.energy[row] == alone.energy[0]
    assert found.energy[0] <= found.energy[1] < found.energy[2]  # a coarse graph comes less near
    counts = [grown(GraphSearch(float(r), waves=500)).place.shape[1] for r in sizes]
    assert counts[0] > 3 * counts[1] > 60 and counts[2] == 1  # a step is within 2.0


def test_what_has_no_place_or_rest_is_refused():
    class Nowhere(Roam):
        place = property()  # hides it

    class Restless(Roam):
        rest = 8

    over = Choices(torch.full((1, 4), 7), n=8)
    known = {"begin": torch.zeros(1, 2).double(), "goal": torch.ones(1, 2).double()}
    for energy in (Nowhere(), Restless()):
        with pytest.raises(TypeError, match=r"needs place\(state\)"):
            minimize(energy, over, GraphSearch(1.0), given=known)
    with pytest.raises(TypeError, match="cannot keep to `subject_to`"):
        minimize(Roam(), over, GraphSearch(1.0), given=known, subject_to=[Roam()])
    with pytest.raises(TypeError, match="minimizes one Staged energy"):
        minimize(Roam() + Roam(), over, GraphSearch(1.0), given=known)
    with pytest.raises(TypeError, match="one Staged energy"):
        minimize(Rosenbrock(), torch.zeros(1, 2), GraphSearch(1.0))


def test_settings_out_of_range_are_refused():
    bad: list[dict[str, Any]] = [
        {"spacing": 0.0},
        {"spacing": torch.tensor([1.0, -1.0])},
        {"spacing": 1.0, "expand": 0},
        {"spacing": 1.0, "waves": 0},
        {"spacing": 1.0, "greed": -1.0},
    ]
    for each in bad:
        with pytest.raises(ValueError, match=list(each)[-1]):
            GraphSearch(**each)

"""What is drawn of the rooms: the graph of imagined places, energies, codes, and the collapse meter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm.choices import Choices
from ebm.demo.part import Part, Picture
from ebm.demo.principal import Basis
from ebm.history import History
from ebm.infer import minimize
from ebm.infer.graph import Graph
from ebm.infer.graph_search import GraphSearch
from ebm.infer.pose import pose
from ebm.plan import GoalDistance, PrimitivePlan, RecedingHorizon, TrajectoryEnergy, no_surprise
from ebm.show import Slice, energy_on_grid
from ebm.show.style import BLUE, ENERGY_MAP, GREEN, ORANGE, VERMILION
from ebm.world import TwoRooms, TwoRoomsModel
from ebm.world.dots import draw_dots
from ebm.world.two_rooms import SIDE, draw_walls
from ebm.world.world import State

START, GOAL = (22.0, 44.0), (52.0, 40.0)
HELD = 8  # steps for which the first action is held, in the landscape over it


def scene(world: TwoRooms) -> State:
    """One start and one goal, with the wall between them."""
    state = world.reset(1, torch.Generator().manual_seed(0))
    return {**state, "position": torch.tensor([START]), "goal": torch.tensor([GOAL])}


@torch.no_grad()
def show_graph(part: Part, world: TwoRooms, model: TwoRoomsModel, agent: RecedingHorizon) -> None:
    """The places that a search looks at, wave by wave, and the way that it finds."""
    state = scene(world)
    energy, method = agent.planner.energy, agent.planner.method  # type: ignore[attr-defined]
    given = {"state": model.encode(world.observe(state)), "goal": model.encode(world.goal_observation(state))}
    given["surprises"] = no_surprise(1, given["goal"][0].shape[1])
    choices = Choices(energy.resting(1, method.waves), n=len(energy.primitives))
    found = minimize(energy, {"choices": choices}, method, given=given)
    places, cost = _searched(energy, method, given, choices)
    taken = found.value["choices"]  # type: ignore[index]
    taken = taken[:, : max(1, int((taken != energy.rest).sum()))]
    way = _places(model, model.rollout(given["state"], energy.actions(taken))[0])
    dots = _places(model, places)
    picture = world.frames(state)[0].numpy()

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(picture)
        dotted = axes.scatter(dots[:, 0].numpy(), dots[:, 1].numpy(), c=cost.numpy(), s=16, cmap=ENERGY_MAP)
        axes.plot(*way.T.numpy(), color=VERMILION, linewidth=2)
        axes.set(xticks=[], yticks=[])
        bar = figure.colorbar(dotted, ax=axes, shrink=0.8)
        bar.set_label("actions to get there, imagined")

    caption = (
        f"{len(dots)} places reached in imagination from the dot (orange), each farther from the others than "
        "three steps of the walks, drawn at the pixel whose code is nearest; the line is the plan. "
        "Nothing was told of walls or doors: imagination stops where the walks did, but for a few mistakes."
    )
    alt = "Two rooms filled with imagined places that spread through the door, and a path to the goal."
    part.add(draw, (6.4, 5.2), Picture("rooms-graph.png", "A graph of imagined places", caption, alt))
    part.numbers["search"] = {"places": float(len(dots)), "reason": found.reasons[0]}


def _searched(
    energy: PrimitivePlan, method: GraphSearch, given: Mapping[str, Any], choices: Choices
) -> tuple[Tensor, Tensor]:
    """The places that the search looks at until it comes to the goal, (M, S), and after how many actions."""
    graph = Graph(method, *pose(energy, {"choices": choices}, given))
    places, depth = graph.place[0], graph.back[0, :, 2]
    for _ in range(method.waves):
        if not graph.wave():
            break
        places, depth = graph.place[0], graph.back[0, :, 2]
    return places, depth * energy.held


@torch.no_grad()
def show_energy(part: Part, world: TwoRooms, model: TwoRoomsModel) -> None:
    """The energy of being anywhere, and that of the first action, held for a while."""
    state = scene(world)
    goal = model.encode(world.goal_observation(state))
    pixels = torch.arange(5.0, 60.0)
    grid = torch.cartesian_prod(pixels, pixels)
    codes = model.dots(draw_dots(grid, SIDE))
    distance = (codes - goal[0]).square().sum(1).view(55, 55).T
    held = Slice(torch.zeros(HELD, 2), (slice(None), 0), (slice(None), 1))
    hold = TrajectoryEnergy(model, GoalDistance("end")).compose(actions=(held, "action"))
    given = {"observation": world.observe(state), "goal": world.goal_observation(state)}
    right, up, energies = energy_on_grid(hold, "action", (-2.45, 2.45, -2.45, 2.45), given, resolution=61)
    walls = draw_walls(state["wall"], state["door"])[0] > 0

    def draw(figure: Figure) -> None:
        left, middle = figure.subplots(1, 2)
        shown = left.pcolormesh(pixels, pixels, distance, cmap=ENERGY_MAP, shading="nearest")
        left.contour(walls.numpy(), levels=[0.5], colors="black", linewidths=1.2)
        left.plot(*START, "o", color=VERMILION, markersize=9)
        left.plot(*GOAL, "*", color="white", markeredgecolor=BLUE, markersize=14)
        left.set(title="of being there", xticks=[], yticks=[], aspect="equal", xlim=(4, 60), ylim=(60, 4))
        figure.colorbar(shown, ax=left, shrink=0.8)
        shown = middle.pcolormesh(right, up, energies, cmap=ENERGY_MAP, shading="nearest")
        middle.set(
            title=f"of an action held for {HELD} steps", aspect="equal", xlabel="px right", ylabel="px down"
        )
        middle.invert_yaxis()
        figure.colorbar(shown, ax=middle, shrink=0.8)

    caption = (
        "Two planning energies. Left, the squared distance of the code of each place from that of the goal "
        "(star): blind to the wall, so whoever follows it stands there. Right, the energy over the first "
        "action, seen from the dot: to the right it is flat, because the model knows that the wall will not "
        "let it through. A planner has to look farther than a step."
    )
    alt = "Left, energy that falls towards the goal across the wall; right, flat over actions to the right."
    part.add(draw, (10.4, 4.4), Picture("rooms-energy.png", "The energy of a plan", caption, alt))


@torch.no_grad()
def show_codes(part: Part, model: TwoRoomsModel) -> None:
    """The codes of all places, by their first two principal components, colored by where they are."""
    pixels = torch.arange(5.0, 60.0)
    grid = torch.cartesian_prod(pixels, pixels)
    codes = model.dots(draw_dots(grid, SIDE))
    basis = Basis.of(codes)
    c = ((codes - basis.mean) @ basis.components[:2].T).numpy()

    def one(axes: Axes, color: Tensor, title: str) -> None:
        axes.scatter(c[:, 0], c[:, 1], c=color.numpy(), s=5, cmap="viridis")
        axes.set(title=title, xlabel="first component", ylabel="second component")

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        one(left, grid[:, 0], "colored by x")
        one(right, grid[:, 1], "colored by y")

    caption = (
        "Where the codes of all places lie, in the two directions along which they vary most. Nobody told "
        "the network that there are an x and a y: to tell what comes of an action, it had to find out."
    )
    alt = "Two scatter plots of codes that form a sheet, with color changing evenly along one direction each."
    part.add(draw, (9.6, 4.2), Picture("rooms-codes.png", "What the codes know", caption, alt))


def show_collapse(part: Part, history: History) -> None:
    """The meter while learning: are the codes alive?"""
    names = {"codes spread": BLUE, "codes least std": GREEN, "codes directions": ORANGE}
    steps = torch.arange(1, len(history) + 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, color in names.items():
            column = history.column(name)
            seen = column.isfinite()
            axes.plot(steps[seen], column[seen], color=color, label=name.removeprefix("codes "))
        axes.set(xlabel="step", yscale="log")
        axes.legend()

    caption = (
        "The collapse meter while the world was learned: how far codes are spread (1 is as far as they are "
        "long), the smallest standard deviation of a dimension, and how many directions they fill. A model "
        "that only predicts has an easy way out, all codes the same, where all three fall."
    )
    alt = "Three curves over training steps that rise and stay."
    part.add(draw, (8.0, 3.6), Picture("rooms-collapse.png", "Alive", caption, alt))
    part.numbers["codes"] = {name: float(_there(history.column(name))[-1]) for name in names}


def _there(column: Tensor) -> Tensor:
    return column[column.isfinite()]


def _places(model: TwoRoomsModel, s: Tensor) -> Tensor:
    """The places whose codes are nearest to codes (M, S), (M, 2)."""
    pixels = torch.arange(5.0, 60.0)
    grid = torch.cartesian_prod(pixels, pixels)
    codes = model.dots(draw_dots(grid, SIDE))
    return grid[torch.cdist(s, codes).argmin(1)]

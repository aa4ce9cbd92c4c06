"""Model-predictive control with a guardrail: a point mass goes around what it must not touch.

    a* = argmin_a Σ_t |p_t - g|² + 0.1 |v_t|² + 0.01 |a_t|²    where  max_t r - |p_t - c| <= 0

Left, five starts: gray what was imagined at each step, colored what was done; dashed, without the guardrail.
Middle, a plan is followed for five steps, and where the way is broad blows a wind downwards that the model
knows nothing of; crosses: from where it is now the plan would break the guardrail, so the brake acts. Right,
the energy of one first action held for eight steps, seen from the diamond; hatched where the path would
break the guardrail.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from ebm.infer import ICEM
from ebm.plan import Fallback, KeepOut, RecedingHorizon, StageCost, TrajectoryEnergy
from ebm.regularizers import Box
from ebm.show import style
from ebm.show.style import BLUE, ENERGY_MAP, GRAY, GREEN, ORANGE, VERMILION
from ebm.world import KnownDynamics, PointMass
from ebm.world.model import ModelState, moving
from ebm.world.point_mass import CENTER, DT, GOAL, RADIUS

ALT = (
    "A point mass goes around a disc that it must not touch, from five starts; in wind that the model "
    "does not know, a brake acts; the energy of a first action with the part that the guardrail "
    "forbids."
)
HORIZON, STEPS, HELD = 16, 36, 8
STARTS = torch.tensor([[-1.5, y, 0.0, 0.0] for y in (-0.8, -0.35, 0.0, 0.35, 0.8)])
WIND, BLOWS = torch.tensor([0.0, 0.0, 0.0, -0.06]), range(4, 12)  # a push, and in which steps
PLACE = torch.tensor([[-0.9, 0.1, 0.35, 0.0]])
COLORS = (BLUE, GREEN, VERMILION, ORANGE, "#CC79A7")

WORLD = PointMass()
MODEL = KnownDynamics(WORLD.dynamics, action_size=2)
DISC = KeepOut(torch.tensor(CENTER), RADIUS, "disc")


def price(arrived: Tensor, actions: Tensor) -> Tensor:
    """Of a step, (..., 4), (..., 2) -> (...)."""
    missing = (arrived[..., :2] - arrived.new_tensor(GOAL)).square().sum(-1)
    return missing + 0.1 * arrived[..., 2:].square().sum(-1) + 0.01 * actions.square().sum(-1)


ENERGY = TrajectoryEnergy(MODEL, StageCost(price))


class Stop(Fallback):
    """As much against the velocity as the bounds allow."""

    def __call__(self, state: ModelState, actions: Tensor) -> Tensor:
        return (-moving(state)[:, 2:] / DT).clamp(-1, 1)


def drive(
    start: Tensor, guarded: bool = True, wind: Tensor | None = None, every: int = 1
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The way (B, T + 1, 4), what was imagined in each step (B, H + 1, 4), where the brake acted (B, T)."""
    agent = RecedingHorizon(
        ENERGY,
        ICEM(80, 10, std=0.7),
        horizon=HORIZON,
        every=every,
        subject_to=[DISC] if guarded else [],
        fallback=Stop(),
        bounds=Box("actions", -1.0, 1.0),
        max_steps=6,
    )
    plan, way, imagined, braked = agent.start(len(start), torch.Generator().manual_seed(0)), [start], [], []
    for step in range(STEPS):
        action, plan, report = agent.step(plan, way[-1])
        rest = torch.cat([action[:, None], plan.actions[:, :-1]], 1)
        imagined.append(MODEL.rollout(way[-1], rest))
        push = wind if wind is not None and step in BLOWS else 0.0
        way.append(MODEL.step(way[-1], action) + push)
        braked.append(report.fallback)
    return torch.stack(way, 1), imagined, torch.stack(braked, 1)


def scene(ax: Axes) -> None:
    ax.add_patch(Circle(CENTER, RADIUS, color=GRAY, alpha=0.5, linewidth=0))
    ax.plot(*GOAL, marker="*", color="black", markersize=11)
    ax.set(xlim=(-1.75, 1.85), ylim=(-1.15, 1.15), aspect="equal")
    ax.set_axis_off()


def around(ax: Axes) -> None:
    """What is imagined and done from five starts, and what is done without a guardrail."""
    scene(ax)
    way, imagined, _ = drive(STARTS)
    for paths in imagined[:24:2]:
        for path in paths:
            ax.plot(*path[:, :2].T.numpy(), color=GRAY, linewidth=0.5, alpha=0.7)
    free, _, _ = drive(STARTS, guarded=False)
    for path, straight, color in zip(way, free, COLORS, strict=True):
        ax.plot(*path[:, :2].T.numpy(), color=color, marker=".", markersize=4)
        ax.plot(*straight[:, :2].T.numpy(), color=color, linestyle="--", linewidth=0.9)
    depth = float(DISC(states=way).max())
    ax.set_title(f"around it: {max(0.0, depth):.3f} within the disc at most")


def windy(ax: Axes) -> None:
    """What is done in wind, and where the brake acts."""
    scene(ax)
    way, _, braked = drive(STARTS[3:], wind=WIND, every=5)
    for path, where, color in zip(way, braked, COLORS[3:], strict=True):
        ax.plot(*path[:, :2].T.numpy(), color=color, marker=".", markersize=4)
        ax.plot(*path[:-1][where, :2].T.numpy(), color="black", linestyle="", marker="x", markersize=6)
        ax.plot(*path[BLOWS.start : BLOWS.stop + 1, :2].T.numpy(), color=color, linewidth=5, alpha=0.35)
    depth = float(DISC(states=way).max())
    ax.set_title(f"in wind: {max(0.0, depth):.3f} within, braked {int(braked.sum())} times")


def landscape(ax: Axes) -> None:
    """The planning energy over one action that is held."""
    axis = torch.linspace(-1, 1, 81)
    first = torch.cartesian_prod(axis, axis)
    actions = first[:, None].expand(-1, HELD, -1)
    here = PLACE.expand(len(first), 4)
    energies = ENERGY(observation=here, actions=actions).view(81, 81).T.numpy()
    broken = DISC(states=MODEL.rollout(here, actions)).view(81, 81).T.numpy()
    filled = ax.contourf(axis.numpy(), axis.numpy(), energies, 24, cmap=ENERGY_MAP)
    ax.contourf(axis.numpy(), axis.numpy(), broken, [0.0, np.inf], colors="none", hatches=["///"])
    ax.contour(axis.numpy(), axis.numpy(), broken, [0.0], colors="white", linewidths=1.5)
    allowed = np.where(broken <= 0, energies, np.inf)
    for values, marker, label in (
        (energies, "o", "least of all"),
        (allowed, "D", "least of what is allowed"),
    ):
        row, column = np.unravel_index(int(values.argmin()), values.shape)
        at = (float(axis[column]), float(axis[row]))
        ax.plot(*at, marker=marker, color=VERMILION, markeredgecolor="white", linestyle="", label=label)
    ax.legend(loc="lower left", fontsize=9, labelcolor="white")
    ax.set(
        xlabel="push to the right",
        ylabel="push up",
        aspect="equal",
        xticks=[-1, 0, 1],
        yticks=[-1, 0, 1],
        title="the energy of a first action",
    )
    ax.figure.colorbar(filled, ax=ax, shrink=0.8)


def draw() -> Figure:
    """The figure."""
    with style():
        figure = Figure(figsize=(15.0, 4.4))
        panels = figure.subplots(1, 3, width_ratios=(1.35, 1.35, 1.0))
        around(panels[0])
        windy(panels[1])
        landscape(panels[2])
        panels[0].plot(*PLACE[0, :2].numpy(), marker="D", color="black", markersize=5)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)

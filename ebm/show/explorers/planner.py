"""The planner, in Two Rooms: a plan is a sequence of moves, and planning is minimizing its energy.

    E(a_1 ... a_T) = (1/T) Σ_t d(p_t, goal),    p_t imagined,    |a_t| <= 7.35 px,    |p_t - guardrail| >= r

Every change is answered by two iterations that begin with the plan so far; `tick` does one more, up to 30.
The sizes keep an answer below 100 ms on one core: 128 plans an iteration, 12 moves each (at most 16), 21 x 21
points of the landscape over the first move. The guardrail is a constraint, with 1 px to spare: places are at
most 7.35 px apart, and between two of them a straight move may come nearer by as much.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 3.1 (mode 2) and 3.2
(guardrails).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from ebm.energy import Energy
from ebm.infer import CEM, ICEM, MPPI
from ebm.infer.method import Method
from ebm.infer.pose import pose
from ebm.infer.ranking import lower
from ebm.plan import KeepOut, LearnedCost, TrajectoryEnergy
from ebm.regularizers import Ball
from ebm.show.explorers.controls import Button, Choice, Control, Slider, Toggle
from ebm.show.explorers.rooms import DOORS, REACH, AsTheCrowFlies, KnownRooms, OnFoot
from ebm.show.explorers.scene import Dots, Extent, Handle, Heat, Layer, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.landscape import energy_on_grid
from ebm.show.slices import Slice
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, VERMILION
from ebm.world.two_rooms import HIGH, LOW, TwoRooms

FIELD: Extent = (LOW, HIGH, LOW, HIGH)
MOVES: Extent = (-REACH, REACH, -REACH, REACH)
TRIED, FIRST, AT_ONCE, LAST = 128, 10, 2, 30  # plans an iteration; iterations at first, at once, at most
SIDE, SHOWN = 21, 32  # points a side of the landscape; imagined paths that are drawn
RADIUS, SPARE = 7.5, 1.0  # px, of the guardrail, and what the constraint adds to it
COSTS = "on foot", "as the crow flies"
PLANNERS: dict[str, Method] = {
    "MPPI": MPPI(TRIED, temperature=1.0, std=0.7 * REACH, exponent=2.0, shrink=0.9),
    "iCEM": ICEM(TRIED, 12, std=0.7 * REACH, exponent=2.0),
    "CEM": CEM(TRIED, 12, std=0.7 * REACH),
}


class PlannerExplorer(State):
    """Drag start, goal, door and guardrail, and see what is imagined; act, and it plans on from there.

    Args:
        planner: "MPPI", "iCEM" or "CEM".
        cost: the distance to the goal, "on foot" or "as the crow flies".
        horizon: T, moves in a plan, 4 to 16.
        seed: of all noise.

    Raises:
        ValueError: for an unknown planner or cost, or a horizon that is out of range.

    Example:
        >>> explorer = PlannerExplorer()
        >>> explorer.drag("goal", 22.0, 40.0)  # no wall between
        >>> explorer.probe()["nearest"] < 4.5
        True
    """

    title = "Planner"
    handles = ("start", "goal", "door", "guardrail")
    plan: Tensor  # the moves, (1, T, 2)
    path: Tensor  # where they lead, (T + 1, 2)

    def __init__(self, planner: str = "MPPI", cost: str = "on foot", horizon: int = 12, seed: int = 0):
        self.planner, self.cost, self.horizon, self.seed, self.guarded = planner, cost, horizon, seed, True
        self.controls()  # raises where one of them is not allowed
        self.places: dict[str, tuple[float, float]] = {
            "start": (20.0, 46.0),
            "goal": (50.0, 44.0),
            "door": (32.0, 18.0),
            "guardrail": (47.0, 24.0),
        }
        self._plan_anew(FIRST)

    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("planner", "planner", tuple(PLANNERS), self.planner),
            Choice("cost", "distance to the goal", COSTS, self.cost),
            Slider("horizon", "horizon T (moves)", 4.0, 16.0, float(self.horizon), step=1.0),
            Toggle("guarded", "guardrail", self.guarded),
            Button("act", "Do the first move"),
            Button("forget", "Plan from nothing"),
        )

    def _set(self, name: str, value: Value) -> None:
        setattr(self, name, int(value) if name == "horizon" else value)
        self._plan_on() if name == "guarded" else self._plan_anew(AT_ONCE)

    def _press(self, name: str) -> None:
        if name == "forget":
            self._plan_anew(AT_ONCE)
            return
        x, y = self.path[1].tolist()
        self.places["start"] = (x, y)
        self.plan = torch.cat([self.plan[:, 1:], torch.zeros_like(self.plan[:, :1])], 1)
        self._plan_on()

    def _drag(self, name: str, x: float, y: float) -> None:
        x0, x1, y0, y1 = DOORS if name == "door" else FIELD
        self.places[name] = (min(max(x, x0), x1), min(max(y, y0), y1))
        self._plan_on()

    def _plan_anew(self, iterations: int) -> None:
        """Forget the plan, and begin with doing nothing."""
        self.plan = torch.zeros(1, self.horizon, 2, dtype=torch.float64)
        self._plan_on(iterations)

    def _plan_on(self, iterations: int = AT_ONCE) -> None:
        """Plan from where everything is now, beginning with the plan so far."""
        self.rooms = KnownRooms(*self.places["door"])
        for name in ("start", "goal"):
            self.places[name] = self.rooms.outside(*self.places[name])
        self.distance = OnFoot(self.rooms) if self.cost == "on foot" else AsTheCrowFlies()
        energy = TrajectoryEnergy(self.rooms, LearnedCost(self.distance))
        self.energy: Energy = energy.imagined
        self.guardrail = KeepOut(_point(self.places["guardrail"])[0], RADIUS + SPARE)
        self.given = {"state": _point(self.places["start"]), "goal": _point(self.places["goal"])}
        self.problem, u = pose(
            self.energy + Ball("actions", REACH),
            {"actions": self.plan},
            self.given,
            [energy.imagine(self.guardrail)] if self.guarded else [],
            Generator().manual_seed(self.seed),
        )
        self.state = self.best = PLANNERS[self.planner].init(self.problem, u)
        self.energies = [float(self.best["value"])]
        self._iterate(iterations)

    def _iterate(self, iterations: int) -> None:
        for _ in range(iterations):
            self.state = PLANNERS[self.planner].step(self.problem, self.state)
            now, best = self.state, self.best
            if bool(lower(now["value"], now.get("violation"), best["value"], best.get("violation"))):
                self.best = now
            self.energies.append(float(self.best["value"]))
        self.tried = self.rooms.seen[1 : 1 + SHOWN]
        self.plan = self.problem.unpack(self.best["u"])["actions"]
        self.path = self.rooms.rollout(self.given["state"], self.plan)[0]

    def tick(self) -> bool:
        """One more iteration; False after 30 since the last change."""
        if len(self.energies) <= LAST:
            self._iterate(1)
        return len(self.energies) <= LAST

    def probe(self) -> dict[str, float]:
        away = torch.linalg.vector_norm(self.path - self.given["goal"], dim=1)
        aside = torch.linalg.vector_norm(self.path[1:] - self.guardrail.center, dim=1)
        violation = self.best.get("violation")
        return {
            "energy": float(self.best["value"]),
            "iterations": float(len(self.energies) - 1),
            "end": float(away[-1]),
            "nearest": float(away.min()),
            "violation": 0.0 if violation is None else float(violation),
            "clearance": float(aside.min()) - RADIUS,
            "first_right": float(self.plan[0, 0, 0]),
            "first_up": float(self.plan[0, 0, 1]),
            **{
                f"{name}_{axis}": v
                for name, xy in self.places.items()
                for axis, v in zip("xy", xy, strict=True)
            },
        }

    def scene(self) -> Scene:
        found = self.probe()
        arrives = "comes to the goal" if found["nearest"] < TwoRooms.near else "does not reach the goal"
        rail = "" if not self.guarded else "; the guardrail is kept"
        if found["violation"] > 1e-6:
            rail = f"; it breaks the guardrail by {found['violation']:.1f} px"
        text = (
            f"{self.planner} after {found['iterations']:.0f} iterations: the plan {arrives}, "
            f"{found['nearest']:.1f} px from it at the nearest; its energy is {found['energy']:.1f} px{rail}."
        )
        return Scene((self._map(), self._first_move(), self._progress()), text)

    def _map(self) -> Panel:
        axis = torch.linspace(LOW, HIGH, 55, dtype=torch.float64)
        field = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), 2)
        heat = array(self.distance(field, self.given["goal"]))
        gap = torch.full_like(self.tried[:, :1], torch.nan)
        layers: list[Layer] = [
            Heat(heat, 0.0, float(heat.max()), "distance to the goal (px)"),
            Line(array(torch.cat([self.tried, gap], 1).flatten(0, 1)), "#FFFFFF", width=0.7),
            Line(self.rooms.lines(), "#000000", width=4),
            Line(array(self.path), VERMILION, "plan", width=3),
            Dots(array(self.path[1:]), VERMILION, 6),
        ]
        if self.guarded:
            angle = np.linspace(0, 2 * np.pi, 49)
            circle = np.stack([np.cos(angle), np.sin(angle)], 1) * RADIUS + self.places["guardrail"]
            layers.append(Line(circle, PURPLE, "guardrail", width=3))
        colors = {"start": ORANGE, "goal": GREEN, "door": GRAY, "guardrail": PURPLE}
        shown = [name for name in self.handles if self.guarded or name != "guardrail"]
        handles = [Handle(name, *self.places[name], name, colors[name]) for name in shown]
        return Panel("Two Rooms", "x (px)", "y (px)", FIELD, (*layers, *handles))

    def _first_move(self) -> Panel:
        """E over the first move, all others as planned; blank where it would be too long."""
        first = self.energy.compose(actions=(Slice(self.plan[0], (0, 0), (0, 1)), "move"))
        right, up, values = energy_on_grid(first, "move", MOVES, self.given, SIDE, torch.float64)
        allowed = np.hypot(right[None, :], up[:, None]) <= REACH
        values = np.where(allowed, values, np.nan)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        layers: list[Layer] = [Heat(values, low, max(high, low + 1e-3), "energy (px)")]
        if self.guarded:
            broken = array(self.guardrail(states=self.rooms.seen)).reshape(SIDE, SIDE) > 0
            row, column = np.nonzero(broken & allowed)
            forbidden = np.stack([right[column], up[row]], 1)
            layers.append(Dots(forbidden, PURPLE, 3, "breaks the guardrail"))
        layers.append(Dots(array(self.plan[0, :1]), VERMILION, 10, "planned"))
        return Panel("Energy over the first move", "to the right (px)", "up (px)", MOVES, tuple(layers))

    def _progress(self) -> Panel:
        steps = np.arange(len(self.energies), dtype=float)
        line = Line(np.stack([steps, np.array(self.energies)], 1), BLUE, "best so far")
        end, top = float(max(FIRST, len(steps) - 1)), 1.05 * max(self.energies)
        extent = (0.0, end, 0.0, max(top, 1.0))
        return Panel("Energy of the plan", "iterations", "energy (px)", extent, (line,), equal=False)


def _point(place: tuple[float, float]) -> Tensor:
    return torch.tensor([place], dtype=torch.float64)

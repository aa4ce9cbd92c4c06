"""Three samplers side by side on one landscape: Langevin, MALA and HMC, with equal work.

    Langevin   u ← u - ε ∇E + √(2ε/β) ξ                     biased by O(ε), whatever the number of draws
    MALA       the same step, accepted or rejected          exact
    HMC        L steps that begin with one random push, accepted or rejected         exact, and goes farther

One number ε sets all three: a leapfrog step of HMC is √(2ε/β) long, so that with L = 1 it proposes what MALA
does. Their work is counted in gradients, their truth by the spread (`ebm.show.explorers.walks`), which is 1
for exact draws; for E = ½y²/v that of Langevin is 1 / (1 - ε/2v).

HMC that turns by a whole number of half periods in each proposal comes back to where it began: on the long
Gaussian at ε = 0.2 and L = 8 it stays on a line, with everything accepted.

Reference: Roberts & Tweedie (1996), "Exponential convergence of Langevin distributions and their discrete
approximations", for the bias; Neal (2011), "MCMC using Hamiltonian dynamics", for the periods.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Generator, Tensor

from ebm.infer import HMC, MALA, Langevin
from ebm.infer.sampler import Sampler
from ebm.show.explorers.controls import Button, Choice, Control, Slider
from ebm.show.explorers.scene import Dots, Extent, Handle, Heat, Layer, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.explorers.walks import Walk, moments
from ebm.show.landscape import energy_on_grid
from ebm.show.style import GRAY, GREEN, ORANGE, SKY, VERMILION
from ebm.targets import Banana, DoubleWell, Gaussian, Mixture, Ring
from ebm.targets.target import Target

COLORS = {"Langevin": VERMILION, "MALA": GREEN, "HMC": SKY}
WHITE = "#FFFFFF"
CHAINS, GRADIENTS, LAST = 64, 40, 3200  # chains; gradients of a chain in a frame, and after which it ends
SIDE, SHOWN, NATS = 57, 500, 10.0  # points a side of the landscape; draws that are drawn; the highest color


def landscapes() -> dict[str, Target]:
    """What can be sampled, by name, in float64."""
    made: dict[str, Target] = {
        "long Gaussian": Gaussian(torch.zeros(2), torch.tensor([[2.0, 1.2], [1.2, 1.0]])),
        "ring": Ring(2.0, 0.3),
        "banana": Banana(2, scale=1.0, bend=0.6),
        "double well": DoubleWell(2, height=2.0),
        "eight modes": Mixture.on_circle(8, 2.5, 0.45),
    }
    return {name: target.double() for name, target in made.items()}


class SamplersExplorer(State):
    """Press play and watch three samplers; change step size and temperature, drag where chains begin.

    Args:
        target: the landscape, one of `landscapes()`.
        step_size: ε in [0.002, 2].
        temperature: T = 1/β in [0.2, 5].
        leapfrogs: L of HMC in [1, 20].
        seed: of all noise.

    Raises:
        ValueError: for an unknown landscape, or a setting that is out of range.

    Example:
        >>> explorer = SamplersExplorer("ring", step_size=0.05)
        >>> explorer.tick(), explorer.probe()["gradients"]
        (True, 40.0)
        >>> explorer.probe()["MALA accepted"] < explorer.probe()["Langevin accepted"]  # which has no test
        True
    """

    title = "Samplers"
    handles = ("start",)

    def __init__(
        self,
        target: str = "long Gaussian",
        step_size: float = 0.25,
        temperature: float = 1.0,
        leapfrogs: int = 4,
        seed: int = 0,
    ):
        self.landscapes = landscapes()
        self.target, self.step_size, self.temperature = target, step_size, temperature
        self.leapfrogs, self.seed = leapfrogs, seed
        self.controls()  # raises where one of them is not allowed
        self._enter()

    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("target", "landscape", tuple(self.landscapes), self.target),
            Slider("step_size", "step size ε", 0.002, 2.0, self.step_size, log=True),
            Slider("temperature", "temperature T = 1/β", 0.2, 5.0, self.temperature, log=True),
            Slider("leapfrogs", "leapfrog steps L of HMC", 1.0, 20.0, float(self.leapfrogs), step=1.0),
            Button("restart", "Start again"),
        )

    def _set(self, name: str, value: Value) -> None:
        setattr(self, name, int(value) if name == "leapfrogs" else value)
        if name == "target":
            self._enter()
        else:
            self.restart()

    def _press(self, name: str) -> None:
        self.restart()

    def _drag(self, name: str, x: float, y: float) -> None:
        x0, x1, y0, y1 = self.extent
        self.start = torch.tensor([[min(max(x, x0), x1), min(max(y, y0), y1)]], dtype=torch.float64)
        self.restart()

    def _enter(self) -> None:
        """To another landscape: its picture, and a start in one of its pits."""
        self.energy = self.landscapes[self.target]
        self.extent = _square(self.energy.extent)
        self.start = self.energy.minima[:1].clone()
        _, _, values = energy_on_grid(self.energy, "y", self.extent, resolution=SIDE)
        self._heat = Heat(array(values) - self.energy.minimum, 0.0, NATS, "energy above the lowest")
        self.restart()

    def restart(self) -> None:
        """All chains back to the start, with the settings as they are."""
        beta, start = 1 / self.temperature, self.start.expand(CHAINS, 2).contiguous()
        self.generator = Generator().manual_seed(self.seed)
        self.exact = moments(self.energy, beta)
        leap = math.sqrt(2 * self.step_size / beta)
        made: tuple[Sampler, ...] = (
            Langevin(self.step_size),
            MALA(self.step_size),
            HMC(leap, self.leapfrogs),
        )
        self.walks = {n: Walk(s, start, beta, self.exact) for n, s in zip(COLORS, made, strict=True)}
        self.gradients = 0
        self._numbers: dict[str, dict[str, float]] = {}

    def tick(self) -> bool:
        """Forty gradients more for every chain of every sampler; False after 3,200."""
        if self.gradients >= LAST:
            return False
        self.gradients += GRADIENTS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of lost chains: the probe counts them
            for walk in self.walks.values():
                walk.go(self.energy, self.gradients, self.generator)
        self._numbers = {name: walk.numbers() for name, walk in self.walks.items()}
        return self.gradients < LAST

    def probe(self) -> dict[str, float]:
        found = {f"{name} {key}": n for name, each in self._numbers.items() for key, n in each.items()}
        x, y = self.start[0].tolist()
        exact = float(self.exact.covariance.trace())
        return {"gradients": float(self.gradients), "exact": exact, "start_x": x, "start_y": y, **found}

    def scene(self) -> Scene:
        return Scene((*(self._map(name) for name in COLORS), self._curves()), self._text())

    def _text(self) -> str:
        if not self.gradients:
            return f"Three samplers stand ready on the landscape “{self.target}”: press play."
        says = []
        for name, found in self._numbers.items():
            spread, error, lost = (found[key] for key in ("spread", "standard error", "lost chains"))
            if lost:
                says.append(f"{name} has lost {lost:.0f} of {CHAINS} chains")
            elif not math.isfinite(error) or spread > 100:
                says.append(f"{name} {spread:.3g}")
            else:
                off = (spread - 1) / max(error, 1e-12)
                note = ", too wide" if off > 4 else ", too narrow" if off < -4 else ""
                says.append(f"{name} {spread:.3f} ± {error:.3f}{note}")
        return f"After {self.gradients} gradients a chain, spread over exact: {'; '.join(says)}."

    def _map(self, name: str) -> Panel:
        walk, label = self.walks[name], "y₁"
        layers: list[Layer] = [self._heat]
        if self.gradients:
            cloud = walk.half.flatten(0, 1)
            cloud = cloud[torch.linspace(0, len(cloud) - 1, min(SHOWN, len(cloud))).long()]
            path = _within(walk.draws[-1 - GRADIENTS // walk.sampler.gradients :, 0], self.extent)
            layers += [
                Dots(_within(cloud, self.extent), WHITE, 2.5),
                Line(path, WHITE, width=3.6),
                Line(path, COLORS[name], width=2.0),
                Dots(_within(walk.draws[-1], self.extent), ORANGE, 5),
            ]
            found = self._numbers[name]
            worth, share = found["effective draws"], f"{100 * walk.accepted:.0f} % accepted"
            label = share if walk.sampler.tested else "no test"
            label += f", worth {worth:.0f} draws" if math.isfinite(worth) else ""
        x, y = self.start[0].tolist()
        layers.append(
            Handle("start", x, y, "start", GRAY) if name == "Langevin" else Dots(array([[x, y]]), GRAY, 9)
        )
        return Panel(name, label, "y₂", self.extent, tuple(layers))

    def _curves(self) -> Panel:
        end = max(400.0, float(self.gradients))
        layers: list[Layer] = [Line(array([[0, 1], [end, 1]]), GRAY, "exact", dashed=True)]
        for name, walk in self.walks.items():
            curve = array(walk.spread).reshape(-1, 2)
            layers.append(Line(np.clip(curve, 0, 1e6), COLORS[name], name))
        words = "gradients of a chain", "⟨|y - m|²⟩ / exact"
        return Panel("Spread over exact", *words, (0.0, end, 0.0, 2.0), tuple(layers), equal=False)


def _square(extent: Extent) -> Extent:
    """The smallest square around a range of the plane."""
    x0, x1, y0, y1 = extent
    half, x, y = max(x1 - x0, y1 - y0) / 2, (x0 + x1) / 2, (y0 + y1) / 2
    return (x - half, x + half, y - half, y + half)


def _within(points: Tensor, extent: Extent) -> np.ndarray:
    """The points near the panel; NaN for those that went astray."""
    x0, x1, y0, y1 = extent
    middle = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2], dtype=points.dtype)
    near = (points - middle).abs().amax(1, keepdim=True) <= x1 - x0
    return array(torch.where(near, points, torch.nan))

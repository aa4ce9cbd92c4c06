"""Training, live: one energy, trained while you watch, by a loss that can be exchanged on the way.

    E(y) = |y - g(z)|² / 2σ²,    z = μ(y) a code of 8 numbers on a sphere,  g a network,  σ = 0.16

    push down only    L = ⟨E⟩_data                       smallest for g(μ(y)) = y: E = 0 everywhere
    contrastive       L of NCE: data are told from noise, so that the energy of the noise is pushed up
    regularized       L = ⟨E⟩_data with z = μ(y) + s ε, ε ~ N(0, I): few points get a code of their own

All three train the same network. What they make of it is measured on data that it hasn't seen
(`collapse_report`), and energies are counted in nats: p ∝ exp(-E).

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.3; Gutmann & Hyvärinen
(2012) for NCE.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from ebm.contrastive import NCE, Gaussian
from ebm.data.toy import eight_gaussians, pinwheel, ring, spiral, two_moons
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import BOX, CollapseReport, collapse_report
from ebm.measure.model_report import FLAT_ENERGY
from ebm.nets import mlp
from ebm.regularized import NoisyAutoEncoder
from ebm.show.explorers.controls import Button, Choice, Control, Slider
from ebm.show.explorers.scene import Dots, Extent, Heat, Layer, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.landscape import energy_on_grid
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, VERMILION
from ebm.targets import Gaussian as Noise
from ebm.train import fit

PUSH, CONTRAST, REGULARIZE = "push down only", "contrastive", "regularized"
COLORS = {PUSH: VERMILION, CONTRAST: BLUE, REGULARIZE: GREEN}
DATA: dict[str, Callable[..., Tensor]] = {
    "two moons": two_moons,
    "ring": ring,
    "eight Gaussians": eight_gaussians,
    "pinwheel": pinwheel,
    "spiral": spiral,
}
PLANE: Extent = (-2.8, 2.8, -2.8, 2.8)
NATS, SIDE = 8.0, 57  # the highest energy that has a color of its own; points a side of the landscape
BETA = 20.0  # 1 / 2σ²
WIDTH, CODE = 64, 8
ROWS, UNSEEN, BATCH, RATE = 1000, 500, 64, 3e-3
AT_ONCE, LAST = 10, 4000  # steps a frame, and steps after which it ends
SPREAD, RATIO = 1.5, 4  # standard deviation of the noise of NCE, and points of it for each of data
SPOIL = 0.3  # standard deviation of what makes corrupted data, for the report


class TrainingExplorer(State):
    """Press play and watch an energy being shaped; exchange the loss, and see it collapse or recover.

    Args:
        data: which points it learns from, one of `DATA`.
        loss: what it begins with, "push down only", "contrastive" or "regularized".
        noise: s in [0, 2], of the code while the loss is "regularized"; at 0 this is pushing down only.
        seed: of network, data and all noise.

    Raises:
        ValueError: for an unknown name, or a noise that is out of range.

    Example:
        >>> explorer = TrainingExplorer(loss="contrastive")
        >>> explorer.tick(), explorer.probe()["steps"]
        (True, 10.0)
    """

    title = "Training, live"

    def __init__(self, data: str = "two moons", loss: str = PUSH, noise: float = 1.0, seed: int = 0):
        self.data, self.loss, self.noise, self.seed = data, loss, noise, seed
        self.controls()  # raises where one of them is not allowed
        self.restart()

    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("loss", "loss", tuple(COLORS), self.loss),
            Slider("noise", "strength of the regularizer: noise s in the code", 0.0, 2.0, self.noise),
            Choice("data", "data", tuple(DATA), self.data),
            Button("restart", "Start again"),
        )

    def _set(self, name: str, value: Value) -> None:
        setattr(self, name, value)
        if name == "data":
            self.restart()
        elif name == "loss":
            self._exchange()
        else:
            self.model.noise = self._strength

    def _press(self, name: str) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was learned: new data, and the network as it was in the beginning."""
        self.generator = Generator().manual_seed(self.seed)
        points = DATA[self.data](ROWS + UNSEEN, generator=self.generator)
        points = points - points.mean(0)
        points = points / points.std()
        self.seen, self.unseen = points[:ROWS], points[ROWS:]
        encoder = mlp(2, WIDTH, WIDTH, CODE, generator=self.generator)
        decoder = mlp(CODE, WIDTH, WIDTH, 2, generator=self.generator)
        self.model = NoisyAutoEncoder(encoder, decoder, CODE, self._strength)
        self.energy = (BETA * self.model.free_energy).eval()
        self.steps, self.reports, self.losses = [0], [self._measure()], [self.loss]
        self._exchange()

    @property
    def _strength(self) -> float:
        return self.noise if self.loss == REGULARIZE else 0.0

    def _exchange(self) -> None:
        """Go on with the network as it is, by the loss that is chosen now."""
        noise = Noise(torch.zeros(2), SPREAD**2 * torch.eye(2))
        self.criterion: Loss = NCE(noise, RATIO) if self.loss == CONTRAST else AverageEnergy()
        self.model.noise = self._strength
        self.optimizer: torch.optim.Optimizer | None = None  # the first of a process takes a second to make

    def tick(self) -> bool:
        """Ten steps of the optimizer and a look at the collapse meter; False after 4,000 steps."""
        if self.steps[-1] >= LAST:
            return False
        if self.optimizer is None:
            trained = [*self.model.parameters(), *self.criterion.parameters()]
            self.optimizer = torch.optim.Adam(trained, lr=RATE, fused=True)
        fit(
            self.energy,
            self.criterion,
            self.seen,
            optimizer=self.optimizer,
            steps=AT_ONCE,
            batch_size=BATCH,
            generator=self.generator,
            progress=False,
        )
        self.steps.append(self.steps[-1] + AT_ONCE)
        self.reports.append(self._measure())
        self.losses.append(self.loss)
        return self.steps[-1] < LAST

    def _measure(self) -> CollapseReport:
        same = Generator().manual_seed(self.seed)  # the same points off the data each time: no jitter
        return collapse_report(
            self.energy, self.unseen, corruption=Gaussian(SPOIL), points=UNSEEN, generator=same
        )

    def probe(self) -> dict[str, float]:
        report = self.reports[-1]
        return {
            "steps": float(self.steps[-1]),
            "on_data": report.mean,
            "gap": report.off_data[BOX].gap,
            "auroc": report.off_data[BOX].auroc,
            "spread": report.spread,
            "slope": report.slope,
            "low_volume": report.low_volume,
            "likely_volume": report.likely_volume,
            "collapsed": float(report.verdict == FLAT_ENERGY),
        }

    def scene(self) -> Scene:
        report, gaps = self.reports[-1], [report.off_data[BOX].gap for report in self.reports]
        likely = [100 * report.likely_volume for report in self.reports]
        gap, verdict = gaps[-1], report.verdict
        verdict = "collapsed, a flat energy" if verdict == FLAT_ENERGY else verdict
        text = (
            f"After {self.steps[-1]} steps, {self.loss}: {verdict}. Points anywhere in the data's box have "
            f"{abs(gap):.2f} nats {'more' if gap >= 0 else 'less'} than data, and {likely[-1]:.0f} % of the "
            f"box is likely."
        )
        high = max(4.0, 1.1 * max(gaps))
        one = Line(array([[0, 1], [self._end, 1]]), GRAY, "1 nat: flat below", dashed=True)
        return Scene(
            (
                self._landscape(),
                self._meter("Energy gap", "box less data (nats)", gaps, (min(0.0, *gaps), high), one),
                self._meter("Likely space", "share of the data's box (%)", likely, (0.0, 103.0)),
            ),
            text,
        )

    @property
    def _end(self) -> float:
        """The last step on the axis: a round number that grows in halves."""
        end = 200.0
        while end < self.steps[-1]:
            end *= 1.5
        return end

    def _landscape(self) -> Panel:
        _, _, values = energy_on_grid(self.energy, "y", PLANE, resolution=SIDE)
        layers: list[Layer] = [
            Heat(array(values), 0.0, NATS, "energy E(y) (nats)"),
            Dots(array(self.seen[:300]), ORANGE, 3.5, "data, pushed down"),
        ]
        if isinstance(self.criterion, NCE):
            drawn = self.criterion.draw(80, Generator().manual_seed(self.seed))
            layers.append(Dots(array(drawn), PURPLE, 4, "noise, pushed up"))
        return Panel("Energy", "y₁", "y₂", PLANE, tuple(layers))

    def _meter(
        self, title: str, unit: str, values: list[float], ends: tuple[float, float], *more: Layer
    ) -> Panel:
        """A number over the steps, in the color of the loss that was at work."""
        draw = partial(_stretches, np.array(self.steps, float), np.array(values), self.losses)
        lines = [Line(draw(loss), COLORS[loss], loss) for loss in COLORS if loss in self.losses[1:]]
        extent = (0.0, self._end, *ends)
        return Panel(title, "steps", unit, extent, (*more, *lines), equal=False)


def _stretches(steps: np.ndarray, values: np.ndarray, losses: list[str], loss: str) -> np.ndarray:
    """The curve where this loss was at work, each stretch from where it began, and NaN elsewhere, (K, 2)."""
    at_work = np.array([name == loss for name in losses])
    at_work[0] = False  # nothing was at work before the first step
    begins = np.append(at_work[1:], False)
    return np.stack([steps, np.where(at_work | begins, values, np.nan)], 1)

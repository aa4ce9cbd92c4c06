"""Joint embedding, live: a cloud of codes in the plane, trained by VICReg while you change its three weights.

    L = λ s(Z, Z') + μ ½ [v(Z) + v(Z')] + ν [c(Z) + c(Z')],    Z = f(x), Z' = f(x'), x and x' noisy views

    λ alone       every point gets the same code: complete collapse
    λ and μ       both dimensions vary, and may say the same: dimensional collapse
    λ, μ, ν       the codes use the plane
    μ, ν alone    codes vary and spread, and two views of a point need not agree

The points lie on a spiral in three dimensions, and a view is a point with noise; the codes that are shown are
of points that were not learned from, one color for each fifth of the way along the spiral.

Reference: Bardes, Ponce, LeCun (2021), "VICReg: Variance-Invariance-Covariance Regularization for
Self-Supervised Learning", eq. 1 to 6.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from ebm.joint import VICReg
from ebm.measure import CodeReport, code_report
from ebm.nets import mlp
from ebm.show.explorers.controls import Button, Control, Slider
from ebm.show.explorers.scene import Bars, Dots, Extent, Layer, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION

WEIGHTS = ("invariance", "variance", "covariance")
COLORS = dict(zip(WEIGHTS, (BLUE, ORANGE, GREEN), strict=True))
FIFTHS = (BLUE, SKY, GREEN, ORANGE, VERMILION)
PLANE: Extent = (-3.4, 3.4, -3.4, 3.4)
ROWS, UNSEEN, BATCH, NOISE, RATE = 2000, 400, 256, 0.2, 1e-3
AT_ONCE, LAST = 10, 4000  # steps a frame, and steps after which it ends
FEWEST = 1e-3  # the least value of a term on its logarithmic axis
LENGTH, FEW = 1.0, 1.2  # codes of this length are alive; in the plane, fewer directions are a line


class EmbeddingExplorer(State):
    """Press play and watch codes of the plane being learned; change the weights, and see them collapse.

    Args:
        invariance, variance, covariance: λ and μ in [0, 50], ν in [0, 10].
        seed: of network, data and noise.

    Raises:
        ValueError: for a weight that is out of range.

    Example:
        >>> explorer = EmbeddingExplorer(variance=0.0, covariance=0.0)
        >>> explorer.tick(), explorer.probe()["steps"]
        (True, 10.0)
    """

    title = "Joint embedding, live"
    verb = "Train"

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, seed: int = 0
    ):
        self.weights = dict(zip(WEIGHTS, (invariance, variance, covariance), strict=True))
        self.seed = seed
        self.controls()  # raises where one of them is not allowed
        self.restart()

    def controls(self) -> tuple[Control, ...]:
        labels = {"invariance": "invariance λ", "variance": "variance μ", "covariance": "covariance ν"}
        highest = {"invariance": 50.0, "variance": 50.0, "covariance": 10.0}
        sliders = [Slider(n, labels[n], 0.0, highest[n], self.weights[n], step=0.5) for n in WEIGHTS]
        return (*sliders, Button("restart", "Start again"))

    def _set(self, name: str, value: Value) -> None:
        self.weights[name] = float(value)

    def _press(self, name: str) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was learned: the network as it was in the beginning."""
        self.generator = Generator().manual_seed(self.seed)
        self.seen, _ = spiral(ROWS, self.generator)
        self.unseen, place = spiral(UNSEEN, self.generator)
        self.fifth = (5 * place).long()
        self.network = mlp(3, 64, 64, 2, generator=self.generator).to(self.seen.dtype)
        self.optimizer: torch.optim.Optimizer | None = None  # the first of a process takes a second to make
        self.views = tuple(self._view(self.unseen) for _ in range(2))
        self.steps: list[int] = [0]
        self.terms: list[dict[str, float]] = []
        self.reports: list[CodeReport] = []
        self._measure()

    def _view(self, points: Tensor) -> Tensor:
        noise = torch.randn(points.shape, generator=self.generator, dtype=points.dtype)
        return points + NOISE * noise

    def _loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return VICReg(**self.weights)(self.network(x), self.network(y))

    def tick(self) -> bool:
        """Ten steps of the optimizer and a look at the codes; False after 4,000 steps."""
        if self.steps[-1] >= LAST:
            return False
        if self.optimizer is None:
            self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)
        for _ in range(AT_ONCE):
            rows = torch.randint(ROWS, (BATCH,), generator=self.generator)
            loss, _ = self._loss(self._view(self.seen[rows]), self._view(self.seen[rows]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.steps.append(self.steps[-1] + AT_ONCE)
        self._measure()
        return self.steps[-1] < LAST

    @torch.no_grad()
    def _measure(self) -> None:
        """The three terms on two fixed views of unseen points, and the report of the codes without noise."""
        _, terms = self._loss(*self.views)
        self.terms.append({name: float(terms[name]) for name in WEIGHTS})
        self.codes = self.network(self.unseen)
        self.reports.append(code_report(self.codes, scale=LENGTH, few=FEW))

    def probe(self) -> dict[str, float]:
        report = self.reports[-1]
        return {
            "steps": float(self.steps[-1]),
            **self.terms[-1],
            "std": report.std,
            "directions": report.directions,
            "collapsed": float(report.verdict != "alive"),
        }

    def scene(self) -> Scene:
        report, terms = self.reports[-1], self.terms[-1]
        on_a_line = f" in {report.directions:.2f} directions" if report.std > 0.1 else ""
        text = (
            f"After {self.steps[-1]} steps: {report.verdict}. The codes have a standard deviation of "
            f"{report.std:.2f}{on_a_line}; invariance {terms['invariance']:.3f}, variance "
            f"{terms['variance']:.3f}, covariance {terms['covariance']:.3f}."
        )
        return Scene((self._cloud(), self._curves(), self._meter()), text)

    def _cloud(self) -> Panel:
        parts = [
            Dots(
                array(self.codes[self.fifth == k]), color, 4.5, "start" if k == 0 else "end" if k == 4 else ""
            )
            for k, color in enumerate(FIFTHS)
        ]
        return Panel("Codes of unseen points", "s₁", "s₂", PLANE, tuple(parts))

    def _curves(self) -> Panel:
        """The terms over the steps, on a logarithmic axis; dashed where the weight is 0 now."""
        layers: list[Layer] = []
        for name in WEIGHTS:
            values = np.log10([max(terms[name], FEWEST) for terms in self.terms])
            points = np.stack([np.array(self.steps, float), values], 1)
            layers.append(Line(points, COLORS[name], name, dashed=self.weights[name] == 0))
        return Panel(
            "The three terms", "steps", "log₁₀ of the term", (0.0, self._end, -3.1, 1.5), tuple(layers), False
        )

    def _meter(self) -> Panel:
        report = self.reports[-1]
        lines = Line(array([[-0.5, 1.0], [2.5, 1.0]]), GRAY, dashed=True)
        heights = array([*self.codes.std(0).tolist(), report.directions if report.std > 0.01 else 0.0])
        bars = Bars(heights, PURPLE, ("std of s₁", "std of s₂", "directions"))
        return Panel("The meter", "", "value", (-0.5, 2.5, 0.0, 2.2), (bars, lines), False)

    @property
    def _end(self) -> float:
        """The last step on the axis: a round number that grows in halves."""
        end = 200.0
        while end < self.steps[-1]:
            end *= 1.5
        return end


def spiral(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Points of a spiral, (N, 3), and where along it they lie, (N,) from 0 to 1.

    Example:
        >>> points, place = spiral(5, Generator().manual_seed(0))
        >>> points.shape, place.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    t = torch.rand(rows, generator=generator)
    angle = 9 * t
    return torch.stack([angle.cos() * (0.3 + t), angle.sin() * (0.3 + t), 2 * t - 1], 1), t

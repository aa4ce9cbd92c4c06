"""The price of dimension: negatives for each row of data that a loss needs, against the number of dimensions.

512 rows y ~ N(0, I) in D dimensions, the model E(y) = ½ exp(θ)|y|², true at θ = 0. The mean squared error of
θ̂, the minimum of a loss, is H⁻¹⟨g gᵀ⟩H⁻¹, g the loss's gradient at the truth and H the mean of its second
derivative, over fresh data and negatives; that of maximum likelihood is 2/(512 D). A loss has enough of them
once the root of its error is at most twice that of maximum likelihood. Noise far from data teaches little,
and in many dimensions everything is far. Score matching draws no negatives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.contrastive import NCE, ConditionalNCE, EnergyDiscrepancy, MaximumLikelihood, ScoreMatching
from ebm.loss import Loss
from ebm.nodes import Importance
from ebm.show import style
from ebm.targets import Gaussian

ALT = (
    "Negatives that a loss needs for each row of data grow with the number of dimensions, for most of "
    "them exponentially."
)
DIMENSIONS = (1, 2, 4, 8, 16, 32)
ROWS, DEAREST = 512, 4.0  # rows of data; times the squared error of maximum likelihood
MOST, BATCHES, NUMBERS = 2048, 100, 2**17  # negatives a row; batches to average; numbers in a batch
WIDER = 1.5  # noise of one density for all rows: so many times as wide as the data
DOUBLE = torch.float64


class Bowl(Energy):
    """E(y) = ½ exp(θ)|y|²."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros((), dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * self.theta.exp() * y.square().sum(1)


Make = Callable[[int, int, int], Loss]  # of dimensions, negatives a row, rows


def nce(dim: int, negatives: int, rows: int) -> Loss:
    """Noise contrastive estimation, log Z at its truth."""
    noise = Gaussian(torch.zeros(dim, dtype=DOUBLE), WIDER**2 * torch.eye(dim, dtype=DOUBLE))
    return NCE(noise, negatives, log_z=0.5 * dim * math.log(2 * math.pi)).double()


def likelihood(dim: int, negatives: int, rows: int) -> Loss:
    """Maximum likelihood, Z estimated from noise."""
    spread = torch.full((dim,), WIDER, dtype=DOUBLE)
    return MaximumLikelihood(Importance(rows * negatives, torch.zeros_like(spread), spread))


LOSSES: dict[str, Make] = {
    "likelihood, Z by sampling": likelihood,
    "noise contrastive": nce,
    "conditional NCE": lambda dim, k, rows: ConditionalNCE(1.0, k),
    "energy discrepancy": lambda dim, k, rows: EnergyDiscrepancy(0.5, k, 0.0),
}


def squared_error(make: Make, dim: int, negatives: int, generator: Generator) -> float:
    """⟨θ̂²⟩ over that of maximum likelihood."""
    rows = max(4, min(ROWS, NUMBERS // (dim * negatives)))
    slopes, bends = [], []
    for _ in range(BATCHES):
        energy, loss = Bowl(), make(dim, negatives, rows)
        y = torch.randn(rows, dim, generator=generator, dtype=DOUBLE)
        parameters = [energy.theta, *loss.parameters()]
        value = loss(energy, generator, y=y).loss
        slope = torch.autograd.grad(value, parameters, create_graph=True)
        bends.append(torch.stack([torch.stack(_slopes(part, parameters)) for part in slope]))
        slopes.append(torch.stack(slope).detach())
    g, inverse = torch.stack(slopes), torch.linalg.inv(torch.stack(bends).mean(0))
    scatter = torch.cov(g.T).view_as(inverse)
    bias = torch.outer(g.mean(0), g.mean(0)) - scatter / BATCHES  # without what chance adds to it
    second = scatter * rows / ROWS + bias
    return float((inverse @ second @ inverse)[0, 0]) * ROWS * dim / 2


def _slopes(value: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, parameters, retain_graph=True)


def needed(make: Make, dim: int, generator: Generator) -> float:
    """Negatives a row at which the error falls to what is allowed, between powers of 2; or infinity."""
    before, negatives = math.inf, 1
    while negatives <= MOST:
        now = squared_error(make, dim, negatives, generator)
        if 0 < now <= DEAREST:
            if not math.isfinite(before):
                return float(negatives)
            share = math.log(before / DEAREST) / math.log(before / now)
            return negatives * 2 ** (share - 1)
        before, negatives = now, 2 * negatives
    return math.inf


def prices() -> dict[str, list[float]]:
    """Negatives needed in each number of dimensions, by loss; for score matching its squared error."""
    found = {}
    for name, make in LOSSES.items():
        generator = Generator().manual_seed(0)
        found[name] = [needed(make, dim, generator) for dim in DIMENSIONS]
    generator = Generator().manual_seed(0)
    found["score matching, squared error"] = [
        squared_error(lambda dim, k, rows: ScoreMatching(), dim, 1, generator) for dim in DIMENSIONS
    ]
    return found


def draw(found: dict[str, list[float]] | None = None) -> Figure:
    """The figure."""
    found = prices() if found is None else found
    with style():
        figure = Figure(figsize=(7.6, 4.6))
        ax = figure.subplots()
        for name, marker in zip(LOSSES, "osD^", strict=True):
            reached = [(d, k) for d, k in zip(DIMENSIONS, found[name], strict=True) if math.isfinite(k)]
            (line,) = ax.plot(*zip(*reached, strict=True), marker=marker, markersize=5)
            above = name == "energy discrepancy"  # its last point is beside another's
            ax.annotate(
                name,
                reached[0] if above else reached[-1],
                xytext=(0, 14) if above else (8, 0),
                textcoords="offset points",
                va="center",
                color=line.get_color(),
            )
        ax.set(
            xscale="log",
            yscale="log",
            xticks=DIMENSIONS,
            xticklabels=[str(d) for d in DIMENSIONS],
            xlim=(0.9, 170),
            xlabel="dimensions",
            ylabel="negatives for each row of data",
            title="Where there is more space, more of it must be pushed up",
        )
        ax.minorticks_off()
    return figure


if __name__ == "__main__":
    numbers = prices()
    draw(numbers).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    finite = {name: [k if math.isfinite(k) else None for k in each] for name, each in numbers.items()}
    written = {"dimensions": list(DIMENSIONS), "negatives": finite}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")

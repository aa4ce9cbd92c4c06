"""VICReg term by term: what each of its three terms forbids.

    invariance    two views of a point have one code          alone: every point has the same code
    variance      each dimension of the code varies           with it: both dimensions say the same
    covariance    no two dimensions vary together             with it: the code uses the plane

One network, from points of a spiral in three dimensions to codes of two, learned with one, two and three
terms; a view is a point with noise. Above, codes of points that were not learned from, colored by where on
the spiral they lie, with the verdict of the meter. Below, the three terms at every step, those that are not
learned dashed.

Reference: Bardes, Ponce, LeCun (2021), "VICReg", eq. 1 to 6.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from ebm.history import History
from ebm.joint import OnCodes, OnViews, SquaredDistance, VICReg
from ebm.measure import CodeReport, code_report
from ebm.nets import mlp
from ebm.show import style
from ebm.show.style import BLUE, GREEN, ORANGE
from ebm.train import fit
from ebm.views import GaussianNoise, Views

ALT = (
    "Codes learned by one, two and three terms of VICReg: invariance alone gives a point, with variance they "
    "lie on a line, with covariance they fill the plane; below, the three terms over the steps of training."
)
ROWS, STEPS, NOISE, MEAN = 2000, 600, 0.2, 20
COLORS = {"invariance": BLUE, "variance": ORANGE, "covariance": GREEN}
CASES = {
    "Invariance": {"variance": 0.0, "covariance": 0.0},
    "... and variance": {"covariance": 0.0},
    "... and covariance": {},
}


class Learned(NamedTuple):
    """Codes of unseen points, (N, 2), their report, and the terms at every step."""

    codes: Tensor
    report: CodeReport
    history: History


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def spiral(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points (N, 3), and where on the spiral they lie, (N,) from 0 to 1."""
    t = torch.rand(rows, generator=seeded(seed))
    angle = 9 * t
    return torch.stack([angle.cos() * (0.3 + t), angle.sin() * (0.3 + t), 2 * t - 1], 1), t


def learned(without: dict[str, float]) -> Learned:
    """The network after training with these terms."""
    f = mlp(3, 64, 64, 2, generator=seeded(1))
    energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))
    noisy = GaussianNoise(NOISE)
    history = fit(
        energy,
        OnViews(OnCodes(VICReg(**without), "s_x", "s_y"), Views(noisy, noisy)),
        {"image": spiral(ROWS, 0)[0]},
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        steps=STEPS,
        batch_size=256,
        generator=seeded(2),
        progress=False,
    )
    with torch.no_grad():
        codes = f(spiral(500, 3)[0])
    return Learned(codes, code_report(codes, scale=1.0, few=1.2), history)


def terms(ax: Axes, history: History, without: dict[str, float]) -> None:
    """The three terms over the steps, means over 20 of them."""
    for name, color in COLORS.items():
        column = next(c for c in history.columns if c.endswith(f" {name}"))
        ends = "--" if name in without else "-"
        means = history.column(column).unfold(0, MEAN, 1).mean(1)
        steps = range(MEAN, MEAN + len(means))
        ax.plot(steps, means, ends, color=color, label=name, linewidth=1.6)
    ax.set(yscale="log", xlabel="step", xlim=(0, STEPS), ylim=(1e-4, 20))


def draw(found: dict[str, Learned] | None = None) -> Figure:
    """The figure."""
    found = {name: learned(without) for name, without in CASES.items()} if found is None else found
    where = spiral(500, 3)[1]
    with style():
        figure = Figure(figsize=(11.0, 6.4))
        panels = figure.subplots(2, 3, height_ratios=(1.35, 1.0))
        for (above, below), (name, each) in zip(panels.T, found.items(), strict=True):
            dots = above.scatter(*each.codes.T, c=where, s=8, cmap="cividis")
            above.set(title=name, xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), aspect="equal", xlabel="$s_1$")
            words = f"{each.report.verdict}\nstd {each.report.std:.2f}"
            words += f", {each.report.directions:.2f} directions" if each.report.std > 0.1 else ""
            above.text(0.03, 0.97, words, transform=above.transAxes, va="top")
            terms(below, each.history, CASES[name])
            below.sharey(panels[1, 0])
        panels[0, 0].set_ylabel("$s_2$")
        panels[1, 0].set_ylabel("term")
        panels[1, 0].legend(loc="lower left")
        figure.colorbar(dots, ax=panels[0, :], label="place on the spiral", shrink=0.8)
    return figure


if __name__ == "__main__":
    made = {name: learned(without) for name, without in CASES.items()}
    draw(made).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {
        name: {
            "codes": each.report.numbers(),
            "last step": {c: float(each.history.column(c)[-1]) for c in each.history.columns},
        }
        for name, each in made.items()
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

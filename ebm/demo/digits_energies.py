"""Part two, the energies: how they change while learned, and what they tell of digits and of other things."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm.data import LabeledImages
from ebm.demo.drawing import show_image
from ebm.demo.part import Part, Picture
from ebm.energy import Energy
from ebm.measure.collapse import BOX, SHUFFLED, CollapseReport
from ebm.measure.off_data import in_box, shuffled
from ebm.show import energy_histogram
from ebm.show.style import BLUE, GRAY, VERMILION

COLORS = (GRAY, BLUE, VERMILION)  # of the three ways, in every picture


@dataclass(frozen=True)
class Watched:
    """The mean energy of test digits and of noise at some steps of the training."""

    steps: list[int]
    digits: list[float]
    noise: list[float]


def show_learning(part: Part, watched: Mapping[str, Watched]) -> None:
    """The energies of digits and of noise during training, one panel a way."""
    part.numbers["energies while learning"] = {name: vars(each) for name, each in watched.items()}

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(watched), sharey=True)
        for axes, (name, each), color in zip(panels, watched.items(), COLORS, strict=True):
            axes.fill_between(each.steps, each.digits, each.noise, color=color, alpha=0.15, linewidth=0)
            axes.plot(each.steps, each.noise, color=color, linestyle=(0, (4, 2)), label="noise")
            axes.plot(each.steps, each.digits, color=color, label="test digits")
            last = each.steps[-1]
            axes.set(title=name, xlabel="training step", ylim=(0, None), xlim=(0, last))
            axes.set_xticks([0, last // 2, last])
            axes.legend(loc="upper right")
        panels[0].set_ylabel("mean energy")

    caption = (
        "The energy of test digits (solid) and of noise, pixels drawn at random (dashed), while the "
        "network learns. Left, both go down and meet at zero. In the middle and on the right a gap opens "
        "between them and stays: this gap is what an energy is for."
    )
    alt = "Three panels of two falling curves each; on the left both reach zero, in the others a gap remains."
    part.add(draw, (10.4, 3.7), Picture("digits-learning.png", "While it learns", caption, alt))


def show_histograms(part: Part, energies: Mapping[str, Energy], test: Tensor, swapped: Tensor) -> None:
    """The energies of digits and of what is not a digit."""
    g = part.generator()
    sets = {
        "test digits": test,
        "halves of two digits": swapped,
        "shuffled pixels": shuffled(test, 1000, g),
        "noise": in_box(test, 1000, g),
    }
    with torch.no_grad():
        values = {n: {s: energy(y=points) for s, points in sets.items()} for n, energy in energies.items()}
    most = max(float(v.quantile(0.995)) for each in values.values() for v in each.values())

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(values), 1, sharex=True)
        for axes, (name, each) in zip(panels, values.items(), strict=True):
            others = {kind: value for kind, value in each.items() if kind != "test digits"}
            energy_histogram(each["test digits"], others, axes, name="test digits", bins=90, ceiling=most)
            axes.set(title=name, xlabel="", ylabel="", xlim=(0, most))
        panels[-1].set_xlabel("energy")
        figure.supylabel("% of pictures", fontsize=11)

    caption = (
        "The energies of digits that were not used for training, and of pictures that are not digits: "
        "noise; digits whose pixels each come from another digit; upper half of one digit on lower half "
        "of another. On top everything has about the same energy. Below, digits have the lowest energy, "
        "and the worse a picture is the higher it lies. All three panels have the same scale."
    )
    alt = "Histograms of energy: one narrow spike for the collapsed energy, separate humps for the other two."
    part.add(draw, (10.4, 6.4), Picture("digits-histograms.png", "Digits and other pictures", caption, alt))


def add_reports(part: Part, reports: Mapping[str, CollapseReport]) -> None:
    """The collapse reports as a table."""
    header = ("", "digits", "noise", "gap", "odds", "shuffled pixels", "halves of two", "AUROC", "verdict")
    rows = []
    for name, report in reports.items():
        box, swapped = report.off_data[BOX], report.off_data["halves of two digits"]
        odds = math.exp(min(box.gap, 50.0))
        rows.append(
            (
                name,
                f"{report.mean:.3f}",
                f"{box.mean:.3f}",
                f"{box.gap:.2f}",
                f"{odds:.1f} : 1" if odds < 10 else f"{odds:.0f} : 1",
                f"{report.off_data[SHUFFLED].mean:.3f}",
                f"{swapped.mean:.3f}",
                f"{swapped.auroc:.2f}",
                report.verdict,
            )
        )
    caption = (
        "Mean energies of digits and of other pictures. If p ∝ exp(−E), the gap makes a digit so much "
        "more probable than noise (odds). AUROC: how often a picture made of halves of two digits has "
        "more energy than a digit; 0.5 would be guessing. A collapsed energy can still rank pictures a "
        "little, as there are remains of slope left, but the slope is worth next to nothing."
    )
    part.add_table("The collapse report", caption, header, rows)


def show_path(part: Part, energies: Mapping[str, Energy], test: LabeledImages) -> None:
    """The energy on the way from a digit to another one and on to noise, row of pixels by row of pixels."""
    g = part.generator()
    order = torch.randperm(len(test.images), generator=g)
    start, middle = test.images, test.images[order]
    other = test.labels != test.labels[order]
    start, middle = start[other], middle[other]
    end = in_box(test.images, len(start), g)
    t = torch.linspace(0, 2, 17)  # whole rows
    with torch.no_grad():
        way = [between(start, middle, end, float(x)) for x in t]
        means = {name: [float(energy(y=y).mean()) for y in way] for name, energy in energies.items()}
    part.numbers["energy along digit, digit, noise"] = {"pairs": len(start), "t": t.tolist(), **means}
    shown = int((test.labels[other] == 3).nonzero()[2])

    def draw(figure: Figure) -> None:
        axes, strip = figure.subplots(2, 1, height_ratios=(3.4, 1.0))
        for (name, values), color in zip(means.items(), COLORS, strict=True):
            axes.plot(t, values, marker="o", markersize=4, color=color, label=name)
        axes.set(ylabel="mean energy", xlim=(0, 2), ylim=(0, None), xticks=[0, 0.5, 1, 1.5, 2])
        axes.set_xticklabels(["a digit", "half and half", "another digit", "half noise", "noise"])
        axes.legend(loc="upper left")
        strip.axis("off")
        for x in np.linspace(0, 2, 9):
            inset = strip.inset_axes((float(x) / 2 - 0.045, 0.0, 0.09, 1.0))
            row = slice(shown, shown + 1)
            show_image(inset, between(start[row], middle[row], end[row], float(x))[0], ink=True)

    caption = (
        "A digit turns into a different digit, and this into noise, one row of pixels after the other; "
        f"the mean over {len(start)} such journeys, and the pictures on one of them. A good energy is a "
        "landscape with digits in the valleys: between two digits there is a hill, where the picture is "
        "half of one and half of the other, and noise lies high up. The collapsed energy is a plain."
    )
    alt = "Energy along a path: two curves rise between digits and towards noise, one stays near zero."
    part.add(draw, (10.4, 5.2), Picture("digits-path.png", "A walk through the landscape", caption, alt))


def between(start: Tensor, middle: Tensor, end: Tensor, t: float) -> Tensor:
    """At t in [0, 1] a picture whose upper share t has become middle; at t in [1, 2], on to end likewise."""
    first, second, share = (start, middle, t) if t <= 1 else (middle, end, t - 1)
    rows = start.shape[1]
    done = (rows * share - torch.arange(rows, dtype=start.dtype)).clamp(0, 1).unsqueeze(1)  # (H, 1)
    return torch.lerp(first, second, done.expand_as(first))

"""Part two, inference: the hidden half of a digit is whatever makes the energy of the whole picture small.

hidden* = argmin E(y = (visible, hidden)) over pixels in [0, 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm.data import LabeledImages
from ebm.demo.drawing import show_image
from ebm.demo.part import Part, Picture
from ebm.energy import Energy
from ebm.infer import ProximalGradient, minimize
from ebm.regularizers import Box
from ebm.solution import Solution

HALF = 4  # rows of pixels that are seen
SEEN_AS = 0.35  # gray level for what is hidden


def join(visible: Tensor, hidden: Tensor) -> Tensor:
    """The upper and the lower half of pictures, (B, 4, 8) each, as pictures."""
    return torch.cat([visible, hidden], 1)


def complete(energy: Energy, visible: Tensor, start: Tensor, trace: bool = False) -> Solution:
    """The lower halves that go best with the upper ones, from a start."""
    joint = energy.compose(y=(join, "visible", "hidden")) + Box("hidden", 0.0, 1.0)
    method = ProximalGradient(step_size=0.5)  # a step downhill, then back into the box
    given = {"visible": visible}
    return minimize(joint, {"hidden": start}, method, given=given, max_steps=150, tol=1e-2, trace=trace)


def show_completions(
    part: Part, energies: Mapping[str, Energy], train: LabeledImages, test: LabeledImages
) -> None:
    """Complete all test digits with every energy, and show one of each class beside the truth."""
    visible, truth = test.images[:, :HALF], test.images[:, HALF:]
    start = torch.rand(truth.shape, generator=part.generator())
    nearest = torch.cdist(visible.flatten(1), train.images[:, :HALF].flatten(1)).argmin(1)
    completed: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, float]] = {}
    for name, energy in energies.items():
        solution = complete(energy, visible, start)
        completed[name] = cast(dict[str, Tensor], solution.value)["hidden"]
        numbers[name] = {"converged": float(solution.converged.double().mean())}
    baselines = {
        "nearest neighbor": train.images[nearest, HALF:],
        "mean picture": train.images[:, HALF:].mean(0).expand_as(truth),
        "the start: noise": start,
    }
    for name, lower in {**completed, **baselines, "the truth": truth}.items():
        numbers.setdefault(name, {}).update(quality(join(visible, lower), truth, train, test))
    part.numbers["completions of the lower half"] = numbers

    first = [int((test.labels == label).nonzero()[0]) for label in range(10)]
    hidden = torch.full_like(truth, SEEN_AS)
    rows = {"seen": hidden, **completed, "nearest neighbor": baselines["nearest neighbor"], "truth": truth}

    def draw(figure: Figure) -> None:
        shown = {name: join(visible, lower)[first] for name, lower in rows.items()}
        grid = figure.subplots(len(shown), len(first))
        for axes_row, (name, images) in zip(grid, shown.items(), strict=True):
            for axes, image in zip(axes_row, images, strict=True):
                show_image(axes, image, ink=True)
            axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)

    caption = (
        "The upper half of ten test digits, the first of each class, and the lower half found by letting "
        "the hidden pixels roll downhill in each of the three energies, all from the same noise, by the "
        "same method. The collapsed energy has hardly a slope to roll down, and leaves noise. The two "
        "others complete digits. Some upper halves allow for several digits, and the answer need not be "
        "the one that was written."
    )
    alt = "A grid of digits: upper halves, three completions, the nearest neighbor's half, the truth."
    part.add(draw, (10.4, 5.9), Picture("digits-completed.png", "Half a digit, completed", caption, alt))
    text = [
        (name, f"{n['error']:.3f}", f"{100 * n['same class']:.0f} %", _percent(n.get("converged")))
        for name, n in numbers.items()
    ]
    explanation = (
        "All 360 test digits. Error: root mean square over hidden pixels, which range from 0 to 1. "
        "Recognized: how often the training digit nearest to the completed picture is of the true class. "
        "The nearest neighbor copies the lower half of the training digit with the most similar upper "
        "half."
    )
    header = ("", "error", "recognized", "solves converged")
    part.add_table("How good the completions are", explanation, header, text)


def quality(completed: Tensor, truth: Tensor, train: LabeledImages, test: LabeledImages) -> dict[str, float]:
    """Error on the hidden pixels, and how often the nearest training digit is of the right class."""
    nearest = torch.cdist(completed.flatten(1), train.images.flatten(1)).argmin(1)
    return {
        "error": float((completed[:, HALF:] - truth).square().mean().sqrt()),
        "same class": float((train.labels[nearest] == test.labels).double().mean()),
    }


def show_descent(part: Part, energy: Energy, test: LabeledImages) -> None:
    """Some frames of the descent, with the energy under each."""
    first = [int((test.labels == label).nonzero()[1]) for label in (0, 2, 6)]
    visible = test.images[first, :HALF]
    start = torch.rand((len(first), 8 - HALF, 8), generator=part.generator())
    solution = complete(energy, visible, start, trace=True)
    trace = solution.trace
    if trace is None or isinstance(trace.value, Tensor):
        raise RuntimeError("a solve with trace=True over named variables returns a trace by name.")
    path = trace.value["hidden"]
    frames = [step for step in (0, 1, 2, 4, 8, 15, 30) if step < len(path) - 1] + [len(path) - 1]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(first), len(frames))
        for i, axes_row in enumerate(grid):
            for axes, step in zip(axes_row, frames, strict=True):
                show_image(axes, join(visible[i : i + 1], path[step, i : i + 1])[0], ink=True)
                axes.set_xlabel(f"E = {float(trace.energy[step, i]):.2f}", fontsize=10)
                if i == 0:
                    axes.set_title(f"step {step}", fontsize=10.5, loc="center")

    caption = (
        "The same inference step by step, in the contrastive energy: the upper half is given, the lower "
        "half starts as noise, and each step moves it downhill. Nothing here was trained to complete "
        "lower halves; the energy is asked a question, and minimizing it answers."
    )
    alt = "Three rows of frames: the lower half of a digit turns from noise into strokes as the energy falls."
    part.add(draw, (10.4, 4.1), Picture("digits-descent.png", "Rolling downhill", caption, alt))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"

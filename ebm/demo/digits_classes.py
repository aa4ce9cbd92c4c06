"""Part two, classes: one energy of a picture and a label tells the class, and draws what a class lacks.

    label*  = argmin E(image, label)            over the ten labels, each tried
    hidden* = argmin E((visible, hidden), label)    over pixels in [0, 1], for a given label

The label is two more rows of the picture, one of ten pixels lit. The loss spoils both: a digit with noise and
a part of another digit in it, or beside the label of another one, has a high energy.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from ebm.choices import Choices
from ebm.contrastive import AutoEncoder, BlockSwap, Corruption, Denoising, Gaussian
from ebm.data import LabeledImages
from ebm.demo.digits_completed import HALF, SEEN_AS, join
from ebm.demo.drawing import show_image
from ebm.demo.part import Part, Picture
from ebm.energy import Energy
from ebm.infer import Enumerate, ProximalGradient, minimize
from ebm.nets import mlp
from ebm.regularizers import Box
from ebm.rows import expand
from ebm.show.style import VERMILION
from ebm.solution import one_tensor
from ebm.train import fit

CLASSES, CODE, WIDTH = 10, 64, 256


def card(image: Tensor, label: Tensor) -> Tensor:
    """A picture (B, 8, 8) and below it two rows with the label, int64, (B,), as one lit pixel: (B, 10, 8)."""
    lit = pad(one_hot(label, CLASSES).to(image), (0, 16 - CLASSES)).view(-1, 2, 8)
    return torch.cat([image, lit], 1)


class OtherLabel(Corruption):
    """Half of the cards get the label of another card."""

    def __call__(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        other = torch.cat([y[:, :8], y[torch.randperm(len(y), generator=generator), 8:]], 1)
        return torch.where(expand(torch.rand(len(y), generator=generator) < 0.5, y), other, y)


def labeled_energy(part: Part, train: LabeledImages, steps: int) -> Energy:
    """E(image, label), learned by contrast."""
    g = part.generator()
    encoder = nn.Sequential(nn.Flatten(), mlp(80, WIDTH, CODE, generator=g))
    decoder = nn.Sequential(mlp(CODE, WIDTH, 80, generator=g), nn.Unflatten(1, (10, 8)))
    energy = AutoEncoder(nn.Sequential(encoder, nn.RMSNorm(CODE, elementwise_affine=False), decoder))
    spoil = OtherLabel().then(BlockSwap(0.5, smallest=3, largest=8)).then(Gaussian(0.3, lowest=0.0))
    history = fit(
        energy,
        Denoising(spoil),
        card(train.images, train.labels),
        optimizer=partial(torch.optim.Adam, lr=2e-3),
        schedule=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        steps=steps,
        batch_size=64,
        generator=g,
        progress="    with labels",
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return energy.requires_grad_(False).compose(y=(card, "image", "label"))


def classify(energy: Energy, images: Tensor) -> Tensor:
    """The labels that go best with pictures, (B,)."""
    start = Choices(torch.zeros(len(images), dtype=torch.int64), n=CLASSES)
    return one_tensor(minimize(energy, start, Enumerate(), given={"image": images}, max_steps=1).value)


def fill_in(energy: Energy, visible: Tensor, label: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The lower halves that go best with upper ones and labels, (B, 4, 8), and the energies there, (B,)."""
    joint = energy.compose(image=(join, "visible", "hidden")) + Box("hidden", 0.0, 1.0)
    given = {"visible": visible, "label": label}
    found = minimize(joint, {"hidden": start}, ProximalGradient(0.5), given=given, max_steps=100, tol=1e-2)
    return cast(dict[str, Tensor], found.value)["hidden"], found.energy


def show_classes(part: Part, train: LabeledImages, test: LabeledImages, steps: int) -> None:
    """Learn the energy, classify all test digits, and complete some halves as each of the ten digits."""
    energy = labeled_energy(part, train, steps)
    whole = float((classify(energy, test.images) == test.labels).double().mean())
    first = torch.tensor([int((test.labels == label).nonzero()[2]) for label in (0, 3, 6, 7)])
    visible = test.images[:, :HALF].repeat_interleave(CLASSES, 0)
    labels = torch.arange(CLASSES).repeat(len(test.images))
    start = train.images[:, HALF:].mean(0).expand(len(visible), -1, -1)
    lower, energies = fill_in(energy, visible, labels, start.clone())
    best = energies.view(-1, CLASSES).argmin(1)
    half = float((best == test.labels).double().mean())
    drawn = join(visible, lower)
    asked = float((classify(energy, drawn) == labels).double().mean())
    part.numbers["classes by minimization"] = {
        "of whole digits": whole,
        "of upper halves": half,
        "completions taken for the class asked for": asked,
    }
    images = drawn.view(-1, CLASSES, 8, 8)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(first), CLASSES + 1)
        for axes_row, row in zip(grid, first.tolist(), strict=True):
            unseen = torch.full((1, 8 - HALF, 8), SEEN_AS)
            show_image(axes_row[0], join(test.images[row : row + 1, :HALF], unseen)[0], ink=True)
            for label, axes in enumerate(axes_row[1:]):
                show_image(axes, images[row, label], ink=True)
                axes.set_xlabel(f"{float(energies.view(-1, CLASSES)[row, label]):.1f}", fontsize=10)
                if label == int(best[row]):
                    axes.add_patch(
                        Rectangle((0, 0), 1, 1, fill=False, lw=3, color=VERMILION, transform=axes.transAxes)
                    )
        for axes, title in zip(grid[0], ("seen", *map(str, range(CLASSES))), strict=True):
            axes.set_title(title if title == "seen" else f"as a {title}", fontsize=10.5, loc="center")

    caption = (
        "An energy E(image, label) learned by contrast: the label is spoilt, too. A row gives an upper half "
        "and, column by column, a label; the lower half rolls downhill, and below stands the energy that is "
        "reached. The label with the lowest energy is framed. Asked with the whole picture, the label of "
        f"lowest energy is the right one for {100 * whole:.0f} % of the test digits; with the upper half "
        f"alone, for {100 * half:.0f} %. One energy answers either question; only what is given changes."
    )
    alt = "Four upper halves, each completed as each of the ten digits, with energies; the lowest is framed."
    part.add(draw, (10.4, 4.9), Picture("digits-classes.png", "A class, or what it lacks", caption, alt))

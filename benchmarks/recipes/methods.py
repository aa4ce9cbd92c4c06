"""The methods that `representations` compares: one trunk f, and what each of them puts on it.

    VICReg, SIGReg, Barlow Twins, SimCLR    a criterion on expanded codes z = g(f(·)) of two views
    BYOL, SimSiam, DINO                     an energy of two views, one of which is a target
    supervised                              E(x, label) = -log p(label | f(x)), with views of x

Every head has the same hidden width, every method the same views, optimizer, batch and steps; settings of a
method's own are the published ones but where a short training asks for others (the decay of slow targets, the
temperature of SimCLR, smaller heads).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from ebm import Energy
from ebm.joint import (
    BYOL,
    DINO,
    EMA,
    BarlowTwins,
    Criterion,
    DINOHead,
    NTXent,
    OnCodes,
    OnViews,
    SIGReg,
    SimSiam,
    SquaredDistance,
    VICReg,
    cosine,
    update_targets,
)
from ebm.loss import AverageEnergy, Loss
from ebm.nets import byol_head, convnet, expander, simsiam_predictor, simsiam_projector
from ebm.nets.layers import linear
from ebm.train import Callback
from ebm.views import Views

CODE, HIDDEN = 128, 512  # numbers in a code, width of every head
DECAY = cosine(0.99)  # of slow targets: 0.996 is the published start, for a hundred times as many steps


@dataclass(frozen=True)
class Method:
    """A trunk in an energy, with the loss that shapes it.

    Attributes:
        trunk: f, from images (N, 1, H, W) to codes (N, 128).
        energy, loss: what `fit` takes.
        of: the names of the data that it learns from.
        callbacks: e.g. those that move a target.
    """

    trunk: nn.Module
    energy: Energy
    loss: Loss
    of: tuple[str, ...] = ("image",)
    callbacks: Sequence[Callback] = ()


Make = Callable[[nn.Module, Views, int, Generator], Method]  # of trunk, views, steps and a source of weights


class Classifier(Energy):
    """E(x, label) = -log p(label | x), the softmax of a linear layer on codes."""

    def __init__(self, trunk: nn.Module, classes: int):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(CODE, classes)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return cross_entropy(self.head(self.trunk(x)), label, reduction="none")


def trunk_of(side: int, width: int, generator: Generator) -> nn.Module:
    """f for images of so many pixels a side: three convolutions, or two, and a linear layer on their maps.

    The mean over the maps, with which `convnet` goes on, would forget where a sleeve is.
    """
    stages = 3 if side > 16 else 2
    convolutions = convnet(1, CODE, width=width, stages=stages, generator=generator)[0]
    cells = math.ceil(side / 2**stages) ** 2
    maps = cells * width * 2 ** (stages - 1)
    return nn.Sequential(convolutions, nn.Flatten(), linear(maps, CODE, generator=generator))


def on_codes(criterion: Criterion, outputs: int) -> Make:
    """A method that is a criterion on expanded codes."""

    def make(trunk: nn.Module, views: Views, steps: int, generator: Generator) -> Method:
        f = nn.Sequential(trunk, expander(CODE, HIDDEN, outputs, generator=generator))
        energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))
        return Method(trunk, energy, OnViews(OnCodes(criterion, "s_x", "s_y"), views))

    return make


def byol(trunk: nn.Module, views: Views, steps: int, generator: Generator) -> Method:
    """BYOL with its target's decay from 0.99."""
    f = nn.Sequential(trunk, byol_head(CODE, hidden=HIDDEN, outputs=CODE, generator=generator))
    predictor = byol_head(CODE, hidden=HIDDEN, outputs=CODE, generator=generator)
    energy = BYOL(f, predictor, EMA(f, DECAY))
    moved = [update_targets(energy, steps)]
    return Method(trunk, energy, OnViews(AverageEnergy(), views), callbacks=moved)


def simsiam(trunk: nn.Module, views: Views, steps: int, generator: Generator) -> Method:
    """SimSiam."""
    f = nn.Sequential(trunk, simsiam_projector(CODE, outputs=HIDDEN, hidden=HIDDEN, generator=generator))
    energy = SimSiam(f, simsiam_predictor(HIDDEN, hidden=HIDDEN // 4, generator=generator))
    return Method(trunk, energy, OnViews(AverageEnergy(), views))


def dino(trunk: nn.Module, views: Views, steps: int, generator: Generator) -> Method:
    """DINO with two global views, 512 categories, and its teacher's decay from 0.99."""
    f = nn.Sequential(trunk, DINOHead(CODE, HIDDEN, hidden=HIDDEN, bottleneck=CODE, generator=generator))
    energy = DINO(f, HIDDEN, EMA(f, DECAY))
    moved = [update_targets(energy, steps)]
    return Method(trunk, energy, OnViews(AverageEnergy(), views), callbacks=moved)


def supervised(trunk: nn.Module, views: Views, steps: int, generator: Generator) -> Method:
    """The labels' cross entropy, on one view of each image."""
    loss = OnViews(AverageEnergy(), Views(views.transforms[0]), names=("x",))
    return Method(trunk, Classifier(trunk, classes=10), loss, of=("image", "label"))


METHODS: dict[str, Make] = {
    "VICReg": on_codes(VICReg(), HIDDEN),
    "SIGReg": on_codes(SIGReg(slices=256), 64),
    "Barlow Twins": on_codes(BarlowTwins(), HIDDEN),
    "SimCLR": on_codes(NTXent(temperature=0.2), CODE),
    "BYOL": byol,
    "SimSiam": simsiam,
    "DINO": dino,
    "supervised": supervised,
}

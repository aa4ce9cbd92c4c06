"""Pretraining by VICReg, images a second: `fit` beside a plain loop in torch.

A ResNet-18 with the small stem and an eighth of its width, generated color images of 32 x 32, SimCLR's views
for CIFAR-10, SGD, one thread, float32. Both sides have the same networks, views, criterion, batches and
number of steps; the loop keeps nothing but the loss. What `fit` does beside that: it writes down every term,
the norm of the gradient and the energy of the pairs, and looks whether all are finite. The loss of the last
step has to be the same on both sides. (So the loop can't have a VICReg of its own: at the start of a training
a difference in the last digit grows to one of a percent within ten steps.)
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.case import Answers, Case
from benchmarks.recipes.generated import striped_images
from ebm.joint import OnCodes, OnViews, SquaredDistance, VICReg
from ebm.nets import expander, resnet18
from ebm.train import fit
from ebm.views import simclr_views

WIDTH, HIDDEN, OUTPUTS = 8, 256, 256
SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-4)
VIEWS = simclr_views(32, strength=0.5, blur=False)
ROUNDING = 1e-6  # of the last loss


class Trained(NamedTuple):
    """The loss of the last step, and how many images a second were seen."""

    loss: float
    speed: float


def setup(steps: int, batch: int) -> Tensor:
    return striped_images(steps * batch).images


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    encoder = resnet18(stem="cifar", width=WIDTH, generator=generator)
    return nn.Sequential(encoder, expander(8 * WIDTH, HIDDEN, OUTPUTS, generator=generator))


def ours(images: Tensor, steps: int) -> Trained:
    start, net = time.perf_counter(), network()
    history = fit(
        SquaredDistance().compose(s_x=(net, "x"), s_y=(net, "y")),
        OnViews(OnCodes(VICReg(), "s_x", "s_y"), VIEWS),
        {"image": images},
        optimizer=SGD,
        steps=steps,
        batch_size=len(images) // steps,
        generator=torch.Generator().manual_seed(2),
        progress=False,
    )
    return Trained(history.rows[-1]["loss"], len(images) / (time.perf_counter() - start))


def theirs(images: Tensor, peer: None, steps: int) -> Trained:
    start, net, criterion = time.perf_counter(), network(), VICReg()
    generator = torch.Generator().manual_seed(2)
    optimizer, loss = SGD(net.parameters()), 0.0
    for batch in torch.randperm(len(images), generator=generator).chunk(steps):
        (x, _), (y, _) = VIEWS(images[batch], generator)
        value = criterion(net(x), net(y)).loss
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        loss = value.item()
    return Trained(loss, len(images) / (time.perf_counter() - start))


def check(images: Tensor, trained: Trained) -> Answers:
    return {"images per second": trained.speed, "last loss": trained.loss}


def apart(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["last loss"], theirs["last loss"]
    same = math.isclose(mine, other, rel_tol=ROUNDING)
    return "" if same else f"the last losses are {mine:.6g} and {other:.6g}: these are two trainings"


CASES = [
    Case(
        f"{steps} steps of {batch} images, against a plain loop",
        partial(ours, steps=steps),
        partial(theirs, steps=steps),
        partial(setup, steps, batch),
        check,
        apart,
        unit="cpu s",
        at_least=0.95,
    )
    for steps, batch in ((12, 64), (4, 256))
]

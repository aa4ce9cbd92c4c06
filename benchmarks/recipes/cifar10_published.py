"""The published trainings on CIFAR-10 in the terms of this package: networks, criterion, views, rate.

What the weights of EB-JEPA (arXiv 2602.03604 and its public code) are here:

    VICReg   its loss is s + 1 (v + v') + 100 (c̃ + c̃') with c̃ = Σ_{i≠j} Cov_ij² / D(D-1). Ours has the mean
             of v and v', and c = Σ_{i≠j} Cov_ij² / D, so it is VICReg(1, 2, 100 / (D - 1)), D = 1024.
    SIGReg   its loss is s + 10 S with s = ⟨(z - z')²⟩. Ours is (1 - w) s / 4 + w S, as it measures distances
             to the mean of both views: w = 10/14, and 14 times that. S has 10 knots on [-3, 3], no factor N,
             and 256 directions for each step, D = 128.

Where this differs: the first convolution keeps 32 x 32 pixels (there 34 x 34, by a padding of 2); the
projector's last layer has no bias; the rate rises step by step (there epoch by epoch, the first one at the
full rate); criteria are computed in float32 (there partly in bfloat16).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from benchmarks.recipes.command import option
from ebm.joint import EppsPulley, OnCodes, SIGReg, VICReg
from ebm.loss import Loss
from ebm.nets import expander, resnet18
from ebm.views import (
    ColorJitter,
    Compose,
    Grayscale,
    HorizontalFlip,
    Maybe,
    RandomResizedCrop,
    Solarize,
    Views,
)

OUTPUTS = {"vicreg": 1024, "sigreg": 128}  # D, width of what the criterion sees
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of the channels, as widely used
COVARIANCE, NORMALITY = 100.0, 10.0


@dataclass(frozen=True)
class Settings:
    """One training; every setting is an option of the command line.

    Raises:
        ValueError: if a number is out of its range.
    """

    method: Literal["vicreg", "sigreg"] = option("vicreg", "the criterion", choices=["vicreg", "sigreg"])
    epochs: int = option(300, "how often every image is seen")
    warmup_epochs: int = option(10, "of these, epochs in which the learning rate rises")
    batch_size: int = option(256, "images in a batch, over all processes")
    lr: float = option(0.3, "greatest learning rate of LARS")
    momentum: float = option(0.9, "of LARS")
    weight_decay: float = option(1e-4, "of LARS")
    eta: float = option(0.02, "trust coefficient of LARS")
    width: int = option(64, "channels of the network's first stage; codes are 8 times as wide")
    hidden: int = option(2048, "width of the projector's two hidden layers")
    outputs: int | None = option(None, "width of its output (1024 for vicreg, 128 for sigreg)", type=int)
    half: bool = option(True, "bfloat16 for the network's layers")
    compile: bool | None = option(None, "torch.compile of the network (where CUDA is)", type=bool)
    device: str = option("", "cuda or cpu (cuda where it is)")
    seed: int = option(0, "of weights, batches and views")
    look_every: int = option(10, "epochs from one look at the codes to the next")
    save_every: float = option(5.0, "minutes from one checkpoint to the next")
    data: str = option("", "folder of the data (cifar-10 in $EBM_DATA or in the user's cache)")
    folder: str = option("", "where checkpoint and history go (runs/cifar10_METHOD in the user's cache)")
    smoke: bool = option(False, "try everything out on generated images, small, on the CPU; no result")

    def __post_init__(self) -> None:
        if not 1 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"the rate rises for 1 epoch or more, then it falls: --warmup-epochs is at least 1 and less "
                f"than --epochs; got {self.warmup_epochs} and {self.epochs}."
            )
        if self.look_every < 1:
            raise ValueError(f"--look-every is a number of epochs, 1 or more; got {self.look_every}.")

    def small(self) -> Settings:
        """The same on a scale that takes seconds."""
        return replace(
            self,
            epochs=2,
            warmup_epochs=1,
            batch_size=48,
            width=2,
            hidden=32,
            outputs=16,
            look_every=2,
            device="cpu",
            compile=False,
        )


class Standardize(nn.Module):
    """(x - mean) / std of each channel; views want values in [0, 1], networks don't."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def networks(settings: Settings) -> tuple[nn.Module, nn.Module]:
    """The encoder, images (B, 3, 32, 32) -> codes (B, 8 width), and encoder and projector in a row."""
    generator = torch.Generator().manual_seed(settings.seed)
    encoder = nn.Sequential(Standardize(), resnet18(stem="cifar", width=settings.width, generator=generator))
    sizes = 8 * settings.width, settings.hidden, settings.hidden, outputs_of(settings)
    return encoder, nn.Sequential(encoder, expander(*sizes, generator=generator))


def outputs_of(settings: Settings) -> int:
    """D, the width of what the criterion sees."""
    return OUTPUTS[settings.method] if settings.outputs is None else settings.outputs


def criterion(method: Literal["vicreg", "sigreg"], outputs: int) -> Loss:
    """The published loss of projections "s_x" and "s_y", in our terms (see the top of this file)."""
    if method == "vicreg":
        return OnCodes(VICReg(1.0, 2.0, COVARIANCE / (outputs - 1)), "s_x", "s_y")
    scale = 4.0 + NORMALITY
    test = EppsPulley(10, 3.0, half_line=False, times_n=False)
    return scale * OnCodes(SIGReg(test, slices=256, weight=NORMALITY / scale), "s_x", "s_y")


def views() -> Views:
    """The published views: two, drawn alike."""
    colors = Maybe(0.8, ColorJitter(0.4, 0.4, 0.2, 0.1)), Maybe(0.2, Grayscale()), Maybe(0.1, Solarize())
    view = Compose(RandomResizedCrop(32, scale=(0.2, 1.0)), *colors, HorizontalFlip())
    return Views(view, view)


def rise_and_fall(optimizer: torch.optim.Optimizer, *, rise: int, steps: int) -> SequentialLR:
    """The rate rises from 1/10,000 of its value for some steps, and falls to 0 as a cosine."""
    first = LinearLR(optimizer, start_factor=1e-4, total_iters=rise)
    return SequentialLR(optimizer, [first, CosineAnnealingLR(optimizer, T_max=steps - rise)], [rise])

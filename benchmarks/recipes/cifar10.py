"""CIFAR-10 without labels: a ResNet-18 by VICReg or SIGReg, then a linear probe of its 512 numbers.

    python -m benchmarks.recipes.cifar10 --method sigreg            one GPU, hours; the same command goes on
    torchrun --nproc-per-node 4 -m benchmarks.recipes.cifar10       several
    python -m benchmarks.recipes.cifar10 --smoke                    seconds, on generated images: no result

The settings are those with which EB-JEPA reports 91.02 % (SIGReg) and 90.12 % (VICReg) after 300 epochs
(arXiv 2602.03604 and its public code). What its weights are here:

    VICReg   its loss is s + 1 (v + v') + 100 (c̃ + c̃') with c̃ = Σ_{i≠j} Cov_ij² / D(D-1). Ours has the mean
             of v and v', and c = Σ_{i≠j} Cov_ij² / D, so it is VICReg(1, 2, 100 / (D - 1)), D = 1024.
    SIGReg   its loss is s + 10 S with s = ⟨(z - z')²⟩. Ours is (1 - w) s / 4 + w S, as it measures distances
             to the mean of both views: w = 10/14, and 14 times that. S has 10 knots on [-3, 3], no factor N,
             and 256 directions for each step, D = 128.

Where this differs: the first convolution keeps 32 x 32 pixels (there 34 x 34, by a padding of 2); the
projector's last layer has no bias; the rate rises step by step (there epoch by epoch, the first one at the
full rate); criteria are computed in float32 (there partly in bfloat16); and the accuracy is that of logistic
regression on codes of unchanged images (there of a layer trained beside, on those of views).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from benchmarks.machine import commit, machine, versions
from benchmarks.recipes.command import joined, option, parse
from benchmarks.recipes.generated import striped_images
from ebm.callbacks import Callback
from ebm.checkpoint import Checkpoint
from ebm.data import LabeledImages, cifar10
from ebm.data.location import cache_folder
from ebm.history import History
from ebm.joint import EppsPulley, OnCodes, OnViews, SIGReg, SquaredDistance, VICReg
from ebm.loss import Loss
from ebm.measure import WatchCodes, WatchProbe, linear_probe
from ebm.measure.encoded import encoded
from ebm.nets import expander, resnet18
from ebm.processes import rank, world_size
from ebm.train import fit
from ebm.training import LARS
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

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
PUBLISHED = {"vicreg": 0.9012, "sigreg": 0.9102}  # accuracy after 300 epochs
OUTPUTS = {"vicreg": 1024, "sigreg": 128}  # D, width of what the criterion sees
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of the channels, as widely used
COVARIANCE, NORMALITY = 100.0, 10.0
WATCHED = 4096  # images whose codes are watched: several times as many as dimensions


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


def load(settings: Settings, device: torch.device) -> tuple[LabeledImages, LabeledImages]:
    """Training and test images with their labels, all on the device."""
    if settings.smoke:
        train, test = striped_images(192, seed=1), striped_images(96, seed=2)
    else:
        train, test = (
            cifar10(s, folder=settings.data or None, dtype=torch.float32) for s in ("train", "test")
        )
    train, test = (LabeledImages(*(tensor.to(device) for tensor in each)) for each in (train, test))
    return train, test


def train(
    settings: Settings,
    data: tuple[LabeledImages, LabeledImages],
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> tuple[nn.Module, History]:
    """Train, or go on with what the folder holds.

    Returns:
        The encoder and the history, which is in the folder, too.
    """
    images, device = data[0].images, data[0].images.device
    encoder, net = (each.to(device) for each in networks(settings))
    if settings.compile if settings.compile is not None else device.type == "cuda":
        net.compile()  # in its place: names of parameters stay what they are
    each_epoch = max(1, len(images) // settings.batch_size)
    steps, every = settings.epochs * each_epoch, settings.look_every * each_epoch
    history = fit(
        SquaredDistance().compose(s_x=(net, "x"), s_y=(net, "y")),
        OnViews(criterion(settings.method, outputs_of(settings)), views()),
        {"image": images},
        optimizer=partial(
            LARS,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            eta=settings.eta,
            clip=True,
        ),
        schedule=partial(rise_and_fall, rise=settings.warmup_epochs * each_epoch, steps=steps),
        steps=steps,
        batch_size=settings.batch_size,
        callbacks=[
            WatchCodes(encoder, images[:WATCHED], every=every, patience=3),
            WatchProbe(encoder, *data, every=every),
            *callbacks,
        ],
        generator=torch.Generator(device).manual_seed(settings.seed),
        progress=f"cifar10 {settings.method}",
        autocast=torch.bfloat16 if settings.half else None,
        checkpoint=Checkpoint(folder / "checkpoint", every=timedelta(minutes=settings.save_every)),
    )
    if rank() == 0:
        history.save(folder / "history.json")
    return encoder, history


def run(settings: Settings, callbacks: Sequence[Callback] = ()) -> dict[str, Any] | None:
    """Train, probe, and record, unless it is a smoke test.

    Args:
        settings: of the training.
        callbacks: further ones of `fit`; one that returns True ends this run, and the next one goes on.

    Returns:
        The record; None if the training was ended before its last step.
    """
    settings = settings.small() if settings.smoke else settings
    usual = cache_folder() / "runs" / f"cifar10_{settings.method}"
    chosen = settings.folder or ("" if settings.smoke else str(usual))
    place = nullcontext(chosen) if chosen else tempfile.TemporaryDirectory()
    with joined(settings.device) as device, place as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        data = load(settings, device)
        encoder, history = train(settings, data, Path(folder), callbacks)
        if history.interrupted:
            _say("The training was ended before its last step; the same command goes on with it.")
            return None
        pairs = [(encoded(encoder, images), labels) for images, labels in data]
        accuracy = linear_probe(pairs[0], pairs[1]).accuracy
        record = {**told(settings, device, history, len(data[0].images)), "accuracy": accuracy}
        _say(f"{record['recipe']}: a linear probe is right on {accuracy:.2%} of the test images")
        if settings.smoke:
            _say(
                "This was a smoke test, a tiny network on generated images: no result, and none was recorded."
            )
            return record
        record["published"] = PUBLISHED[settings.method]
        if rank() == 0:
            RESULTS.mkdir(parents=True, exist_ok=True)
            file = RESULTS / f"cifar10_{settings.method}.json"
            file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            _say(f"published: {record['published']:.2%}; recorded in {file}")
    return record


def told(settings: Settings, device: torch.device, history: History, rows: int) -> dict[str, Any]:
    """What a record says besides the accuracy."""
    looks = [{"step": step, **row} for step, row in enumerate(history.rows, 1) if "linear probe" in row]
    return {
        "recipe": f"CIFAR-10, {settings.method}" if not settings.smoke else "smoke test, generated images",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(ROOT),
        "settings": asdict(settings),
        "machine": machine(),
        "device": str(device),
        "processes": world_size(),
        "versions": versions(["ebm-lab", "torch", "numpy"]),
        "steps": len(history),
        "seconds": history.seconds,  # of the training, looks and checkpoints included, as in the next line
        "images_per_second": len(history) * min(settings.batch_size, rows) / history.seconds,
        "looks": looks,
    }


def _say(text: str) -> None:
    if rank() == 0:
        print(text)


if __name__ == "__main__":
    run(parse(Settings, "python -m benchmarks.recipes.cifar10", "ResNet-18 on CIFAR-10, without labels."))

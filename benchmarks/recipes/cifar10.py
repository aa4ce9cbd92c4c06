"""CIFAR-10 without labels: a ResNet-18 by VICReg or SIGReg, then a linear probe of its 512 numbers.

    python -m benchmarks.recipes.cifar10 --method sigreg            one GPU, hours; the same command goes on
    torchrun --nproc-per-node 4 -m benchmarks.recipes.cifar10       several
    python -m benchmarks.recipes.cifar10 --smoke                    seconds, on generated images: no result

The settings are those with which EB-JEPA reports 91.02 % (SIGReg) and 90.12 % (VICReg) after 300 epochs
(arXiv 2602.03604 and its public code); `cifar10_published.py` says what they are here, and where they differ.
The accuracy is that of logistic regression on codes of unchanged images (there of a layer trained beside, on
those of views).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.machine import commit, machine, versions
from benchmarks.recipes.cifar10_published import (
    Settings,
    criterion,
    networks,
    outputs_of,
    rise_and_fall,
    views,
)
from benchmarks.recipes.command import joined, parse
from benchmarks.recipes.generated import striped_images
from ebm.callbacks import Callback
from ebm.checkpoint import Checkpoint
from ebm.data import LabeledImages, cifar10
from ebm.data.location import cache_folder
from ebm.history import History
from ebm.joint import OnViews, SquaredDistance
from ebm.measure import WatchCodes, WatchProbe, linear_probe
from ebm.measure.encoded import encoded
from ebm.processes import rank, world_size
from ebm.train import fit
from ebm.training import LARS

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
PUBLISHED = {"vicreg": 0.9012, "sigreg": 0.9102}  # accuracy after 300 epochs
WATCHED = 4096  # images whose codes are watched: several times as many as dimensions


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

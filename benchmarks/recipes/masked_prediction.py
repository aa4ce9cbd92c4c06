"""Predicting codes or pixels of hidden patches: what probes read off small transformers that learned by it.

    images    Fashion-MNIST where it is found (`EBM_DATA`), otherwise the digits: I-JEPA beside MAE
    clips     digits that fly and bounce: V-JEPA beside MAE; probes of the digit and of its first direction

The JEPAs are learned twice: with `Spread` of their codes, and as published, with nothing but a slow target
against collapse. Beside all stand the same net untrained, and raw pixels (means of 2 x 2 x 2 in clips). All
methods of a kind cost the same: MAE's steps, which are cheaper, are as many as take the operations of the
JEPA's steps, forward and back. Codes are those of the encoder, their means over all patches. Every finished
row is written down, and a second run goes on from there.

Usage: `python -m benchmarks.recipes.masked_prediction`, about half an hour on one core.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.recipes.command import option, parse
from benchmarks.recipes.masked_methods import Averaged, Method, Nets, flops, jepa, mae
from benchmarks.recipes.record import FOLDER, save
from benchmarks.recipes.representations import data_sets
from ebm.data import moving_digits
from ebm.measure import code_report, knn_probe, linear_probe
from ebm.measure.encoded import encoded
from ebm.train import fit

JEPA = {"images": "I-JEPA", "clips": "V-JEPA"}
OWN = {
    "images": ("steps", "min_keep", "train_images"),
    "clips": ("clip_steps", "clip_batch", "clip_min_keep", "train_clips", "test_clips"),
}


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    steps: int = option(2000, "of I-JEPA")
    clip_steps: int = option(1000, "of V-JEPA")
    batch: int = option(32, "images of a step")
    clip_batch: int = option(32, "clips of a step")
    rate: float = option(2e-3, "greatest learning rate of AdamW, after a tenth of the steps")
    decay: float = option(0.05, "weight decay")
    target: float = option(0.99, "decay of the target at first; linear to 1")
    spread: float = option(1.0, "weight of `Spread`")
    min_keep: int = option(16, "patches that I-JEPA's context has to keep, fewer are too few")
    clip_min_keep: int = option(5, "places that V-JEPA's context has to keep, fewer are too few")
    width: int = option(64, "of a token")
    depth: int = option(2, "of the encoder")
    heads: int = option(4, "of attention")
    narrow: int = option(32, "width of the predictor")
    layers: int = option(1, "depth of the predictor")
    seed: int = option(0, "of weights, batches, masks and clips")
    train_images: int = option(20000, "how many to learn from; 0 for all")
    train_clips: int = option(4000, "how many to learn from")
    test_clips: int = option(2000, "how many to test on")
    threads: int = option(1, "of torch")
    kinds: tuple[str, ...] = option(tuple(JEPA), "which", type=str, nargs="+", choices=list(JEPA))
    results: str = option("", "the file to write; if empty, masked_prediction_DATA.json beside the others")


class Task(NamedTuple):
    """Data with what is to be read off it.

    Attributes:
        train, test: (N, 1, *size), standardized with the training pixels' mean and deviation.
        train_labels, test_labels: by the name of what is read off, (N,).
        nets: sizes of the networks for it.
        steps, batch: of the JEPA, and rows of a step.
    """

    train: Tensor
    test: Tensor
    train_labels: dict[str, Tensor]
    test_labels: dict[str, Tensor]
    nets: Nets
    steps: int
    batch: int


def image_task(arguments: Arguments) -> tuple[str, Task]:
    """The name of the images that there are, and the task of them."""
    name, train, test = data_sets()
    count = arguments.train_images or None
    side = train.images.shape[-1]
    nets = _nets((side, side), 4 if side > 8 else 2, arguments)
    labels = {"class": train.labels[:count]}
    return name, _task(
        train.images[:count],
        test.images,
        labels,
        {"class": test.labels},
        nets,
        arguments.steps,
        arguments.batch,
    )


def clip_task(arguments: Arguments) -> Task:
    """Flying digits; those of the test clips are not among those of the training clips."""
    generator = Generator().manual_seed(arguments.seed)
    counts = {"train": arguments.train_clips, "test": arguments.test_clips}
    train, test = (
        moving_digits(
            counts[split], split, frames=8, side=24, size=14, speed=(0.5, 1.25), generator=generator
        )
        for split in ("train", "test")
    )
    labels = [{"direction": part.directions[:, 0], "digit": part.labels[:, 0]} for part in (train, test)]
    nets = _nets(tuple(train.clips.shape[1:]), (2, 4), arguments)
    steps, batch = arguments.clip_steps, arguments.clip_batch
    return _task(train.clips[:, None], test.clips[:, None], *labels, nets, steps, batch)


def _task(train: Tensor, test: Tensor, *rest: Any) -> Task:
    mean, deviation = train.mean(), train.std()
    return Task((train - mean) / deviation, (test - mean) / deviation, *rest)


def _nets(size: tuple[int, ...], patch: int | tuple[int, int], a: Arguments) -> Nets:
    return Nets(size, patch, a.width, a.depth, a.heads, a.narrow, a.layers)


def methods(task: Task, arguments: Arguments) -> dict[str, tuple[Method, int, float]]:
    """By name: the method, its steps, and the operations that an image or clip of its training takes."""
    kind, nets = task.nets.kind, task.nets
    keep = arguments.min_keep if kind == "images" else arguments.clip_min_keep
    made = {
        f"{JEPA[kind]}, spread": jepa(nets, arguments.target, keep, arguments.spread, _seeded(arguments)),
        "MAE": mae(nets, _seeded(arguments)),
        JEPA[kind]: jepa(nets, arguments.target, keep, 0.0, _seeded(arguments)),
    }
    costs = [flops(each, task.train[: task.batch], _seeded(arguments)) for each in made.values()]
    return {
        name: (each, max(1, round(task.steps * costs[0] / cost)) if name == "MAE" else task.steps, cost)
        for (name, each), cost in zip(made.items(), costs, strict=True)
    }


def learned(name: str, method: Method, steps: int, task: Task, arguments: Arguments) -> dict[str, float]:
    """Train; what it took."""
    began, worked = time.perf_counter(), time.process_time()
    fit(
        method.energy,
        method.loss,
        {"x": task.train},
        optimizer=partial(torch.optim.AdamW, lr=arguments.rate, weight_decay=arguments.decay),
        schedule=partial(OneCycleLR, max_lr=arguments.rate, total_steps=steps, pct_start=0.1),
        steps=steps,
        batch_size=task.batch,
        callbacks=method.callbacks(steps),
        generator=_seeded(arguments),
        progress=name,
    )
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    return {
        "steps": steps,
        "seconds": seconds,
        "cpu seconds": cpu,
        "images a second": steps * task.batch / cpu,
    }


def measured(encode: nn.Module, task: Task) -> dict[str, Any]:
    """Probes of each label, and the rank of the test codes."""
    known, unknown = (encoded(encode, part, batch_size=250) for part in (task.train, task.test))
    found: dict[str, Any] = {}
    for what, labels in task.train_labels.items():
        examples = (known, labels), (unknown, task.test_labels[what])
        accuracy = linear_probe(*examples).accuracy
        found[what] = {
            "accuracy": accuracy,
            "standard error": (accuracy * (1 - accuracy) / len(unknown)) ** 0.5,
            "kNN accuracy": knn_probe(*examples, k=20).accuracy,
        }
    report = code_report(unknown[:5000])
    return {**found, "RankMe": report.rankme, "verdict": report.verdict}


def _seeded(arguments: Arguments) -> Generator:
    return Generator().manual_seed(arguments.seed)


def settings(kind: str, arguments: Arguments) -> dict[str, Any]:
    """The arguments on which rows of this kind depend."""
    others = [name for other, names in OWN.items() if other != kind for name in names]
    return {k: v for k, v in asdict(arguments).items() if k not in ("kinds", "results", *others)}


def run(arguments: Arguments) -> dict[str, Any]:
    """Everything that isn't in the file yet; returns what the file holds."""
    torch.set_num_threads(arguments.threads)
    name, images = image_task(arguments)
    path = Path(arguments.results) if arguments.results else FOLDER / f"masked_prediction_{name}.json"
    record: dict[str, Any] = {"data": name, "arguments": {}, "rows": {}}
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))

    def keep(kind: str, row: str, encode: nn.Module, task: Task, took: dict[str, float]) -> None:
        record["rows"][kind][row] = {**measured(encode, task), **took}
        print(kind, row, json.dumps(record["rows"][kind][row]), flush=True)
        save(record, path)

    for kind in arguments.kinds:
        if record["arguments"].get(kind) != settings(kind, arguments):
            record["arguments"][kind], record["rows"][kind] = settings(kind, arguments), {}
        rows, task = record["rows"][kind], images if kind == "images" else clip_task(arguments)
        pixels = nn.Flatten() if kind == "images" else nn.Sequential(nn.AvgPool3d(2), nn.Flatten())
        untrained = Averaged(task.nets.encoder(_seeded(arguments)))
        for row, encode in {"raw pixels": pixels, "random features": untrained}.items():
            if row not in rows:
                keep(kind, row, encode, task, {})
        for row, (method, steps, cost) in methods(task, arguments).items():
            if row not in rows:
                took = learned(row, method, steps, task, arguments)
                keep(kind, row, method.encode, task, {**took, "operations of an example": cost})
    return record


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    run(parse(Arguments, "python -m benchmarks.recipes.masked_prediction", lines[0], argv))


if __name__ == "__main__":
    main()

"""Seven joint embeddings, one small network, one budget: what a linear probe reads off their codes.

    accuracy     of a linear probe (logistic regression) on codes of the test images
    RankMe       of those codes;    LiDAR    of codes of views of training images, paper's n and q

The data are Fashion-MNIST where it is found (`EBM_DATA`), and otherwise the digits of scikit-learn. Beside
the methods stand the same network untrained, principal components, raw pixels, and the network trained with
labels. Neither RankMe nor LiDAR sees a label; "ranking" is how well each orders the methods by accuracy,
Spearman's rank correlation. Every finished method is written down, and a second run goes on from there.

Usage: `python -m benchmarks.recipes.representations`, about half an hour on two cores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.machine import commit, machine, versions
from benchmarks.recipes.command import option, parse
from benchmarks.recipes.methods import CODE, METHODS, trunk_of
from ebm.data import LabeledImages, digits, fashion_mnist, find_data
from ebm.data.fashion import CHECKSUMS, NAME
from ebm.measure import code_report, knn_probe, lidar, linear_probe
from ebm.measure.encoded import encoded
from ebm.train import fit
from ebm.views import ColorJitter, Compose, HorizontalFlip, Maybe, RandomResizedCrop, Views

FOLDER = Path(__file__).parent / "results"
TRAINED = tuple(name for name in METHODS if name != "supervised")  # those that RankMe and LiDAR are to rank


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    steps: int = option(2400, "of every method")
    batch: int = option(128, "images of a step")
    rate: float = option(3e-3, "greatest learning rate of AdamW, after a tenth of the steps")
    decay: float = option(1e-4, "weight decay")
    width: int = option(16, "channels of the first convolution")
    seed: int = option(0, "of weights, batches and views")
    train_images: int = option(0, "how many to learn from; 0 for all")
    lidar_images: int = option(1000, "n")
    lidar_views: int = option(50, "q")
    threads: int = option(2, "of torch")
    methods: tuple[str, ...] = option(tuple(METHODS), "which", type=str, nargs="+", choices=list(METHODS))
    results: str = option("", "the file to write; if empty, representations_DATA.json beside the others")


def data_sets() -> tuple[str, LabeledImages, LabeledImages]:
    """The name of the data that there are, and training and test images (N, 1, H, W) with labels."""
    name, read = (NAME, fashion_mnist) if find_data(NAME, list(CHECKSUMS)) else ("digits", digits)
    train, test = (LabeledImages(part.images[:, None], part.labels) for part in (read("train"), read("test")))
    return name, train, test


def views_of(name: str, side: int) -> Views:
    """Two views: crops of half of the image or more, brighter or darker; clothes are also flipped."""
    flip = [HorizontalFlip()] if name == NAME else []
    view = Compose(RandomResizedCrop(side, scale=(0.5, 1.0)), *flip, Maybe(0.8, ColorJitter(0.4, 0.4)))
    return Views(view, view)


def learned(method: str, name: str, train: LabeledImages, arguments: Arguments) -> tuple[nn.Module, float]:
    """The trunk after training by one method, and how many seconds that took."""
    generator = Generator().manual_seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    side, steps = train.images.shape[-1], arguments.steps
    made = METHODS[method](trunk_of(side, arguments.width, generator), views_of(name, side), steps, generator)
    given = {"image": train.images, "label": train.labels}
    began = time.perf_counter()
    fit(
        made.energy,
        made.loss,
        {variable: given[variable] for variable in made.of},
        optimizer=partial(torch.optim.AdamW, lr=arguments.rate, weight_decay=arguments.decay),
        schedule=partial(OneCycleLR, max_lr=arguments.rate, total_steps=steps, pct_start=0.1),
        steps=steps,
        batch_size=arguments.batch,
        callbacks=made.callbacks,
        generator=generator,
        progress=method,
    )
    return made.trunk, time.perf_counter() - began


def measured(
    encode: nn.Module, name: str, train: LabeledImages, test: LabeledImages, arguments: Arguments
) -> dict[str, Any]:
    """Probes and ranks of codes."""
    known, unknown = ((encoded(encode, part.images), part.labels) for part in (train, test))
    accuracy = linear_probe(known, unknown).accuracy
    report = code_report(unknown[0])
    return {
        "accuracy": accuracy,
        "standard error": (accuracy * (1 - accuracy) / len(test.labels)) ** 0.5,
        "kNN accuracy": knn_probe(known, unknown, k=20).accuracy,
        "RankMe": report.rankme,
        "LiDAR": lidar(_of_views(encode, name, train.images, arguments)),
        "verdict": report.verdict,
    }


def _of_views(encode: nn.Module, name: str, images: Tensor, arguments: Arguments) -> Tensor:
    """Codes (n, q, D) of q views of each of the first n images."""
    generator = Generator().manual_seed(arguments.seed)
    images = images[: arguments.lidar_images]
    view = views_of(name, images.shape[-1]).transforms[0]
    codes = [encoded(encode, view(images, generator).value) for _ in range(arguments.lidar_views)]
    return torch.stack(codes, 1)


def baselines(name: str, train: LabeledImages, arguments: Arguments) -> Iterator[tuple[str, nn.Module]]:
    """What is there without learning: pixels, their principal components, the network with random weights."""
    yield "raw pixels", nn.Flatten()
    pixels = train.images.flatten(1)
    center = pixels.mean(0)
    _, _, directions = torch.linalg.svd((pixels - center)[:20000].double(), full_matrices=False)
    kept = directions[: min(CODE, len(directions))].float()
    components = nn.Linear(pixels.shape[1], len(kept))
    with torch.no_grad():
        components.weight.copy_(kept)
        components.bias.copy_(-kept @ center)
    yield "PCA", nn.Sequential(nn.Flatten(), components)
    generator = Generator().manual_seed(arguments.seed)
    yield "random features", trunk_of(train.images.shape[-1], arguments.width, generator)


def ranking(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Spearman's rank correlation of RankMe and of LiDAR with accuracy, over the methods that are there."""
    there = [rows[name] for name in TRAINED if name in rows]
    places = {
        key: torch.tensor([row[key] for row in there]).argsort().argsort().double()
        for key in ("accuracy", "RankMe", "LiDAR")
    }
    return {
        key: float(torch.corrcoef(torch.stack([places["accuracy"], places[key]]))[0, 1])
        for key in ("RankMe", "LiDAR")
        if len(there) > 2
    }


def run(arguments: Arguments) -> dict[str, Any]:
    """Everything that isn't in the file yet; returns what the file holds."""
    torch.set_num_threads(arguments.threads)
    name, train, test = data_sets()
    path = Path(arguments.results) if arguments.results else FOLDER / f"representations_{name}.json"
    rows: dict[str, dict[str, Any]] = {}
    settings = {k: v for k, v in asdict(arguments).items() if k not in ("methods", "results")}
    if path.exists():
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["arguments"] == settings:
            rows = written["rows"]
    train = LabeledImages(*(part[: arguments.train_images or None] for part in train))

    def keep(row: str, encode: nn.Module, seconds: float) -> None:
        rows[row] = {**measured(encode, name, train, test, arguments), "seconds": seconds}
        print(row, json.dumps(rows[row]), flush=True)
        record = {
            "data": name,
            "images": [len(train.labels), len(test.labels)],
            "arguments": settings,
            "rows": rows,
            "ranking": ranking(rows),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(["torch", "ebm-lab"]),
            **commit(Path(__file__).parent),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    for row, encode in baselines(name, train, arguments):
        if row not in rows:
            keep(row, encode, 0.0)
    for method in arguments.methods:
        if method not in rows:
            keep(method, *learned(method, name, train, arguments))
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    run(parse(Arguments, "python -m benchmarks.recipes.representations", lines[0], argv))


if __name__ == "__main__":
    main()

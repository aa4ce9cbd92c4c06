"""A convolutional energy of images, learned by persistent chains and by denoising score matching.

    PCD     E(y), its chains Langevin dynamics with a buffer
    DSM     E(y, σ) = f(y) / σ at ten levels of noise, sampled by annealed Langevin dynamics

    samples       mean squared distance to the nearest training image; that of test images, of noise
    completion    mean |difference| of the lower halves of test images from those that minimize the energy,
                  given the upper halves; from the mean image's; and from those of the training images with
                  the nearest upper halves
    AUROC         how often an image of another kind has a higher energy than a test image

The data are the digits of scikit-learn, 8 x 8, and Fashion-MNIST where it is found (`EBM_DATA`); each is the
other kind for the other, resized, and so are images with their pixels shuffled. Beside the results lie
pictures: test images; then for each way samples, upper halves, completions. A second run goes on from what is
there.

Usage: `python -m benchmarks.recipes.image_energies`, some minutes on two cores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.recipes.command import option, parse
from benchmarks.recipes.image_networks import ImageEnergy, Leveled
from benchmarks.recipes.record import FOLDER, found, picture, save
from ebm import Energy, minimize
from ebm.contrastive import (
    AnnealedScoreMatching,
    PersistentContrastiveDivergence,
    ReplayBuffer,
    geometric_levels,
)
from ebm.data import digits, fashion_mnist, find_data
from ebm.data.fashion import CHECKSUMS, NAME
from ebm.infer import Langevin, ProximalGradient, annealed_langevin, sample
from ebm.infer.starts import Uniform
from ebm.measure.auroc import auroc_report
from ebm.regularized.nearest import nearest
from ebm.regularizers import Box
from ebm.solution import one_tensor
from ebm.train import fit

WAYS = ("PCD", "DSM")


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    steps: int = option(800, "of PCD on digits")
    fashion_steps: int = option(350, "of PCD on Fashion-MNIST")
    more: int = option(4, "steps of DSM for one of PCD")
    batch: int = option(64, "images of a step")
    rate: float = option(7e-4, "greatest learning rate of Adam")
    channels: int = option(24, "after the first convolution")
    chain: int = option(20, "Langevin steps of a chain in a training step")
    step_size: float = option(0.05, "of these, in units of the squared pixel")
    heat: float = option(0.005, "temperature of the chains")
    spoil: float = option(0.03, "noise on the data that chains are compared with")
    low: float = option(0.05, "the least level of noise of DSM")
    high: float = option(1.0, "the greatest")
    samples: int = option(200, "to draw from each")
    seed: int = option(0, "of weights, batches and samples")
    train_images: int = option(0, "how many to learn from; 0 for all")
    test_images: int = option(1000, "how many to test on")
    threads: int = option(2, "of torch")
    data: tuple[str, ...] = option(("digits", NAME), "which", type=str, nargs="+", choices=["digits", NAME])
    results: str = option("", "the file to write; if empty, image_energies.json beside the others")


def images(name: str, arguments: Arguments) -> tuple[Tensor, Tensor]:
    """Training and test images, (N, 1, H, W) in [0, 1]."""
    read = digits if name == "digits" else fashion_mnist
    train, test = (read(split).images[:, None] for split in ("train", "test"))
    return train[: arguments.train_images or None], test[: arguments.test_images]


def seeded(arguments: Arguments) -> Generator:
    return Generator().manual_seed(arguments.seed)


def learned(
    way: str, train: Tensor, steps: int, arguments: Arguments
) -> tuple[Energy, Tensor, dict[str, Any]]:
    """A way's energy E(y), samples, and what it took."""
    side, generator, began = train.shape[-1], seeded(arguments), time.perf_counter()
    energy = ImageEnergy(side, arguments.channels, generator)
    shape, worked = (1, side, side), time.process_time()
    chains = Langevin(arguments.step_size)
    levels = geometric_levels(arguments.high, arguments.low, 10)
    if way == "PCD":
        buffer = ReplayBuffer(Uniform(*shape), 2000, fresh=0.05, generator=generator)
        loss = PersistentContrastiveDivergence(
            chains, buffer, arguments.chain, beta=1 / arguments.heat, squares=0.01
        )
        trained: Energy = energy
    else:
        loss, trained = AnnealedScoreMatching(levels), Leveled(energy)  # type: ignore[assignment]
    noise = arguments.spoil * torch.randn(train.shape, generator=generator)
    history = fit(
        trained,
        loss,
        {"y": train + noise if way == "PCD" else train},
        optimizer=partial(torch.optim.Adam, lr=arguments.rate, betas=(0.5, 0.99)),
        schedule=partial(OneCycleLR, max_lr=arguments.rate, total_steps=steps, pct_start=0.1),
        steps=steps,
        batch_size=arguments.batch,
        generator=generator,
        progress=way,
        clip=10.0,
    )
    took = {"seconds": time.perf_counter() - began, "cpu seconds": time.process_time() - worked}
    start = torch.rand(arguments.samples, *shape, generator=generator)
    if way == "PCD":
        draws = sample(
            energy, start, chains, num_samples=1, burn_in=500, beta=1 / arguments.heat, generator=generator
        )
    else:
        draws = annealed_langevin(
            trained,
            start,
            levels,
            step_size=0.2 * arguments.low**2,
            steps=30,
            denoise=True,
            generator=generator,
        )
    took |= {"steps": steps, "energy gap": float(history.column("energy gap")[-20:].mean())}
    return energy, one_tensor(draws.value)[-1].clamp(0, 1), took


def join(upper: Tensor, lower: Tensor) -> Tensor:
    """Two halves of images, (B, 1, H/2, W) each, as images."""
    return torch.cat([upper, lower], 2)


def completed(energy: Energy, test: Tensor, train: Tensor) -> Tensor:
    """Test images whose lower half is what makes the energy small, from the mean lower half on."""
    half = test.shape[2] // 2
    joint = energy.compose(y=(join, "upper", "lower")) + Box("lower", 0.0, 1.0)
    upper, start = test[:, :, :half], train[:, :, half:].mean(0).expand(len(test), -1, -1, -1)
    method = ProximalGradient(0.5)
    found = minimize(joint, {"lower": start.clone()}, method, given={"upper": upper}, max_steps=100, tol=1e-2)
    return join(upper, one_tensor(found.value["lower"]))  # type: ignore[index]


def measured(
    energy: Energy, drawn: Tensor, train: Tensor, test: Tensor, others: dict[str, Tensor]
) -> tuple[dict[str, Any], Tensor]:
    """The numbers of an energy and its samples; and completions."""
    half, whole = test.shape[2] // 2, completed(energy, test, train)
    match = nearest(test[:, :, :half].flatten(1), train[:, :, :half].flatten(1))[0]
    guesses = {"completion": whole, "mean image": train.mean(0).expand_as(test), "nearest": train[match]}
    noise = torch.rand(drawn.shape, generator=Generator().manual_seed(1))
    row: dict[str, Any] = {
        name: float((guess - test)[:, :, half:].abs().mean()) for name, guess in guesses.items()
    }
    far = {"samples": drawn, "test images": test, "noise": noise}
    row |= {f"distance, {name}": _away(those, train) for name, those in far.items()}
    with torch.no_grad():
        on = energy(y=test)
        for name, other in others.items():
            found = auroc_report(on, energy(y=other))
            row |= {f"AUROC, {name}": found.value, f"its error, {name}": found.standard_error}
    return row, whole


def _away(these: Tensor, train: Tensor) -> float:
    return float(nearest(these.flatten(1), train.flatten(1))[1].mean())


def other_kinds(name: str, test: Tensor, arguments: Arguments) -> dict[str, Tensor]:
    """Images that are none of the kind, of the same size: shuffled ones, and the other data set."""
    order = torch.randperm(test[0].numel(), generator=seeded(arguments))
    kinds = {"shuffled pixels": test.flatten(1)[:, order].view(test.shape)}
    other = NAME if name == "digits" else "digits"
    if other == "digits" or find_data(NAME, list(CHECKSUMS)) is not None:
        there = images(other, arguments)[1]
        kinds[other] = interpolate(there, size=test.shape[-1], mode="bilinear", antialias=True)
    return kinds


def run(arguments: Arguments) -> dict[str, Any]:
    """Everything that isn't in the file yet; returns what the file holds."""
    torch.set_num_threads(arguments.threads)
    path = Path(arguments.results) if arguments.results else FOLDER / "image_energies.json"
    record = found(path, {k: v for k, v in asdict(arguments).items() if k not in ("data", "results")})
    for name in arguments.data:
        if name in record["rows"] or (name == NAME and find_data(NAME, list(CHECKSUMS)) is None):
            continue
        train, test = images(name, arguments)
        others, rows, shown = other_kinds(name, test, arguments), {}, [test]
        for way in WAYS:
            steps = arguments.steps if name == "digits" else arguments.fashion_steps
            steps *= arguments.more if way == "DSM" else 1
            energy, drawn, took = learned(way, train, steps, arguments)
            row, whole = measured(energy, drawn, train, test, others)
            hidden = whole.clone()
            hidden[:, :, whole.shape[2] // 2 :] = 0
            rows[way], shown = {**row, **took}, [*shown, drawn, hidden, whole]
            print(name, way, json.dumps(rows[way]), flush=True)
        record["rows"][name] = rows
        picture(shown, path.with_name(f"{path.stem}_{name}.png"))
        save(record, path)
    return record


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    run(parse(Arguments, "python -m benchmarks.recipes.image_energies", lines[0], argv))


if __name__ == "__main__":
    main()

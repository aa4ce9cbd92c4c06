"""Images through a bottleneck: what the codes of a VAE and of a VQ-VAE keep of them, and at how many bits.

    reconstruction    mean |y - g(z)|² of a test image, z the guessed mean or the codes
    bits              what a code tells: KL / log 2 of the VAE; of the VQ-VAE the entropy of its codes
    perplexity        of the VQ-VAE's codes
    samples           mean squared distance from a sample to the nearest training image; that of test images

The data are the digits of scikit-learn, and Fashion-MNIST where it is found (`EBM_DATA`). Beside both stand
as many principal components as the VAE has numbers. The VQ-VAE has no distribution of its codes: those of
samples are drawn cell by cell, as often as each code was used there. Pictures are written beside the results:
images, then for each model reconstructions and samples. A second run goes on from what is there.

Usage: `python -m benchmarks.recipes.digits_autoencoders`, a few minutes on two cores.
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
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from benchmarks.recipes.command import option, parse
from benchmarks.recipes.record import FOLDER, found, picture, save
from ebm.data import digits, fashion_mnist, find_data
from ebm.data.fashion import CHECKSUMS, NAME
from ebm.nets import mlp
from ebm.regularized import ELBO, VAE, VQVAE, BernoulliLikelihood, QuantizedLoss
from ebm.regularized.nearest import nearest
from ebm.solution import one_tensor
from ebm.train import fit

MODELS = ("PCA", "VAE", "VQ-VAE")


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    steps: int = option(1500, "of every model")
    batch: int = option(128, "images of a step")
    rate: float = option(2e-3, "greatest learning rate of Adam, after a tenth of the steps")
    numbers: int = option(16, "in a code of the VAE, and principal components")
    beta: float = option(1.0, "weight of the VAE's divergence")
    hidden: int = option(256, "width of the VAE's two hidden layers")
    codes: int = option(64, "in the VQ-VAE's codebook")
    code_size: int = option(8, "numbers in one of them")
    channels: int = option(32, "of the VQ-VAE's convolutions")
    expire: float = option(1.0, "vectors a batch below which a code is replaced")
    samples: int = option(1000, "to draw from each model")
    bound_draws: int = option(64, "of the VAE's importance-weighted bound")
    seed: int = option(0, "of weights, batches and samples")
    train_images: int = option(0, "how many to learn from; 0 for all")
    threads: int = option(2, "of torch")
    data: tuple[str, ...] = option(("digits", NAME), "which", type=str, nargs="+", choices=["digits", NAME])
    results: str = option("", "the file to write; if empty, digits_autoencoders.json beside the others")


def images(name: str, arguments: Arguments) -> tuple[Tensor, Tensor]:
    """Training and test images, (N, 1, H, W) in [0, 1]."""
    read = digits if name == "digits" else fashion_mnist
    train, test = (read(split).images[:, None] for split in ("train", "test"))
    return train[: arguments.train_images or None], test


def vae(side: int, arguments: Arguments) -> VAE:
    """Two hidden layers on either side of the code."""
    generator, pixels, wide = Generator().manual_seed(arguments.seed), side * side, arguments.hidden
    encoder = mlp(pixels, wide, wide, 2 * arguments.numbers, generator=generator)
    decoder = mlp(arguments.numbers, wide, wide, pixels, generator=generator)
    shaped = nn.Sequential(decoder, nn.Unflatten(1, (1, side, side)))
    return VAE(nn.Sequential(nn.Flatten(), encoder), shaped, arguments.numbers, BernoulliLikelihood())


def vq_vae(y: Tensor, arguments: Arguments) -> VQVAE:
    """Convolutions that halve the image, twice if it is larger than 16 x 16, and their mirror image."""
    generator, c, halvings = (
        Generator().manual_seed(arguments.seed),
        arguments.channels,
        1 + (y.shape[-1] > 16),
    )
    down: list[nn.Module] = []
    up: list[nn.Module] = [nn.Conv2d(arguments.code_size, c, 3, padding=1), nn.ReLU()]
    for i in range(halvings):
        down += [nn.Conv2d(c if i else 1, c, 4, stride=2, padding=1), nn.ReLU()]
        last = i == halvings - 1
        up += [nn.ConvTranspose2d(c, 1 if last else c, 4, stride=2, padding=1)] + (
            [] if last else [nn.ReLU()]
        )
    encoder = nn.Sequential(
        *down, nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, arguments.code_size, 1)
    )
    decoder = nn.Sequential(*up)
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    few = y[torch.randperm(len(y), generator=generator)[:1000]]
    return VQVAE.from_data(
        few, encoder, decoder, arguments.codes, expire=arguments.expire, generator=generator
    )


def pca(train: Tensor, test: Tensor, numbers: int) -> Tensor:
    """What the principal components of the training images keep of test images."""
    rows, center = train.flatten(1).double(), train.flatten(1).double().mean(0)
    directions = torch.linalg.eigh((rows - center).T @ (rows - center)).eigenvectors[:, -numbers:]
    kept = (test.flatten(1).double() - center) @ directions @ directions.T + center
    return kept.view(test.shape).float()


def codes_of(model: VQVAE, y: Tensor) -> Tensor:
    """The codes of many images, (N, h, w), some at a time."""
    return torch.cat([one_tensor(model.infer(part).value) for part in y.split(1000)])


def drawn_codes(model: VQVAE, train: Tensor, arguments: Arguments) -> Tensor:
    """Codes for samples, each cell's by how often training images used them there."""
    z = codes_of(model, train)
    used = nn.functional.one_hot(z.flatten(1), arguments.codes).float().mean(0)  # (cells, K)
    generator = Generator().manual_seed(arguments.seed)
    drawn = torch.multinomial(used, arguments.samples, replacement=True, generator=generator)
    return drawn.T.reshape(-1, *z.shape[1:])


def learned(model: VAE | VQVAE, train: Tensor, title: str, arguments: Arguments) -> dict[str, float]:
    """Train; what it took."""
    began, worked = time.perf_counter(), time.process_time()
    fit(
        model,
        ELBO(arguments.beta) if isinstance(model, VAE) else QuantizedLoss(),
        {"y": train},
        optimizer=partial(torch.optim.Adam, lr=arguments.rate),
        schedule=partial(OneCycleLR, max_lr=arguments.rate, total_steps=arguments.steps, pct_start=0.1),
        steps=arguments.steps,
        batch_size=arguments.batch,
        generator=Generator().manual_seed(arguments.seed),
        progress=title,
    )
    return {"seconds": time.perf_counter() - began, "cpu seconds": time.process_time() - worked}


@torch.no_grad()
def measured(
    name: str, train: Tensor, test: Tensor, arguments: Arguments
) -> tuple[dict[str, Any], list[Tensor]]:
    """One model's row, and the images to show: reconstructions and, if it has any, samples."""
    generator, row, drawn = Generator().manual_seed(arguments.seed), {}, None
    if name == "PCA":
        kept = pca(train, test, arguments.numbers)
    elif name == "VAE":
        model = vae(train.shape[-1], arguments)
        with torch.enable_grad():
            row = learned(model, train, name, arguments)
        kept = model.decode(model.posterior(test).mean)
        terms = ELBO()(model, generator, y=test).terms
        bound = model.evidence(arguments.bound_draws)
        parts = [bound.bind({"y": part}, generator)() for part in test.split(500)]
        row |= {"bits": float(terms["bits"]), "free energy": float(terms["free energy"])}
        row |= {"importance-weighted": float(torch.cat(parts).mean())}
        drawn = model.sample(arguments.samples, generator, noisy=False)
    else:
        quantized = vq_vae(train, arguments)
        with torch.enable_grad():
            row = learned(quantized, train, name, arguments)
        z = codes_of(quantized, test)
        kept, usage = (
            torch.cat([quantized.decode(part) for part in z.split(1000)]),
            quantized.quantizer.usage(z),
        )
        row |= {"bits": usage.bits, "bits by number": usage.fixed_bits, "perplexity": usage.perplexity}
        row |= {"codes used": usage.used, "cells": usage.cells}
        drawn = quantized.decode(drawn_codes(quantized, train, arguments))
    row |= {"reconstruction": float((test - kept).square().flatten(1).sum(1).mean())}
    if drawn is not None:
        row |= {"samples": _away(drawn, train), "test images": _away(test[: arguments.samples], train)}
    return row, [kept] if drawn is None else [kept, drawn]


def _away(these: Tensor, train: Tensor) -> float:
    return float(nearest(these.flatten(1), train.flatten(1))[1].mean())


def run(arguments: Arguments) -> dict[str, Any]:
    """Everything that isn't in the file yet; returns what the file holds."""
    torch.set_num_threads(arguments.threads)
    path = Path(arguments.results) if arguments.results else FOLDER / "digits_autoencoders.json"
    settings = {k: v for k, v in asdict(arguments).items() if k not in ("data", "results")}
    record = found(path, settings)
    for name in arguments.data:
        if name in record["rows"] or (name == NAME and find_data(NAME, list(CHECKSUMS)) is None):
            continue
        train, test = images(name, arguments)
        rows, shown = {}, [test]
        for model in MODELS:
            rows[model], more = measured(model, train, test, arguments)
            shown += more
            print(name, model, json.dumps(rows[model]), flush=True)
        record["rows"][name] = rows
        picture(shown, path.with_name(f"{path.stem}_{name}.png"))
        save(record, path)
    return record


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    run(parse(Arguments, "python -m benchmarks.recipes.digits_autoencoders", lines[0], argv))


if __name__ == "__main__":
    main()

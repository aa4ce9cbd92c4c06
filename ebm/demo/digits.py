"""Part two: one network, shaped into an energy of handwritten digits in three ways, and what comes of each.

    E(y) = |y - g(e(y))|²        e encodes a picture y, g decodes the code

To push the energy of the data down collapses it. Two cures: a loss that also pushes up (denoising), or a
code that cannot tell everything (noise on it).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebm.contrastive import AutoEncoder, BlockSwap, Denoising, Gaussian
from ebm.data import digits
from ebm.demo.digits_classes import show_classes
from ebm.demo.digits_completed import show_completions, show_descent
from ebm.demo.digits_energies import Watched, add_reports, show_histograms, show_learning, show_path
from ebm.demo.part import Part
from ebm.energy import Energy
from ebm.history import History
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import collapse_report
from ebm.measure.off_data import in_box
from ebm.nets import mlp
from ebm.regularized import NoisyAutoEncoder
from ebm.train import fit

CODE, WIDTH = 64, 256  # numbers in a code, as many as pixels; hidden units
NOISE = 2.0  # on the code
FORMULA = "<i>E</i>(<i>y</i>) = |<i>y</i> − <i>g</i>(<i>e</i>(<i>y</i>))|²"


@dataclass(frozen=True)
class Way:
    """One way to shape the network."""

    name: str
    energy: Energy
    loss: Loss


def digits_part(part: Part) -> None:
    """Train three ways, measure the collapse, complete half-hidden digits."""
    bits = NoisyAutoEncoder(nn.Identity(), nn.Identity(), CODE, NOISE).capacity
    part.introduce(
        "Collapse, and two ways out",
        FORMULA,
        "An auto-encoder turns a picture y into a code e(y) and the code back into a picture. Its error "
        "is an energy: low for pictures that it can reproduce. One small network is trained three times "
        "on 1,437 handwritten digits, from the same first weights.",
        "Pushing down only: make the energy of digits small, and do nothing else. With as many numbers "
        "in the code as in the picture, the network learns to copy, and to copy anything. The energy is "
        "low everywhere; it has collapsed.",
        "Contrastive: the network sees a spoilt digit, with noise on it and a part of another digit in "
        "it, and has to return the clean one. So spoilt pictures get a high energy: it is pushed up "
        "wherever spoiling leads.",
        "Regularized: again nothing but the energy of digits is made small, but the code is noisy and "
        f"can carry at most {bits:.0f} bits. Such a code cannot tell everything, so not every picture "
        "can have a low energy.",
    )
    train, test = digits("train"), digits("test")
    steps = 900 if part.quick else 3000
    swapped = torch.cat([test.images[:, :4], test.images.roll(1, 0)[:, 4:]], 1)
    energies, watched, reports = {}, {}, {}
    for way in three_ways(part.seed):
        watched[way.name], history = shape(part, way, train.images, test.images, steps)
        energies[way.name] = way.energy
        reports[way.name] = collapse_report(
            way.energy,
            test.images,
            corruption=spoil_in_box,
            off_data={"halves of two digits": swapped},
            generator=part.generator(),
        )
        numbers = {"steps": len(history), "seconds": round(history.seconds, 2), **history.rows[-1]}
        part.numbers[way.name] = {"training": numbers, "collapse": reports[way.name].numbers()}
    part.numbers["bits in the noisy code, at most"] = bits
    show_learning(part, watched)
    show_histograms(part, energies, test.images, swapped)
    add_reports(part, reports)
    show_path(part, energies, test)
    show_completions(part, energies, train, test)
    show_descent(part, energies["contrastive"], test)
    show_classes(part, train, test, steps // 2)


def three_ways(seed: int) -> list[Way]:
    """The same network, from the same first weights, under three regimes."""

    def halves() -> tuple[nn.Module, nn.Module]:
        g = torch.Generator().manual_seed(seed)
        encoder = nn.Sequential(nn.Flatten(), mlp(64, WIDTH, CODE, generator=g))
        return encoder, nn.Sequential(mlp(CODE, WIDTH, 64, generator=g), nn.Unflatten(1, (8, 8)))

    def noiseless() -> Energy:
        encoder, decoder = halves()  # between them the length of the code is fixed, as it is in the noisy one
        return AutoEncoder(nn.Sequential(encoder, nn.RMSNorm(CODE, elementwise_affine=False), decoder))

    spoil = BlockSwap(0.8, smallest=3, largest=8).then(Gaussian(0.2, lowest=0.0))
    return [
        Way("pushing down only", noiseless(), AverageEnergy()),
        Way("contrastive", noiseless(), Denoising(spoil)),
        Way("regularized", NoisyAutoEncoder(*halves(), CODE, NOISE).free_energy, AverageEnergy()),
    ]


def shape(part: Part, way: Way, train: Tensor, test: Tensor, steps: int) -> tuple[Watched, History]:
    """Train, and watch the energy of test digits and of noise meanwhile."""
    optimizer = torch.optim.Adam(way.energy.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    noise = in_box(test, 300, part.generator())
    watched = Watched([], [], [])

    def watch(step: int, history: History) -> None:
        schedule.step()
        if step == 1 or step % (steps // 30) == 0:
            way.energy.eval()
            with torch.no_grad():
                watched.steps.append(step)
                watched.digits.append(float(way.energy(y=test).mean()))
                watched.noise.append(float(way.energy(y=noise).mean()))
            way.energy.train()

    history = fit(
        way.energy,
        way.loss,
        train,
        optimizer=optimizer,
        steps=steps,
        batch_size=64,
        callbacks=[watch],
        generator=part.generator(),
        progress=f"    {way.name}",
    )
    if history.interrupted:
        raise KeyboardInterrupt
    way.energy.requires_grad_(False)
    return watched, history


def spoil_in_box(y: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise that leaves every pixel between the values that it takes in the data."""
    return torch.clamp(Gaussian(0.3)(y, generator), y.amin(0), y.amax(0))

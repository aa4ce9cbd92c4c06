"""One set of tools for every kind of energy: the same ten lines build, learn, answer, draw and diagnose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm import Energy, marginal_over, minimize
from ebm.contrastive import AutoEncoder, Denoising, Gaussian
from ebm.data import two_moons
from ebm.infer import LBFGS
from ebm.joint import OnCodes, SquaredDistance, VICReg
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import collapse_report
from ebm.nets import mlp
from ebm.nodes import Finite
from ebm.regularized import NoisyAutoEncoder
from ebm.show import landscape
from ebm.targets import Ellipse
from ebm.train import fit

ADAM = partial(torch.optim.Adam, lr=3e-3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(*sizes: int, seed: int) -> torch.nn.Module:
    return mlp(*sizes, generator=seeded(seed))


def contrastive() -> tuple[Energy, Loss]:
    return AutoEncoder(net(2, 64, 64, 2, seed=1)), Denoising(Gaussian(0.3))


def regularized() -> tuple[Energy, Loss]:
    encoder, decoder = net(2, 64, 4, seed=1), net(4, 64, 2, seed=2)
    return NoisyAutoEncoder(encoder, decoder, size=4, noise=1.0).free_energy, AverageEnergy()


def latent() -> tuple[Energy, Loss]:
    model = Ellipse(torch.tensor([1.0, 1.0]))
    return marginal_over(model, "z", 4.0, by=Finite(model.angles())), AverageEnergy()


def joint() -> tuple[Energy, Loss]:
    f = net(2, 64, 8, seed=1)
    return SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y")), OnCodes(VICReg())


@pytest.mark.parametrize("build", [contrastive, regularized, latent, joint])
def test_the_same_lines_for_every_kind(build: Callable[[], tuple[Energy, Loss]]) -> None:
    moons = two_moons(1000, noise=0.05, generator=seeded())
    moons = (moons - moons.mean(0)) / moons.std(0)

    energy, loss = build()
    data = {name: moons + 0.1 * torch.randn(moons.shape, generator=seeded(i)) for i, name in enumerate("xy")}
    data = {name: data[name] for name in energy.variables}
    before = loss(energy, seeded(5), **data).loss.item()
    history = fit(
        energy,
        loss,
        data,
        optimizer=ADAM,
        steps=300,
        batch_size=128,
        generator=seeded(3),
        progress=False,
    )
    assert loss(energy, seeded(5), **data).loss.item() < before and len(history) == 300

    given = {name: data[name][:8] for name in energy.variables if name != "y"}
    start = data["y"][:8] + 0.5 * torch.randn(8, 2, generator=seeded(4))
    answer = minimize(energy, {"y": start}, LBFGS(), given=given, max_steps=100)
    found: Tensor = answer.value["y"]
    assert bool((answer.energy < energy(y=start, **given)).all())
    torch.testing.assert_close(answer.energy, energy(y=found, **given))

    first = {name: value[:1] for name, value in given.items()}
    ax = landscape(energy, "y", Figure().subplots(), (-3, 3, -3, 3), given=first, resolution=21)
    assert ax.collections

    rest = {name: value for name, value in data.items() if name != "y"}
    report = collapse_report(energy, data["y"], given=rest, beta=20.0, points=500, generator=seeded(6))
    assert report.verdict.startswith("alive"), report  # an ellipse can't be two moons, but isn't flat

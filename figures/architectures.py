"""The four architectures that can and cannot collapse, trained by pushing the energy of data down.

    predictor       E = |y - g(x)|²               cannot collapse: for each x one y has energy 0
    latent          F = min_z |y - g(x, z)|²      collapses where some z explains any y
    auto-encoder    E = |v - G(v)|², v = (x, y)   collapses to the identity
    joint embedding E = |f(x) - h(y)|²            collapses to codes that don't vary

Data: x uniform, y on one of two branches. Above, nothing but the mean energy of data is lowered; below, each
of the three that collapse has a limit: two values of z instead of a continuum (24 values of one number),
noise on the code, and VICReg's variance and covariance. Under each: the share of the data's box that
p ∝ exp(-E / T) finds likely (exp of its entropy), T = 0.02.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.3 and fig. 9.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.contrastive import AutoEncoder
from ebm.joint import OnCodes, SquaredDistance, VICReg
from ebm.loss import AverageEnergy, Loss
from ebm.measure.collapse import CollapseReport, collapse_report
from ebm.nets import mlp
from ebm.regularized import LatentPredictor, NoisyAutoEncoder, WithLatent
from ebm.show import landscape, style
from ebm.show.style import GRAY, ORANGE
from ebm.train import fit

ALT = (
    "Energies of four architectures over x and y: pushed down only, the predictor is low along a line "
    "between the data's two branches and the other three are low nearly everywhere; limited, these are low "
    "on the branches."
)
ROWS, STEPS, WIDTH, CODE = 2000, 1000, 48, 8
EXTENT = (-1.6, 1.6, -1.6, 1.6)
CEILING, TEMPERATURE = 0.2, 0.02
Members = dict[str, tuple[str, Energy, CollapseReport]]


class Join(nn.Module):
    """x beside y, (B, 2)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def net(*sizes: int, seed: int = 1) -> nn.Module:
    return mlp(sizes[0], WIDTH, WIDTH, sizes[-1], generator=seeded(seed))


def data() -> tuple[Tensor, Tensor]:
    """x and y, (N, 1) each."""
    g = seeded(0)
    x = 3 * torch.rand(ROWS, 1, generator=g) - 1.5
    sign = torch.randint(2, (ROWS, 1), generator=g) * 2 - 1
    return x, sign * (0.7 + 0.3 * torch.sin(2 * x)) + 0.03 * torch.randn(ROWS, 1, generator=g)


def trained(energy: Energy, loss: Loss) -> Energy:
    """The energy after training on the data."""
    x, y = data()
    fit(
        energy,
        loss,
        {"x": x, "y": y},
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        steps=STEPS,
        batch_size=128,
        generator=seeded(2),
        progress=False,
    )
    return energy.requires_grad_(False)


def latent(values: Tensor, beta: float | None = None) -> Energy:
    """min_z |y - g(x, z)|², learned with F_β so that no value is left out, or by the minimum itself."""
    model = LatentPredictor(WithLatent(net(1 + values.shape[1], 1), (1,)), values, noise=0.5**0.5)
    trained(model.free_energy if beta is None else model.soft_free_energy(beta), AverageEnergy())
    return model.free_energy


def embedding(loss: Loss) -> Energy:
    pair = SquaredDistance().compose(s_x=(net(1, 2), "x"), s_y=(net(1, 2, seed=3), "y"))
    return trained(pair, loss)


def joined(energy: Energy) -> Energy:
    """An energy of the point (x, y) as one of x and y."""
    return energy.compose(y=(Join(), "x", "y"))


def members() -> Members:
    """By name: what is done to it, the energy, and its report."""
    low = AverageEnergy()
    noisy = NoisyAutoEncoder(net(2, CODE), net(CODE, 2, seed=3), size=CODE, noise=1.0)
    made = {
        "Predictor": ("", latent(torch.zeros(1, 1))),
        "Latent variable": ("", latent(torch.linspace(-8, 8, 24).unsqueeze(1))),
        "Auto-encoder": (
            "",
            trained(joined(AutoEncoder(nn.Sequential(net(2, CODE), net(CODE, 2, seed=3)))), low),
        ),
        "Joint embedding": ("", embedding(low)),
        "Latent, limited": ("two values of z", latent(torch.eye(2), beta=20.0)),
        "Auto-encoder, limited": ("noise on the code", trained(joined(noisy.free_energy), low)),
        "Joint embedding, limited": ("variance and covariance", embedding(OnCodes(VICReg(), "s_x", "s_y"))),
    }
    x, y = data()
    return {
        name: (
            limit,
            energy,
            collapse_report(
                energy, y, given={"x": x}, beta=1 / TEMPERATURE, points=4000, generator=seeded(4)
            ),
        )
        for name, (limit, energy) in made.items()
    }


def draw(found: Members | None = None) -> Figure:
    """The figure."""
    found = members() if found is None else found
    x, y = data()
    with style():
        figure = Figure(figsize=(13.0, 7.4))
        panels = figure.subplots(2, 4, sharex=True, sharey=True)
        empty = panels[1, 0]
        empty.set_axis_off()
        words = "Above: the energy of the data\nis pushed down, no more.\n\nBelow: so little is left to the\n"
        words += "latent, the code or the encoders\nthat few points can be low."
        empty.text(0.0, 0.5, words, transform=empty.transAxes, va="center", color=GRAY)
        axes = [ax for ax in panels.flat if ax is not empty]
        for ax, (name, (limit, energy, report)) in zip(axes, found.items(), strict=True):
            landscape(energy, ("x", "y"), ax, EXTENT, ceiling=CEILING, levels=21, colorbar=False)
            ax.plot(x[:300], y[:300], ".", color=ORANGE, markersize=2.5)
            said = f"{limit}\n" if limit else ""
            ax.set(title=name, aspect="equal", ylabel="y" if ax in (panels[0, 0], panels[1, 1]) else "")
            ax.set_xlabel(f"x\n{said}likely: {report.likely_volume:.0%} of the box")
        panels[1, 1].tick_params(labelleft=True)
        ticks = [0, 0.05, 0.1, 0.15, 0.2]
        figure.colorbar(axes[0].collections[0], ax=panels, label="energy", ticks=ticks, shrink=0.6)
    return figure


if __name__ == "__main__":
    made = members()
    draw(made).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {name: {"limit": limit, **report.numbers()} for name, (limit, _, report) in made.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")

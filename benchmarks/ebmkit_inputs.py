"""What both sides of the comparison with ebmkit begin with; nothing here imports an `ebm`, theirs or ours.

Weights and data are drawn from the same seeds in both processes, by the same torch. That they are the same
shows in the losses that agree to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

BATCH, STEPS = 256, 50  # rows, and training steps a call
STEP_SIZE, CHAIN, SQUARES = 0.01, 10, 0.001  # of chains that find negatives
NOISE, LEVELS, PARTICLES = 0.1, (1.0, 0.01, 10), 16  # scale; largest, smallest, how many; points a row
SEEN, HIDDEN, SIDE, VALUES, CLASSES = 64, 32, 8, 3, 10


class Network(nn.Module):
    """A network 2-128-128-1 in a bowl ½|y|²."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers(2, 128, 128, 1)

    def forward(self, y: Tensor) -> Tensor:
        value: Tensor = self.net(y)
        return value.squeeze(1) + 0.5 * y.pow(2).sum(1)


class NoiseNetwork(nn.Module):
    """A network 3-128-128-1 of a point and the logarithm of its noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers(3, 128, 128, 1)

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        value: Tensor = self.net(torch.cat([y, sigma.log().unsqueeze(1)], 1))
        return value.squeeze(1)


class EightModes(nn.Module):
    """-log Σ_k exp(-|y - μ_k|² / (2 · 0.5²)), eight centers on a circle of radius 4: log Z = log 4π."""

    centers: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = torch.arange(8) * (2 * math.pi / 8)
        self.register_buffer("centers", 4 * torch.stack([angle.cos(), angle.sin()], 1))

    def forward(self, y: Tensor) -> Tensor:
        squared = (y.unsqueeze(1) - self.centers).pow(2).sum(-1)
        return -torch.logsumexp(-squared / (2 * 0.25), 1)


class Ellipse(nn.Module):
    """½ Σ_d y_d² / v_d, 20 variances from 0.1 to 1."""

    precision: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("precision", 1 / torch.logspace(-1, 0, 20))

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y * y) @ self.precision


class Lattice(nn.Module):
    """-J Σ_<ij> a_i · b_j over neighbors on a square lattice, of spins ±1 or of one-hot sites."""

    def __init__(self, one_hot: bool = False) -> None:
        super().__init__()
        self.coupling, self.one_hot = nn.Parameter(torch.tensor(0.3)), one_hot

    def forward(self, y: Tensor) -> Tensor:
        s = y if self.one_hot else 2 * y - 1
        along, down = s[:, :, 1:] * s[:, :, :-1], s[:, 1:] * s[:, :-1]
        return -self.coupling * (along.flatten(1).sum(1) + down.flatten(1).sum(1))


def layers(*sizes: int) -> nn.Sequential:
    """Linear layers with SiLU between them, the same every time."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*parts[:-1])


def points() -> dict[str, Any]:
    """Batches from N(0, I) in the plane, and networks."""
    batches = torch.randn(STEPS, BATCH, 2, generator=seeded())
    return {"energy": Network(), "noisy": NoiseNetwork(), "batches": batches, "y": batches[0]}


def bits() -> dict[str, Any]:
    """Batches of 64 bits, as rows and as lattices; weights of an RBM; one-hot lattices."""
    g = seeded()
    batches = torch.rand(STEPS, BATCH, SEEN, generator=g).round()
    rbm = [
        nn.Parameter(0.1 * torch.randn(shape, generator=g)) for shape in ((HIDDEN, SEEN), (SEEN,), (HIDDEN,))
    ]
    colors = one_hot(torch.randint(VALUES, (BATCH, SIDE, SIDE), generator=g), VALUES).float()
    lattices = batches.view(STEPS, BATCH, SIDE, SIDE)
    return {"batches": batches, "rbm": rbm, "lattices": lattices, "colors": colors}


def labels() -> dict[str, Any]:
    """Batches of 64 numbers with one of ten labels, and a classifier 64-128-10."""
    g = seeded()
    batches = torch.randn(STEPS, BATCH, SEEN, generator=g)
    return {
        "net": layers(SEEN, 128, CLASSES),
        "batches": list(zip(batches, torch.randint(CLASSES, (STEPS, BATCH), generator=g), strict=True)),
    }


def places(energy: Callable[[], nn.Module], dim: int) -> Callable[[], dict[str, Any]]:
    """An energy and 256 chains that begin at N(0, I)."""
    return lambda: {"energy": energy(), "y": torch.randn(BATCH, dim, generator=seeded())}


def seeded() -> torch.Generator:
    """The generator of all inputs and of our side; ebmkit draws from that of torch, same seed."""
    return torch.Generator().manual_seed(1)


def trained(
    parameters: Iterable[nn.Parameter], batches: Iterable[Any], loss: Callable[..., Tensor]
) -> dict[str, float]:
    """Take the training steps: the loss and its gradient. Their mean, and the last gradient's length."""
    known, losses = list(parameters), []
    for batch in batches:
        for parameter in known:
            parameter.grad = None
        value = loss(*batch) if isinstance(batch, tuple) else loss(batch)
        value.backward()
        losses.append(float(value.detach()))
    grads = [parameter.grad for parameter in known if parameter.grad is not None]
    length = torch.cat([grad.flatten() for grad in grads]).norm()
    return {"mean loss": sum(losses) / len(losses), "last gradient": float(length)}


def moment(y: Tensor) -> dict[str, float]:
    """⟨|y|²⟩ of where the chains came to."""
    return {"second moment": float(y.square().flatten(1).sum(1).mean())}


def worth(draws: Tensor) -> dict[str, float]:
    """Of draws (N, B, D): the least over coordinates of how many independent ones their means are worth."""
    spread = draws.flatten(0, 1).var(0) / draws.mean(0).var(0)
    return {"effective samples": float(len(draws[0]) * spread.min()), **moment(draws.flatten(0, 1))}

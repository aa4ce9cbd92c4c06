"""What the members of `contrastive_zoo` train: energies, and how each is posed and looked at in the plane.

Most shape E(y), the same network 2-64-64-1 in a wide bowl. Answer losses compare answers y2 to y1 with
E(y1, y2), auto-encoders their reconstruction with y, and the three losses of binary data see the cell of a
point, 5 + 5 bits in Gray code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebm import Energy
from ebm.loss import Loss
from ebm.nets import mlp
from figures._blades import BITS, CELLS, SIDE, Joint, alone, gray, of_answers, seeded

WIDTH = 64
See = Callable[[Tensor], Tensor]


class Posed(NamedTuple):
    """What a member trains.

    Attributes:
        energy, data: the energy, and its variables' values.
        losses: one for each of equally long parts of the training.
        see: the energy of points of the plane, (N, 2) -> (N,).
        beta: the energy's unit, β; None for the β that fits best.
        joint: from βE on the cells to -log q.
        side: of the cells that it can tell apart.
        batch: rows a step.
    """

    energy: Energy
    data: Mapping[str, Tensor]
    losses: tuple[Loss, ...]
    see: See
    beta: float | None = None
    joint: Joint = alone
    side: int = SIDE
    batch: int = 256


class Network(Energy):
    """E(y) = f(y) + ½|y|²/9: the bowl keeps exp(-E) integrable and chains at home; f >= 0 if asked."""

    def __init__(self, positive: bool = False) -> None:
        super().__init__()
        self.network = mlp(2, WIDTH, WIDTH, 1, activation=nn.SiLU, generator=seeded(1))
        self.positive = positive

    def forward(self, y: Tensor) -> Tensor:
        f: Tensor = self.network(y).squeeze(1)
        return (softplus(f) if self.positive else f) + y.square().sum(1) / 18


class Blurred(Energy):
    """E(y, σ) = f(y, log σ)/σ + ½|y|²/9: slopes are the steeper the smaller the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(3, WIDTH, WIDTH, 1, activation=nn.SiLU, generator=seeded(1))

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        f: Tensor = self.network(torch.cat([y, sigma.log().unsqueeze(1)], 1))
        return f.squeeze(1) / sigma + y.square().sum(1) / 18


class Answer(Energy):
    """E(x, y) of a point's two coordinates, y the answer to x."""

    def __init__(self, positive: bool = False) -> None:
        super().__init__()
        self.whole = Network(positive=positive)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.whole(y=torch.cat([x, y], 1))


class Bits(Energy):
    """E(y) of ten bits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2 * BITS, WIDTH, WIDTH, 1, activation=nn.SiLU, generator=seeded(1))

    def forward(self, y: Tensor) -> Tensor:
        f: Tensor = self.network(2 * y - 1)
        return f.squeeze(1)


def encoder_and_decoder() -> tuple[nn.Module, nn.Module]:
    return (
        mlp(2, WIDTH, 8, activation=nn.SiLU, generator=seeded(1)),
        mlp(8, WIDTH, 2, activation=nn.SiLU, generator=seeded(2)),
    )


class Mover(nn.Module):
    """G(ε) = ε + f(ε): begins with noise all over the box, and moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2, WIDTH, WIDTH, 2, activation=nn.SiLU, generator=seeded(4))

    def forward(self, noise: Tensor) -> Tensor:
        moved: Tensor = noise + self.network(noise)
        return moved


def density(loss: Loss, y: Tensor, energy: Energy | None = None, beta: float | None = 1.0) -> Posed:
    """An energy of y alone; with β = 1, -log p."""
    model = Network() if energy is None else energy
    return Posed(model, {"y": y}, (loss,), lambda points: model(y=points), beta)


def answers(loss: Loss, y: Tensor, positive: bool = False) -> Posed:
    """An energy of answers y2 to y1."""
    model = Answer(positive)
    see = lambda points: model(x=points[:, :1], y=points[:, 1:])  # noqa: E731
    return Posed(model, {"x": y[:, :1], "y": y[:, 1:]}, (loss,), see, joint=of_answers, batch=128)


def bits(loss: Loss, y: Tensor) -> Posed:
    """An energy of cells."""
    model = Bits()
    return Posed(model, {"y": gray(y)}, (loss,), lambda points: model(y=gray(points)), 1.0, side=CELLS)


def standardized(losses: tuple[Loss, ...], y: Tensor, beta: float | None) -> Posed:
    """For losses whose noise is N(0, I): the same network, of data of that size."""
    model, size = Network(), float(y.std())
    return Posed(model, {"y": y / size}, losses, lambda points: model(y=points / size), beta, batch=64)

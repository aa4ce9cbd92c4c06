"""Five blades in the plane, and how far a learned energy is from them: what `contrastive_zoo` is measured by.

The data are a mixture of five elongated Gaussians, so the truth -log p(y) is known. On the centers of SIDE²
cells, sums stand for integrals:

    KL(p | q) = Σ p (log p - log q),        q ∝ exp(-βE)

An energy whose unit is no nat gets the β that makes this least. One of answers, E(y1, y2), says nothing about
y1: there q(y1, y2) = p(y1) q(y2 | y1), and KL is that of the answers, on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d

from ebm.targets import Mixture

EXTENT, SIDE, BITS = 4.0, 96, 5
CELLS = 2**BITS  # a side, for methods of binary data; SIDE is a multiple
BETAS = torch.logspace(-3, 4, 281, dtype=torch.float64)

Joint = Callable[[Tensor, Tensor], Tensor]  # from βE and the truth, (N,), to -log q, (N,)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def truth() -> Mixture:
    """Five blades around the origin."""
    angle = torch.arange(5) * (2 * math.pi / 5)
    along = torch.stack([angle.cos(), angle.sin()], 1)
    turned = angle + 0.7
    axis = torch.stack([turned.cos(), turned.sin()], 1)
    spread = 0.35**2 * axis[:, :, None] * axis[:, None, :]
    return Mixture(torch.full((5,), 0.2), 2.0 * along, 0.15**2 * torch.eye(2) + 3 * spread)


def blade(y: Tensor) -> Tensor:
    """Which of the five a point most likely comes from, (B,)."""
    target = truth()
    away = y.unsqueeze(1) - target.means
    return torch.einsum("bki,kij,bkj->bk", away, target.precisions, away).argmin(1)


def centers(side: int) -> Tensor:
    """The centers of side² cells, row by row, (side², 2)."""
    axis = (torch.arange(side) + 0.5) * (2 * EXTENT / side) - EXTENT
    y1, y2 = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack([y1.flatten(), y2.flatten()], 1)


def exact(side: int) -> Tensor:
    """-log p of the cells, but for a constant, (side²,): p is averaged over the parts of a cell."""
    p = (-truth()(y=centers(SIDE)).double()).softmax(0).view(1, 1, SIDE, SIDE)
    return -avg_pool2d(p, SIDE // side).flatten().log()


def gray(y: Tensor) -> Tensor:
    """The cell of a point as 5 + 5 bits, (B, 10): neighbors in a row or a column differ in one bit."""
    cell = ((y + EXTENT) * (CELLS / (2 * EXTENT))).long().clamp(0, CELLS - 1)
    code = cell ^ (cell >> 1)
    return (code.unsqueeze(2) >> torch.arange(BITS) & 1).flatten(1).to(y)


def alone(energy: Tensor, exact: Tensor) -> Tensor:
    """-log q of a density, q ∝ exp(-E)."""
    return -(-energy).log_softmax(0)


def of_answers(energy: Tensor, exact: Tensor) -> Tensor:
    """-log q of p(y1) q(y2 | y1), the second ∝ exp(-E)."""
    log_p = (-exact).log_softmax(0).view(SIDE, SIDE)  # y2 down, y1 across
    answers = (-energy.view(SIDE, SIDE)).log_softmax(0)
    return -(log_p.logsumexp(0) + answers).flatten()


def of_ratios(energy: Tensor, exact: Tensor) -> Tensor:
    """The same where E is -log p(y2 | y1)/p(y2) but for a function of y1, as `InfoNCE` learns it."""
    rows = (-exact).log_softmax(0).view(SIDE, SIDE).logsumexp(1, keepdim=True)
    return of_answers((energy.view(SIDE, SIDE) - rows).flatten(), exact)


def divergence(surprise: Tensor, exact: Tensor) -> float:
    """KL(p | q), nats, from -log q and -log p but for a constant."""
    log_p = (-exact).log_softmax(0)
    return float((log_p.exp() * (log_p + surprise)).sum())


def best_beta(energy: Tensor, exact: Tensor, joint: Joint) -> float:
    """The β of the least divergence, to 6%."""
    found = [divergence(joint(beta * energy, exact), exact) for beta in BETAS]
    return float(BETAS[int(torch.tensor(found).argmin())])

"""What a sampler did on a landscape of the plane, held to exact moments.

    spread = ⟨|y - m|²⟩ / tr Σ,        m = ⟨y⟩, Σ = Cov y  under p ∝ exp(-βE)

1 for exact draws, whatever the landscape. m and Σ are integrals over the plane, by the midpoint rule, which
converges faster than any power of the nodes where the integrand vanishes at the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ebm.binder import Binder
from ebm.infer import sample
from ebm.infer.sampler import Sampler
from ebm.measure import ess
from ebm.nodes import Grid
from ebm.solution import one_tensor
from ebm.targets.target import Target

NODES = 240  # of the quadrature, along each side of the box


class Moments(NamedTuple):
    """The mean (2,) and the covariance (2, 2) of p ∝ exp(-βE)."""

    mean: Tensor
    covariance: Tensor

    def off(self, draws: Tensor) -> Tensor:
        """|y - m|² / tr Σ of draws (..., 2), (...)."""
        return (draws - self.mean).square().sum(-1) / self.covariance.trace()


def moments(target: Target, beta: float) -> Moments:
    """The exact moments at any temperature.

    Args:
        target: an energy of the plane.
        beta: inverse temperature, positive.

    Example:
        >>> from ebm.targets import DoubleWell
        >>> found = moments(DoubleWell(2, height=2.0).double(), 0.5)
        >>> exact = DoubleWell(2, height=1.0).double().covariance  # half as cold, half as high
        >>> bool((found.covariance - exact).abs().max() < 1e-9)
        True
    """
    x0, x1, y0, y1 = target.extent
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    wide, high = ((b - a) * 1.5 * max(1.0, beta**-0.5) for a, b in ((x0, x1), (y0, y1)))
    grid = Grid([x - wide, y - high], [x + wide, y + high], NODES)
    nodes, log_weight = grid.place(Binder(None, 1, torch.float64, torch.device("cpu")), None)
    p = (log_weight[0] - beta * target(y=nodes[0])).softmax(0)
    mean = p @ nodes[0]
    off = nodes[0] - mean
    return Moments(mean, off.T @ (p.unsqueeze(1) * off))


@dataclass
class Walk:
    """The chains of one sampler, from a start that they share.

    Args:
        sampler: how they move.
        start: (B, 2), float64.
        beta: inverse temperature.
        exact: what their draws are held to.

    Attributes:
        draws: all so far, (N, B, 2).
        accepted: the share of proposals accepted so far.
        spread: that of the second half of all draws after each call, with the gradients of a chain by then.
    """

    sampler: Sampler
    start: Tensor
    beta: float
    exact: Moments
    accepted: float = math.nan
    spread: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draws = self.start.new_empty(0, *self.start.shape)

    def go(self, target: Target, gradients: int, generator: Generator) -> None:
        """Go on until every chain has taken so many gradients since the start.

        Example:
            >>> from ebm.infer import HMC
            >>> from ebm.targets import Ring
            >>> ring, start = Ring().double(), torch.tensor([[2.0, 0.0]]).double()
            >>> walk = Walk(HMC(0.1, 5), start, 1.0, moments(ring, 1.0))
            >>> walk.go(ring, 40, torch.Generator().manual_seed(0))
            >>> walk.draws.shape
            torch.Size([8, 1, 2])
        """
        before = len(self.draws)
        more = max(1, gradients // self.sampler.gradients - before)
        here = self.draws[-1] if before else self.start
        found = sample(target, here, self.sampler, num_samples=more, beta=self.beta, generator=generator)
        self.draws = torch.cat([self.draws, one_tensor(found.value)])
        share = float(found.accepted.mean())
        self.accepted = (before * self.accepted + more * share) / (before + more) if before else share
        self.spread.append((float(gradients), float(self.exact.off(self.half).mean())))

    @property
    def half(self) -> Tensor:
        """The second half of the draws, in which the start is forgotten, (N / 2, B, 2)."""
        return self.draws[len(self.draws) // 2 :]

    @property
    def lost(self) -> int:
        """How many chains are so far out that |y - m|² is NaN or infinite."""
        return int((~self.exact.off(self.draws[-1]).isfinite()).sum())

    def numbers(self) -> dict[str, float]:
        """What the second half of the draws says; NaN where there are too few, or chains are lost.

        "spread" with its "standard error" √(Var / ESS), "mean off by" |⟨y⟩ - m| / √tr Σ, and "effective
        draws", the smallest ESS of a coordinate.
        """
        half = self.half
        off = self.exact.off(half)
        size = torch.full((3,), math.nan)
        if len(half) >= 8 and not self.lost:
            size = ess(torch.cat([half, off.unsqueeze(2)], 2), "mean")
        mean = torch.linalg.vector_norm(half.mean((0, 1)) - self.exact.mean)
        return {
            "accepted": self.accepted,
            "spread": float(off.mean()),
            "standard error": float(off.std() / size[2].sqrt()),
            "mean off by": float(mean / self.exact.covariance.trace().sqrt()),
            "effective draws": float(size[:2].amin()),
            "lost chains": float(self.lost),
        }

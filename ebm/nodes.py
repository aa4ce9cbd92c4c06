"""Where a latent variable is integrated: nodes z_k and the logarithms of their weights.

    ∫ f(z) dμ(z)  ≈  Σ_k w_k f(z_k)

Exact for finite sets, quadrature on boxes in one and two dimensions, importance sampling elsewhere. By
default μ is normalized (uniform over the set or box; the proposal itself): `normalized=False` makes it the
sum over the set or the integral dz.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ebm.binder import Binder


class Nodes(nn.Module, ABC):
    """Makes nodes (B, K, *shape) and log-weights (B, K)."""

    normalized: bool

    def draw(self, binder: Binder) -> Tensor | None:
        """Noise for B rows, drawn once a bind; None for fixed nodes."""
        return None

    @abstractmethod
    def place(self, binder: Binder, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
        """The nodes (B, K, *shape) and their log-weights (B, K)."""

    def outside(self, y: Tensor) -> Tensor:
        """Which rows of y, (B, *shape), surely lie outside of what is integrated over, (B,)."""
        return torch.zeros(len(y), dtype=torch.bool, device=y.device)


class Finite(Nodes):
    """A finite set of values: an exact sum.

    Args:
        values: (K, *shape).
        normalized: weights 1/K (an average); else 1 (a sum).
    """

    values: Tensor

    def __init__(self, values: Tensor, normalized: bool = True):
        super().__init__()
        if values.ndim == 0 or len(values) == 0:
            raise ValueError(
                f"Finite needs at least one value, shape (K, *shape); got shape {tuple(values.shape)}."
            )
        self.register_buffer("values", values)
        self.normalized = normalized

    def place(self, binder: Binder, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
        batch, count = binder.need_batch(type(self).__name__), len(self.values)
        values = self.values.to(binder.device)
        if values.is_floating_point():
            values = values.to(binder.dtype)
        weight = -math.log(count) if self.normalized else 0.0
        log_weight = torch.full((batch, count), weight, dtype=binder.dtype, device=binder.device)
        return values.expand(batch, *values.shape), log_weight


class AllChoices(Finite):
    """All n^|shape| values of a discrete latent variable with entries in [0, n): an exact sum."""

    LIMIT = 2**20

    def __init__(self, n: int, *shape: int, normalized: bool = True):
        entries = math.prod(shape)
        if n < 1 or n**entries > self.LIMIT:
            raise ValueError(f"{n}^{entries} values are too many to enumerate; the limit is {self.LIMIT}.")
        powers = n ** torch.arange(entries - 1, -1, -1)
        values = torch.arange(n**entries).unsqueeze(1) // powers % n
        super().__init__(values.view(-1, *shape), normalized)
        self.n = n

    def outside(self, y: Tensor) -> Tensor:
        whole = (y >= 0) & (y < self.n) & (y == y.floor())
        return ~whole.reshape(len(y), -1).all(1)


class Grid(Nodes):
    """Quadrature on a box in one or two dimensions, for a latent of shape (1,) or (2,).

    Args:
        low, high: the box, one number or one per dimension.
        n: nodes per dimension.
        rule: "midpoint" (for a periodic function it converges faster than any power of n) or "legendre"
            (Gauss-Legendre: exact for polynomials of degree 2n - 1).
        normalized: average over the box; else the integral dz.
    """

    nodes: Tensor
    log_weight: Tensor

    def __init__(
        self,
        low: float | Sequence[float],
        high: float | Sequence[float],
        n: int,
        rule: str = "midpoint",
        normalized: bool = True,
    ):
        super().__init__()
        lows = [float(v) for v in low] if isinstance(low, Sequence) else [float(low)]
        highs = [float(v) for v in high] if isinstance(high, Sequence) else [float(high)]
        if len(lows) != len(highs) or len(lows) > 2 or any(a >= b for a, b in zip(lows, highs, strict=True)):
            raise ValueError(f"Grid is a box low < high in 1 or 2 dimensions; got low={low}, high={high}.")
        if rule not in ("midpoint", "legendre"):
            raise ValueError(f"rule is 'midpoint' or 'legendre'; got {rule!r}.")
        if n < 1:
            raise ValueError(f"n is the number of nodes per dimension, at least 1; got {n}.")
        if rule == "midpoint":
            unit, weight = (np.arange(n) + 0.5) / n, np.full(n, 1.0 / n)
        else:
            x, w = np.polynomial.legendre.leggauss(n)
            unit, weight = (x + 1) / 2, w / 2
        axes = [a + (b - a) * torch.from_numpy(unit) for a, b in zip(lows, highs, strict=True)]
        self.register_buffer("nodes", torch.cartesian_prod(*axes).view(-1, len(axes)))
        weights = torch.cartesian_prod(*(torch.from_numpy(weight),) * len(axes)).view(-1, len(axes)).prod(1)
        volume = 1.0 if normalized else math.prod(b - a for a, b in zip(lows, highs, strict=True))
        self.register_buffer("log_weight", (weights * volume).log())
        self.normalized = normalized
        self.low, self.high = lows, highs

    def outside(self, y: Tensor) -> Tensor:
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64, device=y.device)
        if y.shape[1:] != low.shape:  # another variable's grid, which is another mistake
            return super().outside(y)
        return ~((y >= low) & (y <= high)).all(1)

    def place(self, binder: Binder, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = binder.need_batch("Grid")
        nodes, log_weight = (t.to(binder.device, binder.dtype) for t in (self.nodes, self.log_weight))
        return nodes.expand(batch, *nodes.shape), log_weight.expand(batch, -1)


class Importance(Nodes):
    """K draws a row from a Gaussian proposal q = N(mean, std²), fresh at every bind.

    The posterior's `effective_sample_size` tells how many of the draws carry the estimate.

    Args:
        n: draws per row, K.
        mean, std: tensors of the latent's shape.
        normalized: the measure is q itself (the risk over z ~ q); else dz, with weights 1 / (K q(z_k)).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n: int, mean: Tensor, std: Tensor, normalized: bool = False):
        super().__init__()
        if n < 1 or mean.shape != std.shape or not bool((std > 0).all()):
            raise ValueError(
                f"Importance needs n >= 1 and a mean and positive std of one shape; got n={n}, mean "
                f"{tuple(mean.shape)}, std {tuple(std.shape)}."
            )
        self.n, self.normalized = n, normalized
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def draw(self, binder: Binder) -> Tensor:
        shape = (binder.need_batch("Importance"), self.n, *self.mean.shape)
        noise = torch.empty(shape, dtype=binder.dtype or self.mean.dtype, device=binder.device)
        return noise.normal_(generator=binder.generator)

    def place(self, binder: Binder, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
        if drawn is None:
            raise ValueError("Importance places nodes from noise; draw it first.")
        mean, std = self.mean.to(drawn), self.std.to(drawn)
        log_q = (-0.5 * drawn**2 - std.log() - 0.5 * math.log(2 * math.pi)).unsqueeze(-1)
        log_q = log_q.flatten(2).sum(2)  # (B, K), whatever the shape of the latent
        log_weight = torch.zeros_like(log_q) if self.normalized else -log_q
        return mean + std * drawn, log_weight - math.log(self.n)

"""Conditional noise-contrastive estimation: which of two neighbors is the datum, and which was made of it?

    y' ~ p_c(y' | y),        G(y, y') = log [φ(y) p_c(y'|y) / (φ(y') p_c(y|y'))],  φ = exp(-E)
    L = 2 ⟨log(1 + exp(-G))⟩

The pair (y, y') has two stories, and the ratio of their probabilities has neither Z nor a density of the
noise in it. Noise made of the data lies where the data lie, so no one has to design it. With symmetric noise
G = E(y') - E(y): the energy is to rise wherever noise leads from the data.

What it costs: 1 + k energies a row. When it fails: for small noise, L ≈ 2 log 2 + (ε²/2)·J, with J score
matching's loss, whose signal drowns in L's own noise; for large noise the pairs are told apart at a glance.
As only differences of energies of neighbors count, separated modes don't learn their weights.

Reference: Ceylan & Gutmann (2018), "Conditional Noise-Contrastive Estimation of Unnormalised Models".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.loss import Loss, LossOutput


class ConditionalNoise(ABC):
    """Noise p_c(y' | y) around a point."""

    @abstractmethod
    def draw(self, y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        """k points for each row, (B, *shape) -> (B, k, *shape)."""

    @abstractmethod
    def log_ratio(self, y: Tensor, there: Tensor) -> Tensor:
        """log p_c(y'|y) - log p_c(y|y'), (B, k), of y (B, *shape) and y' (B, k, *shape); 0 if symmetric."""


class GaussianSteps(ConditionalNoise):
    """y' = y + s ε, ε ~ N(0, I); symmetric.

    Args:
        scale: s > 0, one number, or one for each entry of a row, (*shape): the data's own standard deviations
            times a constant, where entries have different units.

    Raises:
        ValueError: if the scale isn't positive; on a draw, if it is shaped otherwise than a row.

    Example:
        >>> GaussianSteps(0.1).draw(torch.zeros(3, 2), 4).shape
        torch.Size([3, 4, 2])
    """

    def __init__(self, scale: float | Tensor):
        self.scale = positive("scale", scale)

    def draw(self, y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        scale = torch.as_tensor(self.scale).to(y)
        if scale.ndim and scale.shape != y.shape[1:]:
            raise ValueError(
                f"the scale of GaussianSteps is one number, or one for each entry of a row, "
                f"{tuple(y.shape[1:])}; got {tuple(scale.shape)}."
            )
        noise = y.new_empty(len(y), k, *y.shape[1:]).normal_(generator=generator)
        return y.unsqueeze(1) + scale * noise

    def log_ratio(self, y: Tensor, there: Tensor) -> Tensor:
        return y.new_zeros(there.shape[:2])


class ConditionalNCE(Loss):
    """L = 2⟨log(1 + exp(-G))⟩ over data and k neighbors of each; 2 log 2 for a flat energy.

    Args:
        noise: how neighbors are made; a number or a tensor s stands for `GaussianSteps(s)`.
        neighbors: k >= 1.
        variable: the variable of the energy that is data; all others are given.

    Raises:
        TypeError: for another kind of noise; on a call, for discrete data.
        ValueError: if a setting is out of range.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def flat(y):
        ...     return 0 * y.sum(1)
        >>> ConditionalNCE(0.5)(flat, y=torch.zeros(4, 2)).loss  # 2 log 2
        tensor(1.3863)
    """

    def __init__(self, noise: float | Tensor | ConditionalNoise, neighbors: int = 1, *, variable: str = "y"):
        super().__init__()
        if isinstance(noise, int | float | Tensor):
            noise = GaussianSteps(noise)
        if not isinstance(noise, ConditionalNoise):
            raise TypeError(f"noise is a scale, or a ConditionalNoise with its density; got {noise!r}.")
        self.noise, self.neighbors, self.variable = noise, count("neighbors", neighbors), variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        y = points.y
        there = self.noise.draw(y, self.neighbors, generator)  # (B, k, *shape)
        energies = points.energies(torch.cat([y.unsqueeze(1), there], 1))
        here, beyond = energies[:, :1], energies[:, 1:]
        ratio = beyond - here + self.noise.log_ratio(y, there)  # G
        return LossOutput(2 * softplus(-ratio).mean(), on_and_off(here, beyond))

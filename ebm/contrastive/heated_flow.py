"""Heated flow: descend without noise until near the data, then warm up to the temperature of the density.

    y ← y - h ∇E(y) + √(2 h ε(t)) ξ,        t ← t + h,        ξ ~ N(0, I)

    ε(t) = 0 for t < τ;   ε_max (t - τ)/(1 - τ) up to t = 1;   ε_max from then on

Without noise the flow carries points from noise to data in time 1; with noise ε_max it is Langevin dynamics
of p ∝ exp(-E/ε_max), which forgets where it came from. With τ = 1 it is `minimize(E, y, GradientDescent(h))`
for 1/h steps, and then `sample(E, y, Langevin(h), beta=1/ε_max)`.

Reference: Balcerak et al. (2025), "Energy Matching: Unifying Flow Matching and Energy-Based Models for
Generative Modeling".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.infer.pose import pose
from ebm.problem import Problem


@dataclass(frozen=True)
class HeatedFlow:
    """The Euler scheme of dy = -∇E dt + √(2 ε(t)) dW, all rows in step.

    Attributes:
        step_size: h > 0.
        steps: how many, from wherever the clock starts.
        onset: τ in [0, 1], when it begins to warm.
        temperature: ε_max >= 0.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> flow = HeatedFlow(onset=0.5, temperature=0.1)
        >>> [flow.warmth(t) for t in (0.5, 0.75, 1.0, 2.0)]
        [0.0, 0.05, 0.1, 0.1]
        >>> from ebm import energy
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> cold = HeatedFlow(step_size=0.5, steps=3, temperature=0.0)
        >>> cold(bowl, torch.full((1, 1), 8.0))
        tensor([[1.]])
    """

    step_size: float = 0.01
    steps: int = 200
    onset: float = 1.0
    temperature: float = 0.01

    def __post_init__(self) -> None:
        positive("step_size", self.step_size)
        positive("temperature", self.temperature, zero=True)
        count("steps", self.steps)
        if not 0.0 <= self.onset <= 1.0:
            raise ValueError(f"onset is a time from 0 to 1; got {self.onset}.")

    def warmth(self, t: float) -> float:
        """ε(t)."""
        if t >= 1.0:
            return self.temperature
        return 0.0 if t <= self.onset else self.temperature * (t - self.onset) / (1.0 - self.onset)

    def __call__(
        self,
        energy: Energy,
        start: Tensor | Mapping[str, Tensor],
        *,
        given: Mapping[str, Any] | None = None,
        time: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Where the flow leads, like the start and detached.

        Args:
            energy: an energy, in evaluation mode.
            start: the free variable's value, (B, *shape); {name: value} where the energy has several.
            given: the values of all other variables.
            time: where the clock starts; 0 for points of the prior, 1 for data.
            generator: source of the noise.
        """
        problem, u = pose(energy, start, given, generator=generator)
        return self.follow(problem.detach(), u.detach(), time)

    def follow(self, problem: Problem, u: Tensor, time: float = 0.0) -> Tensor:
        """The same for a problem that is posed."""
        for k in range(self.steps):
            # rounded, so that a hundred steps of 0.01 are 1
            warmth = self.warmth(round(time + k * self.step_size, 9))
            with torch.no_grad():
                _, gradient = problem.value_and_grad(u)
                u = u - self.step_size * gradient
                if warmth:
                    u = u + math.sqrt(2 * self.step_size * warmth) * problem.normal(u)
        return u

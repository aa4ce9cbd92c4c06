"""Dual averaging: turns a setting until a noisy number that falls with it is, on average, what it should be.

    h_t = (1 - 1/(t + t₀)) h_{t-1} + (δ - α_t)/(t + t₀)        how much too little has been accepted so far
    log ε_{t+1} = μ - √t/γ · h_t                               the step size to try next
    log ε̄_t = t^{-κ} log ε_{t+1} + (1 - t^{-κ}) log ε̄_{t-1}    their average, to keep in the end

α_t is the share accepted at step t and δ the share that is wanted; γ = 0.05, t₀ = 10, κ = 0.75, and μ =
log(10 ε_1) prefers large steps, as those that are too large are soon noticed.

Reference: Hoffman & Gelman (2014), "The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian
Monte Carlo", sect. 3.2; Nesterov (2009), "Primal-dual subgradient methods for convex problems".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

GAMMA, T_0, KAPPA = 0.05, 10, 0.75


@dataclass(frozen=True)
class DualAveraging:
    """Where the search for a step size is; one for all chains, or one per chain.

    Attributes:
        center: μ.
        log_step: log ε of the next step.
        average: log ε̄.
        lack: h.
        steps: t.
    """

    center: Tensor
    log_step: Tensor
    average: Tensor
    lack: Tensor
    steps: int = 0

    @classmethod
    def begin(cls, step_size: Tensor) -> DualAveraging:
        """The search from a first step size, 0-dim or (B,)."""
        first = step_size.log()
        return cls(first + math.log(10.0), first, first, torch.zeros_like(first))

    def update(self, accepted: Tensor, target: float) -> DualAveraging:
        """After a step that accepted this share, where `target` is wanted.

        Example:
            >>> search = DualAveraging.begin(torch.tensor(1.0))
            >>> for _ in range(300):  # as if exp(-3 ε) were accepted
            ...     search = search.update(torch.exp(-3 * search.log_step.exp()), 0.5)
            >>> round(float(search.average.exp()), 2)  # near log(2) / 3 = 0.231
            0.24
        """
        t = self.steps + 1
        lack = torch.lerp(self.lack, target - accepted, 1 / (t + T_0))
        log_step = self.center - math.sqrt(t) / GAMMA * lack
        average = torch.lerp(self.average, log_step, t**-KAPPA)
        return replace(self, log_step=log_step, average=average, lack=lack, steps=t)

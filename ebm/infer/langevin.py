"""The unadjusted Langevin algorithm (ULA): noisy gradient descent whose noise has the temperature of p ∝ exp(-βE).

    u ← u - ε ∇E(u) + √(2ε/β) ξ,        ξ ~ N(0, I)

It is the Euler scheme of the diffusion du = -∇E dt + √(2/β) dW, whose stationary density is p. The scheme's own
differs by O(ε), and nothing rejects: on E = ½λu² its variance is 1/(βλ(1 - ελ/2)) in place of 1/(βλ), and for
ελ >= 2 it explodes. `MALA` removes the bias by a test.

Reference: Parisi (1981), "Correlation functions and computer simulations"; Roberts & Tweedie (1996), "Exponential
convergence of Langevin distributions and their discrete approximations", sect. 1.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, positive
from ebm.infer.sampler import Info, Noise, Sampler, setting
from ebm.problem import Problem


class Langevin(Sampler):
    """Unadjusted Langevin dynamics, u ← u - ε ∇E(u) + √(2ε/β) ξ; fast, and biased by O(ε).

    A β far above 1 (a "cold" chain, noise small beside the gradient) is the recipe for images; β = ∞ would be
    gradient descent. A chain that becomes NaN or infinite stays so; `sample` says which.

    Args:
        step_size: ε > 0, one number or one per chain (B,). Stable below 2/L, L the largest curvature of E.

    Example:
        >>> from ebm import energy, sample
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = sample(bowl, torch.zeros(1000, 2), Langevin(0.1), num_samples=1, burn_in=100, generator=g)
        >>> bool((draws.value.var() - 1 / (1 - 0.1 / 2)).abs() < 0.1)
        True
    """

    tested = False

    def __init__(self, step_size: float | Tensor):
        self.step_size = positive("step_size", step_size)

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        drift, beta = setting(problem, self.step_size, u), setting(problem, beta, u)
        return {"u": u, "drift": drift, "spread": (2 * drift / beta).sqrt()}

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u, drift, spread = state["u"], state["drift"], state["spread"]
        _, gradient = problem.value_and_grad(u)
        u = torch.addcmul(u, drift, gradient, value=-1).addcmul_(spread, noise["normal"])
        return {**state, "u": u}, {}

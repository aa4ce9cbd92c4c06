"""The unadjusted Langevin algorithm (ULA): gradient descent with noise of the temperature of p ∝ exp(-βE).

    u ← u - ε ∇E(u) + √(2ε/β) ξ,        ξ ~ N(0, I)

It is the Euler scheme of the diffusion du = -∇E dt + √(2/β) dW, whose stationary density is p. The scheme's
own is off by O(ε), and nothing is ever rejected: on E = ½λu² its variance is 1/(βλ(1 - ελ/2)) in place of
1/(βλ), and for ελ >= 2 it explodes. `MALA` removes the bias by a test.

Reference: Parisi (1981), "Correlation functions and computer simulations"; Roberts & Tweedie (1996),
"Exponential convergence of Langevin distributions and their discrete approximations".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.infer.method import State, positive
from ebm.infer.sampler import Info, Noise, Sampler, setting
from ebm.problem import Problem


class Langevin(Sampler):
    """Unadjusted Langevin dynamics: fast, and biased by O(ε).

    u ← u - ε ∇E(u) + √(2ε/β) ξ. A large β makes the noise small beside the gradient, as is usual for images.
    A chain that comes to where the energy is NaN or infinite is lost; `sample` says which.

    Args:
        step_size: ε > 0, one number or one per chain (B,). Stable below 2/L, L the largest curvature of E.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import sample
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = sample(bowl, torch.zeros(1000, 2), Langevin(0.5), num_samples=1, burn_in=30, generator=g)
        >>> bool((draws.value.var() - 1 / (1 - 0.5 / 2)).abs() < 0.1)  # 4/3; a step that small would give 1
        True
    """

    tested = False

    def __init__(self, step_size: float | Tensor):
        self.step_size = positive("step_size", step_size)

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        drift = setting(problem, self.step_size, u)
        if isinstance(self.step_size, Tensor) or isinstance(beta, Tensor):
            spread = (2 * drift / (setting(problem, beta, u) if isinstance(beta, Tensor) else beta)).sqrt()
        else:
            spread = setting(problem, math.sqrt(2 * self.step_size / beta), u)
        return {"u": u, "drift": drift, "spread": spread, "energies": u.new_zeros(u.shape[:1])}

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u, drift, spread = state["u"], state["drift"], state["spread"]
        value, gradient = problem.value_and_grad(u)
        u = torch.addcmul(u, drift, gradient, value=-1).addcmul_(spread, noise["normal"])
        energies = state["energies"] + value  # a sum remembers NaN and infinity
        return {**state, "u": u, "energies": energies}, {}

"""Hamiltonian Monte Carlo (HMC): roll along the energy with a random momentum, then test.

    H(u, p) = βE(u) + ½ pᵀM⁻¹p,        p ~ N(0, M)
    p ← p - ½εβ ∇E(u),    u ← u + ε M⁻¹p,    p ← p - ½εβ ∇E(u)         a leapfrog step, L of them a proposal
    accept with probability min(1, exp(H before - H after))

The leapfrog is reversible and preserves volume, so the test needs no other term; its error in H is O(ε²)
however long the trajectory. The gradient at the current point is kept, so a proposal takes L gradients. M is
diagonal; the code works with M^{-1/2}p ~ N(0, I), which turns mass into a step size of each coordinate.

Reference: Duane, Kennedy, Pendleton & Roweth (1987), "Hybrid Monte Carlo"; Neal (2011), "MCMC using
Hamiltonian dynamics", sect. 2.3 and 3.2; he finds that accepting 65 % explores fastest in high dimension
(sect. 4.4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count
from ebm.infer.sampler import Info, Noise, half_square, metropolis, setting
from ebm.infer.tunable import Tunable, masses
from ebm.problem import Problem


class HMC(Tunable):
    """Hamiltonian Monte Carlo: L leapfrog steps a proposal, and L gradients.

    A trajectory, εL long, that is just one period of a mode returns to where it began: vary εL where chains
    mix badly although nearly all is accepted.

    Args:
        step_size: ε > 0, one number or one per chain (B,). Stable below 2/√(β c), c the largest curvature
            over mass.
        leapfrogs: L >= 1.
        mass: the diagonal of M > 0: one number, or one per coordinate, shaped like a row of the free variable
            (of several free variables: laid out flat, in their order). Best near 1/variance.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import sample
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = sample(bowl, torch.zeros(1000, 2), HMC(0.3, 5), num_samples=10, burn_in=10, generator=g)
        >>> bool((draws.value.var() - 1).abs() < 0.1), bool(draws.accepted.mean() > 0.95)
        (True, True)
    """

    target = 0.65

    def __init__(self, step_size: float | Tensor, leapfrogs: int = 10, mass: float | Tensor = 1.0):
        super().__init__(step_size, mass)
        self.leapfrogs = self.gradients = count("leapfrogs", leapfrogs)

    def scales(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        drift = setting(problem, self.step_size, u) / masses(self.mass, u).sqrt()
        return {
            "drift": drift,
            "kick": setting(problem, beta, u) * drift,
            "beta": torch.as_tensor(beta, dtype=u.dtype, device=u.device),
        }

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        beta, p = state["beta"], noise["normal"]
        proposal, new_p = leapfrog(problem, state, p, self.leapfrogs)
        before = torch.addcmul(half_square(p), beta, state["value"])
        after = torch.addcmul(half_square(new_p), beta, proposal["value"])
        return metropolis(state, proposal, before, after, noise["uniform"])


def leapfrog(problem: Problem, state: State, p: Tensor, steps: int) -> tuple[State, Tensor]:
    """The point (`u`, `value`, `gradient`) and the momentum after so many leapfrog steps.

    Args:
        problem: the energy.
        state: a state of `HMC`: where to begin, the gradient there, ε M^{-1/2} (`drift`), β times it
            (`kick`).
        p: M^{-1/2} times the momentum, like u.
        steps: at least 1.
    """
    u, gradient, drift, kick = state["u"], state["gradient"], state["drift"], state["kick"]
    p = torch.addcmul(p, kick, gradient, value=-0.5)
    for left in reversed(range(steps)):
        u = torch.addcmul(u, drift, p)
        value, gradient = problem.value_and_grad(u)
        p = torch.addcmul(p, kick, gradient, value=-1.0 if left else -0.5)  # two half kicks are one
    return {"u": u, "value": value, "gradient": gradient}, p

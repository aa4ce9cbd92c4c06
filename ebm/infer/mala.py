"""The Metropolis-adjusted Langevin algorithm (MALA): a Langevin step, and a test that makes it exact.

    u' = u - ε M⁻¹∇E(u) + √(2ε/β) M^{-1/2} ξ,        ξ ~ N(0, I)
    ξ' = √(βε/2) M^{-1/2} (∇E(u) + ∇E(u')) - ξ               the noise that would lead back from u' to u
    accept with probability min(1, exp(βE(u) + ½|ξ|² - βE(u') - ½|ξ'|²))

The density of proposing u' from u is proportional to exp(-½|ξ|²), that of the way back to exp(-½|ξ'|²), so
this is the ratio of Metropolis and Hastings, written without a difference of large numbers. M is diagonal:
a preconditioner, that gives each coordinate a step size of its own, ε/m.

Reference: Besag (1994), comment on "Representations of knowledge in complex systems"; Roberts & Tweedie
(1996); Roberts & Rosenthal (1998), "Optimal scaling of discrete approximations to Langevin
diffusions", who find that accepting 57 % explores fastest in high dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.infer.sampler import Info, Noise, half_square, metropolis, setting
from ebm.infer.tunable import Tunable, masses
from ebm.problem import Problem


class MALA(Tunable):
    """Langevin proposals with the exact Metropolis correction; one gradient a step.

    Args:
        step_size: ε > 0, one number or one per chain (B,); smaller where fewer than about half are accepted.
        mass: the diagonal of M > 0: one number, or one per coordinate, shaped like a row of the free variable
            (of several free variables: laid out flat, in their order). Best near 1/variance.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import sample
        >>> @energy
        ... def bowl(y):
        ...     return 0.5 * (y**2).sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = sample(bowl, torch.zeros(1000, 2), MALA(0.5), num_samples=10, burn_in=30, generator=g)
        >>> bool((draws.value.var() - 1).abs() < 0.1), bool(draws.accepted.mean() > 0.8)
        (True, True)
    """

    target = 0.574

    def scales(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        drift, shaped = setting(problem, self.step_size, u) / masses(self.mass, u), setting(problem, beta, u)
        return {
            "drift": drift,
            "spread": (2 * drift / shaped).sqrt(),
            "back": (shaped * drift / 2).sqrt(),
            "beta": torch.as_tensor(beta, dtype=u.dtype, device=u.device),
        }

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u, gradient, beta, xi = state["u"], state["gradient"], state["beta"], noise["normal"]
        u = torch.addcmul(u, state["drift"], gradient, value=-1).addcmul_(state["spread"], xi)
        value, new_gradient = problem.value_and_grad(u)
        minus_back = torch.addcmul(xi, state["back"], gradient + new_gradient, value=-1)  # -ξ'
        before = torch.addcmul(half_square(xi), beta, state["value"])
        after = torch.addcmul(half_square(minus_back), beta, value)
        proposal = {"u": u, "value": value, "gradient": new_gradient}
        return metropolis(state, proposal, before, after, noise["uniform"])

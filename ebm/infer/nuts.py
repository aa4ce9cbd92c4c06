"""The No-U-Turn sampler (NUTS): Hamiltonian Monte Carlo whose trajectories end where they turn back.

    H(u, p) = βE(u) + ½ pᵀM⁻¹p,        p ~ N(0, M)

A step draws a momentum, lets a trajectory of leapfrog steps grow at both ends until it makes a U-turn
(`ebm.infer.trajectory`), and takes a point of it: with the weight exp(-H), so no test is needed, and with a
preference for points far away, which leaves p as it is all the same.

Reference: Hoffman & Gelman (2014), "The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian
Monte Carlo", algorithm 3; Betancourt (2017), "A conceptual introduction to Hamiltonian Monte Carlo".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count
from ebm.infer.sampler import Info, Noise, setting
from ebm.infer.trajectory import Trajectories
from ebm.infer.tunable import Tunable, masses
from ebm.problem import Problem


class NUTS(Tunable):
    """The No-U-Turn sampler: HMC that finds the length of every trajectory itself.

    A step takes up to 2^max_depth - 1 gradients. It leaves p as it is but is in no detailed balance.
    `accepted` is the mean of min(1, exp(H of the start - H)) over the points looked at, which `warm_up` holds
    at 0.8; `Samples.report["gradients"]` is their number, (B,). Divergences, a rise of H by more than 1000,
    tell of places too steep for the step size, which it then cannot enter.

    Args:
        step_size: ε > 0, one number or one per chain (B,). Stable below 2/√(β c), c the largest curvature
            over mass.
        mass: the diagonal of M > 0: one number, or one per coordinate, shaped like a row of the free variable
            (of several free variables: laid out flat, in their order). Best near 1/variance.
        max_depth: doublings at most, at least 1.

    Example:
        >>> from ebm.infer import sample
        >>> from ebm.targets import Ring
        >>> g, ring = torch.Generator().manual_seed(0), Ring(radius=2.0, width=0.5)
        >>> draws = sample(ring, torch.ones(500, 2), NUTS(0.3), num_samples=20, burn_in=20, generator=g)
        >>> bool((draws.value.var((0, 1)) - ring.covariance.diagonal()).abs().max() < 0.1)
        True
    """

    target = 0.8
    one_test = False
    compiles = False
    reports = ("gradients",)

    def __init__(self, step_size: float | Tensor, mass: float | Tensor = 1.0, max_depth: int = 10):
        super().__init__(step_size, mass)
        self.max_depth = count("max_depth", max_depth)
        self.gradients = 2**max_depth - 1

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        return {**super().init(problem, u, beta), "gradients": u.new_zeros(len(u))}

    def scales(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        step = (setting(problem, self.step_size, u) / masses(self.mass, u).sqrt()).expand_as(u)
        beta = torch.as_tensor(beta, dtype=u.dtype, device=u.device)
        return {"step": step, "kick": setting(problem, beta, u) * step, "beta": beta.expand(len(u))}

    def noise(self, u: Tensor) -> Noise:
        """A momentum; for every doubling: at which end, whether to take its point, whose point to take."""
        return {"normal": torch.empty_like(u), "uniform": u.new_empty(len(u), 3, self.max_depth)}

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        grown = Trajectories(problem, state, noise)
        for depth in range(self.max_depth):
            if grown.going:
                grown.double(depth)
        grown.end_all()
        report = {"gradients": grown.looked}
        counts = {"divergent": grown.divergent, "nonfinite": grown.nonfinite}
        info = {"accepted": grown.chance / grown.looked, **counts, **report}
        return {**state, **grown.drawn, **report}, info

"""What tested gradient samplers share: a step size ε and a mass M, which a warm-up can set.

    u ~ p ∝ exp(-βE(u)),        M = diag(m) > 0,  best near 1/variance of p, coordinate by coordinate

A mass is a change of units: a sampler with mass m moves u as the same sampler without one moves √m u. Where
coordinates differ in scale, it lets one step size suit them all. `ebm.infer.warm_up` sets both.

Reference: Neal (2011), "MCMC using Hamiltonian dynamics", sect. 4.1; Girolami & Calderhead (2011), "Riemann
manifold Langevin and Hamiltonian Monte Carlo methods", for Langevin steps with a constant metric.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from ebm.infer.method import State, positive
from ebm.infer.sampler import Sampler
from ebm.problem import Problem


class Tunable(Sampler):
    """A sampler with a test, whose step size and mass can be set anew while its chains go on.

    Args:
        step_size: ε > 0, one number or one per chain (B,).
        mass: the diagonal of M > 0: one number, or one per coordinate, shaped like a row of the free variable
            (of several free variables: laid out flat, in their order).
    """

    target: ClassVar[float]  # the share of accepted proposals that explores fastest

    def __init__(self, step_size: float | Tensor, mass: float | Tensor = 1.0):
        self.step_size, self.mass = positive("step_size", step_size), positive("mass", mass)

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        return {"u": u, "value": value, "gradient": gradient, **self.scales(problem, u, beta)}

    @abstractmethod
    def scales(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        """What ε, M and β come to in a state, 0-dim or shaped like u; takes no gradient."""

    def tuned(self, step_size: float | Tensor, mass: float | Tensor) -> Self:
        """The same sampler with another step size and mass."""
        out = copy.copy(self)
        out.step_size, out.mass = positive("step_size", step_size), positive("mass", mass)
        return out


def masses(mass: float | Tensor, u: Tensor) -> Tensor:
    """A mass as a tensor that multiplies u fast: 0-dim, or shaped like u."""
    mass = torch.as_tensor(mass, dtype=u.dtype, device=u.device)
    if mass.ndim and mass.shape != u.shape[1:]:
        raise ValueError(
            f"mass is one number, or one per coordinate, shape {tuple(u.shape[1:])}; got {tuple(mass.shape)}."
        )
    return mass.expand_as(u).contiguous() if mass.ndim else mass

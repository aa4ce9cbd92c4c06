"""Inference: finding the variables that make an energy small, and sampling them; one method a file."""

from __future__ import annotations

from ebm.infer.adam import Adam
from ebm.infer.categorical_cem import CategoricalCEM
from ebm.infer.cem import CEM
from ebm.infer.coordinate import CoordinateDescent
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.hmc import HMC
from ebm.infer.langevin import Langevin
from ebm.infer.lbfgs import LBFGS
from ebm.infer.mala import MALA
from ebm.infer.minimize import minimize
from ebm.infer.newton import Newton, TruncatedNewton
from ebm.infer.proximal import FISTA, ProximalGradient, SpaRSA
from ebm.infer.sample import sample
from ebm.infer.wolfe import Wolfe

__all__ = [
    "CEM",
    "FISTA",
    "HMC",
    "LBFGS",
    "MALA",
    "Adam",
    "Armijo",
    "CategoricalCEM",
    "CoordinateDescent",
    "DynamicProgramming",
    "Enumerate",
    "GradientDescent",
    "Langevin",
    "Momentum",
    "Nesterov",
    "Newton",
    "ProximalGradient",
    "SpaRSA",
    "TruncatedNewton",
    "Wolfe",
    "minimize",
    "sample",
]

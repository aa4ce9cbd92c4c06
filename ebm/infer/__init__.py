"""Inference: finding the variables that make an energy small, and sampling them; one method a file."""

from __future__ import annotations

from ebm.infer.categorical_cem import CategoricalCEM
from ebm.infer.cem import CEM
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.hmc import HMC
from ebm.infer.langevin import Langevin
from ebm.infer.mala import MALA
from ebm.infer.minimize import minimize
from ebm.infer.proximal import FISTA, ProximalGradient, SpaRSA
from ebm.infer.sample import sample

__all__ = [
    "CEM",
    "FISTA",
    "HMC",
    "MALA",
    "Armijo",
    "CategoricalCEM",
    "DynamicProgramming",
    "Enumerate",
    "GradientDescent",
    "Langevin",
    "Momentum",
    "Nesterov",
    "ProximalGradient",
    "SpaRSA",
    "minimize",
    "sample",
]

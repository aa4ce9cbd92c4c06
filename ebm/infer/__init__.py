"""Inference: finding the variables that make an energy small, and sampling them; one method a file."""

from __future__ import annotations

from ebm.infer.cem import CEM
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.minimize import minimize
from ebm.infer.proximal import FISTA, ProximalGradient, SpaRSA

__all__ = [
    "CEM",
    "FISTA",
    "Armijo",
    "DynamicProgramming",
    "Enumerate",
    "GradientDescent",
    "Momentum",
    "Nesterov",
    "ProximalGradient",
    "SpaRSA",
    "minimize",
]

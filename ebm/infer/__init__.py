"""Inference: finding the variables that make an energy small, and sampling them; one method a file."""

from __future__ import annotations

from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.minimize import minimize

__all__ = ["Armijo", "GradientDescent", "Momentum", "Nesterov", "minimize"]

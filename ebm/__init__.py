"""ebm: everything is an energy, and every answer is found by minimizing one.

E : (x, y, z, ...) ↦ ℝ, one number a row, low where the variables fit together;  p ∝ exp(-βE)
"""

from __future__ import annotations

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.function import energy
from ebm.heap import keep_freed_memory
from ebm.infer.minimize import minimize
from ebm.infer.sample import sample
from ebm.latent import min_over
from ebm.marginal import marginal_over
from ebm.solution import Samples, Solution
from ebm.staged import Staged

__all__ = [
    "Choices",
    "Energy",
    "Samples",
    "Solution",
    "Staged",
    "energy",
    "marginal_over",
    "min_over",
    "minimize",
    "sample",
]
__version__ = "0.1.0"

keep_freed_memory()

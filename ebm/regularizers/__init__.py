"""Energies of one variable: what a code costs (norms), and where it may lie (constraints)."""

from __future__ import annotations

from ebm.regularizers.constraints import Ball, Box, NonNegative, Simplex, Sphere
from ebm.regularizers.norms import L1, L2, GroupL1, NonNegativeL1
from ebm.regularizers.regularizer import Regularizer

__all__ = [
    "L1",
    "L2",
    "Ball",
    "Box",
    "GroupL1",
    "NonNegative",
    "NonNegativeL1",
    "Regularizer",
    "Simplex",
    "Sphere",
]

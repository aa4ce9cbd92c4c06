"""Energies of one variable: what a code costs (norm, count, probability, motion), and where it may lie."""

from __future__ import annotations

from ebm.regularizers.constraints import Ball, Box, NonNegative, Simplex, Sphere
from ebm.regularizers.contraction import Contraction, squared_jacobian
from ebm.regularizers.counts import L0, OneHot, TopK
from ebm.regularizers.nonnegative_counts import KSparse, NonNegativeL0
from ebm.regularizers.norms import L1, L2, GroupL1, NonNegativeL1
from ebm.regularizers.probabilities import KL, Entropy
from ebm.regularizers.regularizer import Regularizer

__all__ = [
    "KL",
    "L0",
    "L1",
    "L2",
    "Ball",
    "Box",
    "Contraction",
    "Entropy",
    "GroupL1",
    "KSparse",
    "NonNegative",
    "NonNegativeL0",
    "NonNegativeL1",
    "OneHot",
    "Regularizer",
    "Simplex",
    "Sphere",
    "TopK",
    "squared_jacobian",
]

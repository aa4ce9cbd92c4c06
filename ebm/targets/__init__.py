"""Analytic energies with known answers: minima, log Z, moments and exact samples to be right against."""

from __future__ import annotations

from ebm.targets.ackley import Ackley
from ebm.targets.banana import Banana
from ebm.targets.discrete import DiscreteTarget
from ebm.targets.double_well import DoubleWell
from ebm.targets.ellipse import Ellipse, ellipse_data
from ebm.targets.funnel import Funnel
from ebm.targets.gaussian import Gaussian
from ebm.targets.himmelblau import Himmelblau
from ebm.targets.ising import Ising
from ebm.targets.lattice import chessboard, neighbors
from ebm.targets.mixture import Mixture
from ebm.targets.potts import Potts
from ebm.targets.rastrigin import Rastrigin
from ebm.targets.ring import Ring
from ebm.targets.rosenbrock import Rosenbrock
from ebm.targets.target import Target
from ebm.targets.transfer_matrix import ising_strip_log_z

__all__ = [
    "Ackley",
    "Banana",
    "DiscreteTarget",
    "DoubleWell",
    "Ellipse",
    "Funnel",
    "Gaussian",
    "Himmelblau",
    "Ising",
    "Mixture",
    "Potts",
    "Rastrigin",
    "Ring",
    "Rosenbrock",
    "Target",
    "chessboard",
    "ellipse_data",
    "ising_strip_log_z",
    "neighbors",
]

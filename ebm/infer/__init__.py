"""Inference: finding the variables that make an energy small, and sampling them; one method a file."""

from __future__ import annotations

from ebm.infer.a_star import AStar
from ebm.infer.adam import Adam
from ebm.infer.annealed_importance import LogPartition, log_partition
from ebm.infer.annealed_langevin import annealed_langevin
from ebm.infer.augmented_lagrangian import AugmentedLagrangian
from ebm.infer.beam_search import BeamSearch
from ebm.infer.block_gibbs import BlockGibbs
from ebm.infer.categorical_cem import CategoricalCEM
from ebm.infer.cem import CEM
from ebm.infer.coordinate import CoordinateDescent
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gibbs import Gibbs
from ebm.infer.gibbs_with_gradients import GibbsWithGradients
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.graph_search import GraphSearch
from ebm.infer.hmc import HMC
from ebm.infer.icem import ICEM
from ebm.infer.langevin import Langevin
from ebm.infer.lbfgs import LBFGS
from ebm.infer.mala import MALA
from ebm.infer.mcts import MCTS
from ebm.infer.minimize import minimize
from ebm.infer.mppi import MPPI
from ebm.infer.multi_start import MultiStart
from ebm.infer.newton import Newton, TruncatedNewton
from ebm.infer.nuts import NUTS
from ebm.infer.proximal import FISTA, ProximalGradient, SpaRSA
from ebm.infer.refined import Refined
from ebm.infer.sample import sample
from ebm.infer.svgd import svgd
from ebm.infer.tempering import ParallelTempering
from ebm.infer.underdamped import UnderdampedLangevin
from ebm.infer.warm_up import WarmedUp, warm_up
from ebm.infer.wolfe import Wolfe

__all__ = [
    "CEM",
    "FISTA",
    "HMC",
    "ICEM",
    "LBFGS",
    "MALA",
    "MCTS",
    "MPPI",
    "NUTS",
    "AStar",
    "Adam",
    "Armijo",
    "AugmentedLagrangian",
    "BeamSearch",
    "BlockGibbs",
    "CategoricalCEM",
    "CoordinateDescent",
    "DynamicProgramming",
    "Enumerate",
    "Gibbs",
    "GibbsWithGradients",
    "GradientDescent",
    "GraphSearch",
    "Langevin",
    "LogPartition",
    "Momentum",
    "MultiStart",
    "Nesterov",
    "Newton",
    "ParallelTempering",
    "ProximalGradient",
    "Refined",
    "SpaRSA",
    "TruncatedNewton",
    "UnderdampedLangevin",
    "WarmedUp",
    "Wolfe",
    "annealed_langevin",
    "log_partition",
    "minimize",
    "sample",
    "svgd",
    "warm_up",
]

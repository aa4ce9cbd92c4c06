"""The list of minimizers: every one of this package, with the problems that suit it.

A new minimizer is put on it, one line, and inherits the whole contract, in the project's tests and on CUDA
(`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ebm.infer.a_star import AStar
from ebm.infer.adam import Adam
from ebm.infer.augmented_lagrangian import AugmentedLagrangian
from ebm.infer.beam_search import BeamSearch
from ebm.infer.categorical_cem import CategoricalCEM
from ebm.infer.cem import CEM
from ebm.infer.coordinate import CoordinateDescent
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.graph_search import GraphSearch
from ebm.infer.icem import ICEM
from ebm.infer.lbfgs import LBFGS
from ebm.infer.mcts import MCTS
from ebm.infer.method import Method
from ebm.infer.mppi import MPPI
from ebm.infer.multi_start import MultiStart
from ebm.infer.newton import Newton, TruncatedNewton
from ebm.infer.proximal import FISTA, ProximalGradient, SpaRSA
from ebm.infer.refined import Refined
from ebm.plan.collocation import GRASP
from ebm.plan.costs import ActionPenalty, GoalDistance
from ebm.plan.trajectory import TrajectoryEnergy
from ebm.rows import norm
from ebm.targets.double_well import DoubleWell
from ebm.targets.gaussian import Gaussian
from ebm.targets.himmelblau import Himmelblau
from ebm.targets.rastrigin import Rastrigin
from ebm.targets.ring import Ring
from ebm.targets.rosenbrock import Rosenbrock
from ebm.testing.examples import randn
from ebm.testing.penalized import boxed, lasso, shrunk
from ebm.testing.posed import Posed, bowl, nearest, springs, tagging, target
from ebm.testing.walking import walking
from ebm.world.known import KnownDynamics


@dataclass(frozen=True)
class MinimizerMember:
    """A minimizer with its problems.

    Attributes:
        method: the minimizer.
        problems: on which it is held to the whole contract.
        reaches: more of them, whose answers it has to reach with a true report.
        tolerance: of a neighbor's influence, as in `check_neighbors`.
        bowls: whether it takes a bowl, as in `check_minimizer`.
    """

    method: Method
    problems: Sequence[Posed]
    reaches: Sequence[Posed] = field(default_factory=list)
    tolerance: float = 0.0
    bowls: bool = True


def minimizers(device: torch.device | str = "cpu") -> dict[str, MinimizerMember]:
    """Every minimizer of the package; settings per row lie on `device`, the problems on the CPU."""
    around = 0.5 * randn(4, 2)
    gaussian = target(Gaussian(around[0], torch.eye(2, dtype=torch.float64)), 3 * around)
    wells = target(DoubleWell().double(), around + 0.1)
    hills = target(Himmelblau().double(), 3 * around, reach=1e-4, max_steps=20000)
    ring = target(Ring().double(), 2 * around + 1, reach=1e-4)
    valley = target(Rosenbrock(4).double(), 1 + 0.3 * randn(4, 4))
    smooth = [gaussian, wells, hills, ring]
    few = {"max_steps": 150, "tol": 1e-6}
    loose = {"tol": 1e-3, "reach": 1e-2}
    egg_box = target(Rastrigin().double(), 2 * around, reach=1e-3, **few)
    egg_box_to_refine = target(Rastrigin().double(), 2 * around)
    near = {**few, "reach": 1e-4}
    rates = torch.linspace(0.2, 0.45, 4, dtype=torch.float64, device=device)
    fused = 1e-9  # multiply-and-adds are fused in full vectors of SIMD alone, so in rows by their place
    sparse = [shrunk(), shrunk(4), shrunk(2, 3), boxed(3), lasso()]
    values = randn(50, 2, seed=7)
    return {
        "GradientDescent": MinimizerMember(GradientDescent(0.4), everywhere(), [gaussian]),
        "GradientDescent, small": MinimizerMember(GradientDescent(0.01), [], [wells, hills, ring]),
        "GradientDescent, a step for each row": MinimizerMember(GradientDescent(rates), [], everywhere()),
        "Armijo": MinimizerMember(Armijo(), everywhere(), smooth),
        "Momentum": MinimizerMember(Momentum(0.2, 0.5), everywhere(), [gaussian]),
        "Nesterov": MinimizerMember(Nesterov(0.4), everywhere(), [gaussian]),
        "Adam": MinimizerMember(Adam(0.03), everywhere(**loose), [gaussian], fused),
        "LBFGS": MinimizerMember(LBFGS(), everywhere(), [*smooth, valley]),
        "LBFGS of one pair": MinimizerMember(LBFGS(history=1), everywhere(), [*smooth, valley]),
        "Newton": MinimizerMember(Newton(), everywhere(), [*smooth, valley]),
        "TruncatedNewton": MinimizerMember(TruncatedNewton(), everywhere(), [*smooth, valley]),
        "ProximalGradient": MinimizerMember(ProximalGradient(), [*sparse, *everywhere()], smooth),
        "FISTA": MinimizerMember(FISTA(), [*sparse, *everywhere()], smooth),
        "SpaRSA": MinimizerMember(SpaRSA(), [*sparse, *everywhere()], smooth),
        "CoordinateDescent": MinimizerMember(CoordinateDescent(), [*sparse, *everywhere()], [gaussian]),
        "CEM": MinimizerMember(CEM(400, 40, std=2.0), everywhere(**few), [wells, egg_box]),
        "ICEM": MinimizerMember(ICEM(200, 20, std=2.0, exponent=0.5), everywhere(**near), [wells, egg_box]),
        "MPPI": MinimizerMember(MPPI(400, 1.0, std=2.0, shrink=0.9), everywhere(**near)),
        "MultiStart": MinimizerMember(MultiStart(LBFGS(), 4), everywhere(), [*smooth, valley]),
        "MultiStart of GradientDescent": MinimizerMember(MultiStart(GradientDescent(rates)), [], [bowl(4)]),
        "Refined": MinimizerMember(
            Refined(CEM(200, 20, std=3.0), LBFGS(), 8), everywhere(), [wells, egg_box_to_refine], fused
        ),
        "AugmentedLagrangian": MinimizerMember(AugmentedLagrangian(LBFGS()), everywhere(), [gaussian, wells]),
        "GraphSearch": MinimizerMember(GraphSearch(0.5, good_enough=0.0), [walking()]),
        "GRASP": MinimizerMember(GRASP(noise=0.1, iterations=5), [reaching(tol=1e-6)], bowls=False),
        "CategoricalCEM": MinimizerMember(CategoricalCEM(), [tagging(max_steps=100)]),
        "Enumerate": MinimizerMember(Enumerate(), [tagging()]),
        "Enumerate, given values": MinimizerMember(Enumerate(values), [nearest(values)]),
        "AStar": MinimizerMember(AStar(), [tagging(), tagging(choices=2, length=5)]),
        "BeamSearch": MinimizerMember(BeamSearch(20), [tagging(), tagging(choices=2, length=5)]),
        "MCTS": MinimizerMember(MCTS(), [tagging(), tagging(choices=2, length=5)]),
        "DynamicProgramming": MinimizerMember(
            DynamicProgramming(), [tagging(), tagging(choices=2, length=5)]
        ),
    }


def everywhere(**settings: Any) -> list[Posed]:
    """Bowls of shapes (B,), (B, 4) and (B, 2, 3), and two variables at once."""
    return [bowl(**settings), bowl(4, **settings), bowl(2, 3, **settings), springs(**settings)]


def reaching(horizon: int = 3, batch: int = 4, **settings: Any) -> Posed:
    """A plan in the plane, s' = s + a: argmin_a (1/T) Σ_t |s_t - g|² + (1/10T) Σ_t |a_t|² is linear in g."""
    cost = GoalDistance() + 0.1 * ActionPenalty()
    energy = TrajectoryEnergy(KnownDynamics(lambda s, a: s + a, action_size=2), cost)
    given = {"observation": randn(batch, 2), "goal": randn(batch, 2, seed=1)}
    sums = torch.ones(horizon, horizon, dtype=torch.float64).tril()  # s_t - s_0 = Σ_{u<t} a_u
    way = (given["goal"] - given["observation"]).unsqueeze(1).expand(-1, horizon, -1)
    matrix = sums.T @ sums + 0.1 * torch.eye(horizon, dtype=torch.float64)
    best = torch.linalg.solve(matrix, sums.T @ way)

    def distance(value: dict[str, Tensor]) -> Tensor:
        return norm(value["actions"] - best.to(value["actions"]))

    over = {"actions": 0.3 * randn(batch, horizon, 2, seed=2)}
    return Posed(energy, over, given, distance, name="a plan in the plane", **settings)

"""Contracts as functions: hold your own energies, minimizers and samplers to what is asked of this package's.

    from ebm.testing import check_energy
    def test_my_energy():
        check_energy(MyEnergy(), {"x": torch.randn(3, 2), "y": torch.randn(3, 2)})

Each contract is also there in parts. `ebm.testing.strategies` generates energies, examples and problems for
hypothesis; nothing else here needs hypothesis.
"""

from __future__ import annotations

from ebm.testing.algebra import check_algebra
from ebm.testing.binding import check_binding
from ebm.testing.chains import check_chains, check_counts
from ebm.testing.collapse import check_collapse
from ebm.testing.criterion import CriterionMember, check_criterion
from ebm.testing.derivatives import check_derivatives
from ebm.testing.energy import check_energy
from ebm.testing.loss_recovery import LossMember
from ebm.testing.losses import check_loss
from ebm.testing.minimizer import check_dtype, check_minimizer, check_solution_derivative
from ebm.testing.moments import check_balance, check_moments
from ebm.testing.neighbors import check_neighbors
from ebm.testing.poison import check_poison
from ebm.testing.posed import Posed
from ebm.testing.processes import WorkerError, run_processes
from ebm.testing.protocol import check_protocol
from ebm.testing.proximal import check_prox
from ebm.testing.rows import check_rows
from ebm.testing.sampler import check_sampler
from ebm.testing.solutions import check_reaches, check_report
from ebm.testing.state import check_state
from ebm.testing.verdict import (
    ContractError,
    CriterionContractError,
    EnergyContractError,
    LossContractError,
    MinimizerContractError,
    SamplerContractError,
)

__all__ = [
    "ContractError",
    "CriterionContractError",
    "CriterionMember",
    "EnergyContractError",
    "LossContractError",
    "LossMember",
    "MinimizerContractError",
    "Posed",
    "SamplerContractError",
    "WorkerError",
    "check_algebra",
    "check_balance",
    "check_binding",
    "check_chains",
    "check_collapse",
    "check_counts",
    "check_criterion",
    "check_derivatives",
    "check_dtype",
    "check_energy",
    "check_loss",
    "check_minimizer",
    "check_moments",
    "check_neighbors",
    "check_poison",
    "check_protocol",
    "check_prox",
    "check_reaches",
    "check_report",
    "check_rows",
    "check_sampler",
    "check_solution_derivative",
    "check_state",
    "run_processes",
]

"""Contracts as functions: hold your own energies, minimizers and samplers to what is asked of this package's.

    from ebm.testing import check_energy
    def test_my_energy():
        check_energy(MyEnergy(), {"x": torch.randn(3, 2), "y": torch.randn(3, 2)})

`ebm.testing.strategies` generates energies and examples for hypothesis; nothing else here needs hypothesis.
"""

from __future__ import annotations

from ebm.testing.algebra import check_algebra
from ebm.testing.binding import check_binding
from ebm.testing.derivatives import check_derivatives
from ebm.testing.energy import check_energy
from ebm.testing.proximal import check_prox
from ebm.testing.rows import check_rows
from ebm.testing.state import check_state
from ebm.testing.verdict import (
    ContractError,
    EnergyContractError,
    MinimizerContractError,
    SamplerContractError,
)

__all__ = [
    "ContractError",
    "EnergyContractError",
    "MinimizerContractError",
    "SamplerContractError",
    "check_algebra",
    "check_binding",
    "check_derivatives",
    "check_energy",
    "check_prox",
    "check_rows",
    "check_state",
]

"""The contract of an energy, held by every one on the list in `ebm.testing.energy_list` and by random ones.

A new energy is put on that list with a value for each of its variables, and inherits all of this.
"""

from __future__ import annotations

import pytest
from hypothesis import given

from ebm.testing import (
    check_algebra,
    check_binding,
    check_derivatives,
    check_energy,
    check_prox,
    check_rows,
    check_state,
)
from ebm.testing.energy_list import EnergyMember, energies
from ebm.testing.strategies import Case, mixtures, networks, quadratics
from ebm.testing.strategies import energies as any_energies

MEMBERS = energies()
EVERY = pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items()])


@EVERY
def test_is_one_number_a_row_that_depends_on_its_row_alone(member: EnergyMember) -> None:
    check_rows(member.energy, member.example, bitwise=member.bitwise)


@EVERY
def test_has_the_derivatives_of_its_values(member: EnergyMember) -> None:
    check_derivatives(member.energy, member.example)


@pytest.mark.parametrize(
    "member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if hasattr(m.energy, "prox")]
)
def test_has_the_prox_of_its_definition(member: EnergyMember) -> None:
    check_prox(member.energy, member.example)


@EVERY
def test_is_itself_when_bound_and_its_rows_can_be_moved(member: EnergyMember) -> None:
    check_binding(member.energy, member.example)


@EVERY
def test_adds_scales_and_composes_as_numbers_do(member: EnergyMember) -> None:
    check_algebra(member.energy, member.example)


@EVERY
def test_is_itself_after_saving_and_loading(member: EnergyMember) -> None:
    check_state(member.energy, member.example)


@given(any_energies())
def test_sums_scalings_and_compositions_hold_the_whole_contract(case: Case) -> None:
    check_energy(case.energy, case.example)


@given(quadratics())
def test_quadratics_of_any_shape(case: Case) -> None:
    check_energy(case.energy, case.example)


@given(mixtures())
def test_mixtures(case: Case) -> None:
    check_energy(case.energy, case.example)


@given(networks())
def test_networks_of_any_shape(case: Case) -> None:
    check_energy(case.energy, case.example)

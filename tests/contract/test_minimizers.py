"""The contract of a minimizer, held by every minimizer on the list in `ebm.testing.minimizer_list`.

A new minimizer is put on that list with the problems that suit it, and inherits all of this.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from ebm.infer import Armijo, GradientDescent
from ebm.testing.minimizer import check_dtype, check_solution_derivative
from ebm.testing.minimizer_list import MinimizerMember, minimizers
from ebm.testing.neighbors import check_neighbors
from ebm.testing.poison import check_poison
from ebm.testing.posed import Posed
from ebm.testing.protocol import check_protocol
from ebm.testing.solutions import check_reaches, check_report
from ebm.testing.strategies import posed

MEMBERS = minimizers()
CHECKED = [pytest.param(m, p, id=f"{n} on {p}") for n, m in MEMBERS.items() for p in m.problems]
REACHED = [
    pytest.param(m, p, id=f"{n} on {p}") for n, m in MEMBERS.items() for p in (*m.problems, *m.reaches)
]
SMOOTH = [n for n, m in MEMBERS.items() if m.problems and m.bowls and not m.method.discrete]
EVERY = pytest.mark.parametrize("member, problem", CHECKED)


@pytest.mark.parametrize("member, problem", REACHED)
def test_reaches_known_minima(member: MinimizerMember, problem: Posed) -> None:
    check_reaches(member.method, problem)


@pytest.mark.parametrize("member, problem", REACHED)
def test_reports_what_is_true_and_nothing_worse_than_the_start(
    member: MinimizerMember, problem: Posed
) -> None:
    check_report(member.method, problem)


@EVERY
def test_keeps_its_state_in_its_state(member: MinimizerMember, problem: Posed) -> None:
    check_protocol(member.method, problem)


@EVERY
def test_rows_are_independent_and_draws_repeat(member: MinimizerMember, problem: Posed) -> None:
    check_neighbors(member.method, problem, tolerance=member.tolerance)


@EVERY
def test_a_poisoned_row_is_reported_and_stays_alone(member: MinimizerMember, problem: Posed) -> None:
    check_poison(member.method, problem, tolerance=member.tolerance)


@EVERY
def test_keeps_float32(member: MinimizerMember, problem: Posed) -> None:
    check_dtype(member.method, problem)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_derivative_of_a_solution_is_right(name: str) -> None:
    check_solution_derivative(MEMBERS[name].method)


@settings(max_examples=8)
@given(posed())
def test_random_problems(problem: Posed) -> None:
    for method in (GradientDescent(0.4), Armijo()):
        check_report(method, problem)
        check_reaches(method, problem)
        check_neighbors(method, problem)

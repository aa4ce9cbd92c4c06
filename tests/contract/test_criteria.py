"""The contract of a criterion, held by every criterion on the list in `ebm.testing.criterion_list`.

A new criterion is put on that list, and inherits all of this. Two processes are started once for all of them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import ebm.joint
from ebm.joint import Criterion
from ebm.testing.criterion import (
    CriterionMember,
    check_dtypes,
    check_gradient,
    check_order,
    check_processes,
    check_refusals,
    check_value,
    in_processes,
)
from ebm.testing.criterion_list import criteria
from ebm.testing.processes import run_processes

MEMBERS = criteria()
EVERY = pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items()])


@EVERY
def test_value_and_terms_are_finite_numbers(member: CriterionMember) -> None:
    check_value(member)


@EVERY
def test_keeps_the_precision_of_the_codes(member: CriterionMember) -> None:
    check_dtypes(member)


@EVERY
def test_refuses_what_has_no_answer(member: CriterionMember) -> None:
    check_refusals(member)


@pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if m.order])
def test_the_order_of_the_examples_does_not_matter(member: CriterionMember) -> None:
    check_order(member)


@pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if m.gradient])
def test_the_gradient_is_that_of_finite_differences(member: CriterionMember) -> None:
    check_gradient(member)


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    """What two processes found for all members, by rank."""
    return run_processes(in_processes, 2, MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_two_processes_are_one(name: str, reports: list[dict[str, Any]]) -> None:
    check_processes(MEMBERS[name], [report[name] for report in reports])


def test_every_criterion_is_on_the_list() -> None:
    for module in pkgutil.walk_packages(ebm.joint.__path__, "ebm.joint."):
        importlib.import_module(module.name)
    below, left = set(), [Criterion]
    while left:
        found = left.pop().__subclasses__()
        below |= set(found)
        left += found
    ours = {c for c in below if c.__module__.startswith("ebm.joint") and not c.__name__.startswith("_")}
    listed = {type(member.criterion) for member in MEMBERS.values()}
    assert {c.__name__ for c in ours if not inspect.isabstract(c)} - {c.__name__ for c in listed} == set()

"""The contract of a loss, held by every loss on the list in `ebm.testing.loss_list`.

A new loss is put on that list, and inherits all of this.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import ebm.contrastive
from ebm.loss import Loss
from ebm.testing.loss_list import losses
from ebm.testing.loss_recovery import LossMember, check_recovery
from ebm.testing.losses import (
    check_gap,
    check_gradient,
    check_names,
    check_precision,
    check_refusals,
    check_value,
)

CLOSED_FORM = Path(__file__).parents[1] / "closed_form"
MEMBERS = losses()
EVERY = pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items()])


@EVERY
def test_value_and_terms_are_finite_numbers(member: LossMember) -> None:
    check_value(member)


@EVERY
def test_keeps_the_precision_of_the_data(member: LossMember) -> None:
    check_precision(member)


@EVERY
def test_takes_any_name_and_other_variables(member: LossMember) -> None:
    check_names(member)


@EVERY
def test_refuses_what_has_no_answer(member: LossMember) -> None:
    check_refusals(member)


@pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if m.gradient])
def test_the_gradient_is_that_of_finite_differences(member: LossMember) -> None:
    check_gradient(member)


@pytest.mark.parametrize(
    ("member", "dim"), [pytest.param(m, d, id=f"{n}, {d}") for n, m in MEMBERS.items() for d in m.dims]
)
def test_finds_known_parameters(member: LossMember, dim: int) -> None:
    check_recovery(member, dim)


@pytest.mark.parametrize("member", [pytest.param(m, id=n) for n, m in MEMBERS.items() if m.gap])
def test_opens_the_energy_gap(member: LossMember) -> None:
    check_gap(member)


def test_every_loss_is_on_the_list_or_in_a_test_of_its_own() -> None:
    """Those of discrete data, of chains, of answers and of pairs are held to closed forms there."""
    for module in pkgutil.walk_packages(ebm.contrastive.__path__, "ebm.contrastive."):
        importlib.import_module(module.name)
    below, left = set(), [Loss]
    while left:
        found = left.pop().__subclasses__()
        below |= set(found)
        left += found
    ours = {c for c in below if c.__module__.startswith("ebm.contrastive") and not inspect.isabstract(c)}
    listed = {type(member.make(2, "y")) for member in MEMBERS.values()}
    tests = "".join(path.read_text(encoding="utf-8") for path in CLOSED_FORM.glob("test_*.py"))
    assert {c.__name__ for c in ours - listed if c.__name__ not in tests} == set()

"""Every joint embedding is alive as it is, and collapses as theory says without what keeps it alive."""

from __future__ import annotations

import pytest

import ebm.joint
from ebm.joint import Criterion, Siamese
from ebm.measure import code_report
from ebm.measure.codes import ALIVE
from ebm.testing.collapse_list import Case, cases, learned_codes


def name(case: Case) -> str:
    return f"{case.method} without {case.without}" if case.without else case.method


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", cases(), ids=name)
def test_the_meter_names_the_collapse(case: Case, seed: int) -> None:
    report = code_report(learned_codes(case, seed))
    assert report.verdict == case.verdict, report.finding


def test_every_method_is_there_with_and_without() -> None:
    alive = [case.method for case in cases() if not case.without]
    collapsed = {case.method for case in cases() if case.without}
    assert len(alive) == len(set(alive)) and set(alive) == collapsed
    assert all((case.verdict == ALIVE) == (not case.without) for case in cases())
    methods = {
        c for c in vars(ebm.joint).values() if isinstance(c, type) and issubclass(c, Criterion | Siamese)
    }
    spoken = {"".join(filter(str.isalnum, m)).lower().replace("²", "2") for m in alive}
    named = {c.__name__.lower() for c in methods - {Criterion, Siamese}}
    special = {"margincontrastive": "margin", "alignmentuniformity": "uniformity"}
    derived = {"dclw", "vicregl"}  # DCL with other weights; VICReg, also at positions of maps
    assert {special.get(n, n) for n in named - derived} == spoken

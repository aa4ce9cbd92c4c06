"""The contract of a planner, held by every agent on the list in `ebm.testing.planner_list`, on every problem.

A new agent is put on that list, and inherits all of this.
"""

from __future__ import annotations

import functools

import pytest
import torch

from ebm.plan import Report
from ebm.solution import Stop
from ebm.testing.acting import Episode
from ebm.testing.planner_list import HORIZON, planners, problems

AGENTS, PROBLEMS = planners(), problems()
EVERY = pytest.mark.parametrize("name", AGENTS)
WHERE = pytest.mark.parametrize("where", PROBLEMS)


@functools.cache
def episode(name: str, where: str) -> Episode:
    return Episode(AGENTS[name](PROBLEMS[where]), PROBLEMS[where])


@EVERY
@WHERE
def test_it_is_better_than_doing_nothing_and_never_worse(name: str, where: str) -> None:
    done = episode(name, where)
    start = done.distance[:, 0]
    assert (done.distance[:2, -1] < 0.4 * start[:2]).all()
    assert (done.distance[2] <= 1e-9).all()  # it is there, so it stays
    assert (done.distance.amax(1) <= 1.1 * start + 1e-9).all()  # a search may go around


@EVERY
@WHERE
def test_a_plan_is_no_worse_than_what_is_left_of_the_last_one_nor_than_nothing(name: str, where: str) -> None:
    problem, done = PROBLEMS[where], episode(name, where)
    for t, report in enumerate(done.reports):
        s, begun = done.states[:, t], done.begun[t]
        assert t or (begun == 0).all()
        for index, solution in report.solutions:
            if "PrimitivePlan" in report.terms and report.terms["PrimitivePlan"][index].isfinite().all():
                before = (s - problem.goal)[index].norm(dim=1)  # a search begins at rest
            else:
                known = {"observation": s[index], "goal": problem.goal[index]}
                left = problem.energy(**known, actions=begun[index, :HORIZON])
                before = problem.energy(**known, actions=torch.zeros_like(begun[index, :HORIZON]))
                if Stop.EXHAUSTED not in solution.stopped_by:  # a list has no start, but nothing is on it
                    before = before.minimum(left)
            assert (solution.energy <= before + 1e-12).all()


@EVERY
@WHERE
def test_bounds_hold_and_all_is_finite(name: str, where: str) -> None:
    problem, done = PROBLEMS[where], episode(name, where)
    assert done.actions.isfinite().all() and done.states.isfinite().all()
    if AGENTS[name](problem).guard.bounds is not None:
        assert (problem.bounds(actions=done.actions) == 0).all()


@EVERY
@WHERE
def test_the_same_generator_gives_the_same_actions(name: str, where: str) -> None:
    again = Episode(AGENTS[name](PROBLEMS[where]), PROBLEMS[where])
    assert torch.equal(again.actions, episode(name, where).actions)


@EVERY
def test_reports_are_complete(name: str) -> None:
    done = episode(name, "mud")
    batch = len(done.states)
    for t, report in enumerate(done.reports):
        _complete(report, batch, first=t == 0)
        if t:  # the model is the truth
            assert torch.allclose(report.predicted, report.actual) and (report.surprise < 1e-12).all()
        planned = torch.cat([index for index, _ in report.solutions]) if report.solutions else []
        assert sorted(map(int, planned)) == report.replanned.nonzero().flatten().tolist()
        assert not report.fallback.any() and not report.wrong.any()
    assert done.reports[0].replanned.all()


def _complete(report: Report, batch: int, first: bool) -> None:
    for name in ("predicted", "actual", "surprise", "energy"):
        value = getattr(report, name)
        assert value.shape == (batch,) and value.isfinite().all() != (first and name != "energy")
    for name in ("wrong", "replanned", "fallback"):
        assert getattr(report, name).shape == (batch,) and getattr(report, name).dtype == torch.bool
    total = torch.zeros(batch, dtype=torch.float64)
    for value in report.terms.values():
        assert value.shape == (batch,)
        total += value.nan_to_num(0.0)
    assert torch.allclose(total[report.replanned], report.energy[report.replanned])
    for _, solution in report.solutions:
        assert Stop.RUNNING.text not in solution.reasons and Stop.NON_FINITE.text not in solution.reasons

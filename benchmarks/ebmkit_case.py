"""What the two comparisons with ebmkit share: same weights, data and settings, batches of 256, one thread.

ebmkit's import name is `ebm`, as ours is, so it has a Python of its own (`EBMKIT_PYTHON`). Both sides draw
from one seed: where in one order, the check is that losses, gradients and chains agree to rounding, elsewhere
that they agree as averages do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.case import Answers, Case


def ours(name: str) -> Callable[[Any], Answers]:
    def run(state: Any) -> Answers:
        from benchmarks import ebmkit_ours

        return ebmkit_ours.WORK[name](state)

    return run


def theirs(name: str) -> Callable[[Any, Any], Answers]:
    def run(state: Any, ebm: Any) -> Answers:
        from benchmarks import ebmkit_side

        return ebmkit_side.WORK[name](state, ebm)

    return run


def answers(state: Any, result: Answers) -> Answers:
    return result


def within(tolerance: Mapping[str, float] | float) -> Callable[[Answers, Answers], str]:
    """Objects to answers that differ by more: relative to the larger, and to 1 where both are smaller."""

    def judge(ours: Answers, theirs: Answers) -> str:
        for name, mine in ours.items():
            allowed = tolerance if isinstance(tolerance, float) else tolerance.get(name, math.inf)
            other = theirs[name]
            if not abs(mine - other) <= allowed * max(abs(mine), abs(other), 1.0):
                return f"{name} {mine:.6g} here, {other:.6g} there"
        return ""

    return judge


def worth_less(ours: Answers, theirs: Answers) -> str:
    """Objects to draws of ours that are worth less than theirs."""
    mine, other = ours["effective samples"], theirs["effective samples"]
    return "" if mine >= 0.9 * other else f"worth {mine:.0f} here, {other:.0f} there"


def case(
    title: str,
    name: str,
    setup: Callable[[], Any],
    objection: Callable[[Answers, Answers], str],
    at_least: float | None = None,
) -> Case:
    """A piece of work of both sides, by its name in their `WORK`."""
    return Case(
        f"{title}, against ebmkit",
        ours(name),
        theirs(name),
        setup,
        answers,
        objection,
        peer="ebm",
        distribution="ebmkit",
        python="EBMKIT_PYTHON",
        unit="cpu s",
        at_least=at_least,
    )


ROUNDING = within(1e-4)

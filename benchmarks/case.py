"""What a benchmark is: one piece of work, done by this package and by somebody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Answers = Mapping[str, float]


def no_answers(state: Any, result: Any) -> Answers:
    """The default check: nothing is recorded of the answer."""
    return {}


def no_objection(ours: Answers, theirs: Answers) -> str:
    """The default judge: any two answers may be compared."""
    return ""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Both sides run in processes of their own, which call `state = setup()` once, then `ours(state)` or
    `theirs(state, peer)` several times. So each makes the same inputs from the same seed, and nothing of the
    peer is loaded in our process.

    Args:
        name: what is compared, with the peer's name in it: "lasso codes, lambda 0.1, against scikit-learn".
        ours: the work as this package does it, `ours(state) -> result`.
        theirs: the same work as the peer does it, `theirs(state, peer) -> result`; `peer` is its module.
        setup: makes the inputs, not timed, `setup() -> state`.
        check: says how good a result is, not timed, `check(state, result) -> {name: number}`; is recorded.
        objection: compares the two checks (ours, theirs) and says why the times can't be compared, or "".
        peer: the peer's module, such as "sklearn.linear_model"; one that isn't installed is skipped aloud.
            None for a hand-written loop, which then gets None in the module's place.
        distribution: the name under which pip knows the peer, if it isn't that of the module.
        python: an environment variable that holds the path of a Python with the peer, where the two can't
            live together ("EBMKIT_PYTHON": its import name is `ebm`, too). The peer's side then runs there,
            and `import` finds what that Python has installed before this repository.
        unit: what is compared: "s", the median time of a call; "cpu s", the median time that a call kept a
            processor busy, which other programs on the machine disturb less; or "MiB", the memory that the
            calls took at their peak beyond what the process held before (1 MiB if less).
        at_least: the speed-up theirs / ours that is required.
        at_most: the cost ours / theirs that is allowed. Not both of these; with neither, nothing is required.

    Raises:
        ValueError: if both bounds are given, one is not positive, or the unit is unknown.
    """

    name: str
    ours: Callable[[Any], Any]
    theirs: Callable[[Any, Any], Any]
    setup: Callable[[], Any]
    check: Callable[[Any, Any], Answers] = no_answers
    objection: Callable[[Answers, Answers], str] = no_objection
    peer: str | None = None
    distribution: str | None = None
    python: str | None = None
    unit: Literal["s", "cpu s", "MiB"] = "s"
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if len(bounds) > 1:
            raise ValueError(f"{self.name}: give at_least or at_most, not both")
        if any(not bound > 0 for bound in bounds):
            raise ValueError(f"{self.name}: a required ratio must be positive, got {bounds[0]}")
        if self.unit not in ("s", "cpu s", "MiB"):
            raise ValueError(f'{self.name}: unit must be "s", "cpu s" or "MiB", got {self.unit!r}')

    def ratio(self, ours: float, theirs: float) -> float:
        """The speed-up theirs / ours, or the cost ours / theirs where that is what is bounded."""
        return ours / theirs if self.at_most is not None else theirs / ours

    def met(self, ratio: float) -> bool | None:
        """Whether a ratio is as required; None where nothing is."""
        if self.at_least is not None:
            return ratio >= self.at_least
        return ratio <= self.at_most if self.at_most is not None else None

    @property
    def target(self) -> str:
        """What is required, as text."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

"""What an agent tells of a step: how the solve went, what was promised and what came, what was forbidden."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ebm.solution import Solution


@dataclass
class Report:
    """A step of B episodes; every tensor is (B,), NaN where it doesn't apply.

    Attributes:
        predicted: what the last action was to cost, as the model imagined it.
        actual: what it cost, in the state that came.
        surprise: |s - ŝ|, how far that state is from the one predicted.
        wrong: whether that was remembered as a surprise, bool.
        replanned: whether a new plan was made, bool.
        energy: of the plan that is followed, when it was made.
        violation: by how much the path ahead breaks the guardrails, by name; none without guardrails.
        fallback: whether the safe action was done in place of the planned one, bool: a guardrail would be
            broken, the plan's energy is not finite, or what was seen is NaN.
        terms: the energy of new plans by term.
        solutions: of this step's solves, with the rows they were for: reasons, gradient norms, what methods
            report (effective sample size).
    """

    predicted: Tensor
    actual: Tensor
    surprise: Tensor
    wrong: Tensor
    replanned: Tensor
    energy: Tensor
    fallback: Tensor
    violation: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    solutions: list[tuple[Tensor, Solution]] = field(default_factory=list)

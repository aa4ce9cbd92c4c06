"""Training steps beside ebmkit's; each timing takes 50, a step is the loss and its gradient.

Chains of contrastive divergence begin at the data on both sides, where ebmkit's would begin at noise if not
told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import ebmkit_inputs as inputs
from benchmarks.case import Answers, Case
from benchmarks.ebmkit_case import ROUNDING, case, within


def step(
    title: str, name: str, setup: Callable[[], Any], objection: Callable[[Answers, Answers], str]
) -> Case:
    return case(f"{inputs.STEPS} steps of {title}", name, setup, objection, at_least=1.0)


CASES = [
    step("contrastive divergence, 10 Langevin steps", "cd", inputs.points, ROUNDING),
    step("persistent contrastive divergence", "pcd", inputs.points, within({"mean loss": 0.05})),
    step("exact score matching", "exact", inputs.points, ROUNDING),
    step("sliced score matching", "sliced", inputs.points, ROUNDING),
    step("denoising score matching", "denoising", inputs.points, ROUNDING),
    step("score matching at 10 levels of noise", "levels", inputs.points, ROUNDING),
    step("energy discrepancy, 16 points a row", "discrepancy", inputs.points, within(0.01)),
    step("noise-contrastive estimation", "nce", inputs.points, ROUNDING),
    step("a joint energy model", "jem", inputs.labels, ROUNDING),
    step("pseudo-likelihood, RBM of 64 and 32 bits", "pseudo", inputs.bits, ROUNDING),
    step("pseudo-likelihood, Ising 8 x 8", "ising", inputs.bits, ROUNDING),
    step("ratio matching, RBM of 64 and 32 bits", "ratio", inputs.bits, ROUNDING),
    step("contrastive divergence, 10 flips, RBM", "flips cd", inputs.bits, within(0.01)),
]

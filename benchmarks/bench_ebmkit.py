"""Training steps and samplers beside ebmkit's: same weights, data and settings, batches of 256, one thread.

ebmkit's import name is `ebm`, as ours is, so it has a Python of its own (`EBMKIT_PYTHON`). A training step
is the loss and its gradient; each timing takes 50. Both sides draw from one seed: where in one order,
the check is that losses, gradients and chains agree to rounding, elsewhere that they agree as averages do.
Training steps have to be no slower; of samplers the ratio is recorded. NUTS and underdamped Langevin have
rules of their own on each side, so the check says what the draws of NUTS are worth. Chains of contrastive
divergence begin at the data on both sides, where ebmkit's would begin at noise if not told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import ebmkit_inputs as inputs
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
    title: str, name: str, setup: Callable[[], Any], objection: Callable[[Answers, Answers], str]
) -> Case:
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
        at_least=1.0 if title.startswith(STEPS) else None,
    )


STEPS = f"{inputs.STEPS} steps of"
ROUNDING = within(1e-4)
WIDE = inputs.places(inputs.Network, 2)
MODES = inputs.places(inputs.EightModes, 2)

CASES = [
    case(f"{STEPS} contrastive divergence, 10 Langevin steps", "cd", inputs.points, ROUNDING),
    case(f"{STEPS} persistent contrastive divergence", "pcd", inputs.points, within({"mean loss": 0.05})),
    case(f"{STEPS} exact score matching", "exact", inputs.points, ROUNDING),
    case(f"{STEPS} sliced score matching", "sliced", inputs.points, ROUNDING),
    case(f"{STEPS} denoising score matching", "denoising", inputs.points, ROUNDING),
    case(f"{STEPS} score matching at 10 levels of noise", "levels", inputs.points, ROUNDING),
    case(f"{STEPS} energy discrepancy, 16 points a row", "discrepancy", inputs.points, within(0.01)),
    case(f"{STEPS} noise-contrastive estimation", "nce", inputs.points, ROUNDING),
    case(f"{STEPS} a joint energy model", "jem", inputs.labels, ROUNDING),
    case(f"{STEPS} pseudo-likelihood, RBM of 64 and 32 bits", "pseudo", inputs.bits, ROUNDING),
    case(f"{STEPS} pseudo-likelihood, Ising 8 x 8", "ising", inputs.bits, ROUNDING),
    case(f"{STEPS} ratio matching, RBM of 64 and 32 bits", "ratio", inputs.bits, ROUNDING),
    case(f"{STEPS} contrastive divergence, 10 flips, RBM", "flips cd", inputs.bits, within(0.01)),
    case("Langevin, network, 256 chains", "langevin", WIDE, ROUNDING),
    case("underdamped Langevin, network, 256 chains", "underdamped", WIDE, within(0.1)),
    case("MALA, network, 256 chains", "mala", WIDE, within(0.01)),
    case("HMC, network, 256 chains", "hmc", WIDE, within(0.01)),
    case("NUTS, ellipse of 20 numbers", "nuts", inputs.places(inputs.Ellipse, 20), worth_less),
    case("parallel tempering of MALA, eight modes", "tempering", MODES, within(0.1)),
    case("annealed importance sampling, eight modes", "partition", MODES, within(0.1)),
    case("annealed Langevin, network", "annealed", inputs.points, ROUNDING),
    case("SVGD, network, 256 particles", "particles", WIDE, within(1e-3)),
    case("Gibbs with gradients, Ising 8 x 8", "flips", inputs.bits, within(0.01)),
    case("Gibbs with gradients, Potts 8 x 8 of 3 values", "recolors", inputs.bits, within(0.1)),
    case("block Gibbs, RBM of 64 and 32 bits", "blocks", inputs.bits, within(0.03)),
]

"""(1 - e)ⁿ: what is left of an answer of n steps where each may go wrong; and where one plans again.

    never looking back:  P(all n right) = (1 - e)ⁿ
    planning again:      P(T_n <= m) = Σ_k n / (n + 2k) · C(n + 2k, k) e^k (1 - e)^{n+k},    n + 2k <= m

Left, each step is wrong with probability e, independently, and a wrong one cannot be taken back: the
assumption under which an autoregressive model's long answers are doomed. Right, the same steps on a line: a
right one leads toward a goal n steps away, a wrong one leads back, and the energy |s - goal| is minimized
anew at every step from where one is; m = ⌈1.5 n⌉ steps are allowed. An error then costs two steps, not the
answer. Lines are the formulas, dots are simulations of 4,000 rows.

Reference: LeCun (2023), "Do large language models need sensory grounding for meaning and understanding?", for
(1 - e)ⁿ; Feller (1968), "An Introduction to Probability Theory and Its Applications" I, ch. XIV, for T_n.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm.show import style
from ebm.show.style import COLORS

ALT = (
    "Left, the chance that all of n steps are right falls exponentially with n, for errors of 0.1 to 10 "
    "percent a step; right, with the same errors and planning again at every step, it stays near one."
)
ERRORS, ROWS, LONGEST, SPARE = (0.001, 0.01, 0.03, 0.1), 4000, 300, 1.5
LENGTHS = (4, 8, 16, 32, 64, 128, 300)
KINDS = ("never looking back", "planning again")


def allowed(n: int) -> int:
    """⌈1.5 n⌉ steps."""
    return math.ceil(SPARE * n)


def formula(kind: str, n: int, e: float) -> float:
    """The chance to be right in the end."""
    if kind == KINDS[0]:
        return (1 - e) ** n
    total = 0.0
    for k in range((allowed(n) - n) // 2 + 1):
        ways = math.lgamma(n + 2 * k + 1) - math.lgamma(k + 1) - math.lgamma(n + k + 1)
        total += n / (n + 2 * k) * math.exp(ways + k * math.log(e) + (n + k) * math.log1p(-e))
    return min(total, 1.0)


def arrivals(e: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of each row: the steps before the first error, (R,), and the first times at distances 1..N, (R, N)."""
    steps = allowed(LONGEST)
    right = torch.rand(ROWS, steps, generator=generator) >= e
    streak = right.long().cumprod(1).sum(1)
    place = torch.where(right, 1, -1).cumsum(1)
    reached = place.cummax(1).values  # the goal lies ahead, so the least energy is that of a step forward
    distances = torch.arange(1, LONGEST + 1).expand(ROWS, -1).contiguous()
    return streak, torch.searchsorted(reached, distances) + 1  # above m where it is never reached


def simulated() -> dict[str, dict[float, list[float]]]:
    """By kind and error, the share of rows that are right at each of `LENGTHS`."""
    generator, found = torch.Generator().manual_seed(0), {kind: {} for kind in KINDS}
    for e in ERRORS:
        streak, first = arrivals(e, generator)
        found[KINDS[0]][e] = [float((streak >= n).double().mean()) for n in LENGTHS]
        found[KINDS[1]][e] = [float((first[:, n - 1] <= allowed(n)).double().mean()) for n in LENGTHS]
    return found


def panel(ax: Axes, kind: str, dots: dict[float, list[float]]) -> None:
    """Formulas as lines, simulations as dots."""
    lengths = range(4, LONGEST + 1, 4)  # where the steps to spare are a whole number of errors
    for e, color, marker in zip(ERRORS, COLORS, "osD^", strict=False):
        ax.plot(lengths, [formula(kind, n, e) for n in lengths], color=color)
        ax.plot(LENGTHS, dots[e], marker, color=color, markersize=6, label=f"e = {e:g}")
    ax.set(xscale="log", xlabel="steps to the goal, n", title=kind, ylim=(0, 1.04))
    ax.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
    ax.minorticks_off()


def draw() -> Figure:
    """The figure."""
    found = simulated()
    with style():
        figure = Figure(figsize=(10.5, 4.2))
        panels = figure.subplots(1, 2, sharey=True)
        for ax, kind in zip(panels, KINDS, strict=True):
            panel(ax, kind, found[kind])
        panels[0].set_ylabel("chance to be right in the end")
        panels[0].set_title("Never looking back: (1 - e)ⁿ")
        panels[1].set_title("Planning again at every step")
        panels[0].legend(loc="lower left")
    return figure


def numbers() -> dict[str, Any]:
    """Formula and simulation, and how far apart they are in standard errors."""
    table: dict[str, Any] = {"rows": ROWS, "steps allowed": {str(n): allowed(n) for n in LENGTHS}}
    for kind, by_error in simulated().items():
        for e, shares in by_error.items():
            exact = [formula(kind, n, e) for n in LENGTHS]
            deviation = [
                (share - p) / max((p * (1 - p) / ROWS) ** 0.5, 1 / ROWS)
                for share, p in zip(shares, exact, strict=True)
            ]
            table[f"{kind}, e = {e:g}"] = {
                "n": list(LENGTHS),
                "formula": exact,
                "simulated": shares,
                "off by, standard errors": deviation,
            }
    return table


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")

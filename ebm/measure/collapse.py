"""The collapse report: is an energy low on the data alone, or low everywhere?

Data are compared (`ebm.measure.off_data`) with three sets of points that are not data: uniform in the data's
box; the data with every coordinate shuffled over the rows; and the data corrupted. In the box we also ask how
flat the energy is, in nats (p ∝ exp(-βE), so β gives the energy its unit), and how much of its volume V is
low:

    spread = β std(E)
    slope = β ⟨|s ∇E|⟩                 s the standard deviation of each coordinate of the data
    low volume = P(E <= q)             q the 95th percentile of E on the data
    likely volume = exp(H) / V         H the entropy of p ∝ exp(-βE) on the box, by importance weights

Where an energy gives data and some other points the same values, the verdict says so. That may be right:
if the coordinates are independent, shuffled data are data.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2, 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.measure.off_data import OffData, compare, in_box, noisy, shuffled
from ebm.rows import norm

FLAT = 1.0  # nats: an energy that varies by less changes no probability by more than a factor e
BLIND = 0.6  # AUROC below which data and other points are not told apart
QUANTILE = 0.95
BOX, SHUFFLED, CORRUPTED = "uniform in the box", "shuffled coordinates", "corrupted data"

Corrupt = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class CollapseReport:
    """What `collapse_report` measured; `print` it for a table.

    Attributes:
        mean, std, quantile: of the energy on the data; the quantile is the 95th percentile.
        off_data: by name, the comparison with each set of points off the data.
        spread: β times the standard deviation of the energy over the box, in nats.
        slope: β times the mean norm of the gradient in the box, each coordinate in units of its standard
            deviation
            over the data, in nats: how much E varies to first order over points that lie as wide as the data.
        low_volume: share of the box whose energy is at most `quantile`.
        likely_volume: exp(entropy) of p ∝ exp(-βE) as a share of the box; at least 1 / points, by
            construction.
        beta, points: the inverse temperature, and the points in each set.
    """

    mean: float
    std: float
    quantile: float
    off_data: dict[str, OffData]
    spread: float
    slope: float
    low_volume: float
    likely_volume: float
    beta: float
    points: int

    @property
    def verdict(self) -> str:
        """The first of `CHECKS` that has something to say; "alive" if none has."""
        return next((words for check in CHECKS if (words := check(self))), "alive")

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON can hold it: None for a standardized gap that is infinite."""
        off = {
            name: {key: value if math.isfinite(value) else None for key, value in vars(points).items()}
            for name, points in self.off_data.items()
        }
        return {**vars(self), "off_data": off, "verdict": self.verdict}

    def __str__(self) -> str:
        width = max(map(len, self.off_data))
        lines = [f"{'points':{width}}  {'energy':>10} {'± std':>9} {'gap':>9} {'gap / std':>9} {'AUROC':>6}"]
        lines.append(f"{'data':{width}}  {self.mean:10.4g} {self.std:9.3g}")
        for name, p in self.off_data.items():
            numbers = f"{p.mean:10.4g} {p.std:9.3g} {p.gap:9.3g} {p.standardized_gap:9.2f} {p.auroc:6.3f}"
            lines.append(f"{name:{width}}  {numbers}")
        lines.append(
            f"in the box: spread {self.spread:.3g} nats, slope {self.slope:.3g} nats (beta {self.beta:g}); "
            f"low volume {self.low_volume:.2%}, likely volume {self.likely_volume:.2%}"
        )
        return "\n".join([*lines, f"verdict: {self.verdict}"])


def collapse_report(
    energy: Energy,
    y: Tensor,
    *,
    corruption: Corrupt | None = None,
    off_data: Mapping[str, Tensor] | None = None,
    given: Mapping[str, Tensor] | None = None,
    variable: str = "y",
    beta: float = 1.0,
    points: int = 2000,
    generator: torch.Generator | None = None,
) -> CollapseReport:
    """Compare the energy of data with that of points off the data, and say whether it collapsed.

    Args:
        energy: an energy of `variable`, and of what is `given`.
        y: data, (N, *shape), floating point, best such as the energy was not trained on.
        corruption: makes corrupted data, corruption(y, generator); if None, Gaussian noise as strong as each
            coordinate's standard deviation.
        off_data: further sets of points by name, (N, *shape) each.
        given: the energy's other variables, (N, ...) each; every point off the data keeps those of a data
            row.
        variable: the energy's variable that is data.
        beta: β > 0, the inverse temperature that gives the energy its unit.
        points: how many points to draw for each set, at least 2.
        generator: source of all randomness.

    Raises:
        ValueError: if there are fewer than two rows, a setting is out of range, or an energy is NaN.

    Example:
        >>> from ebm.targets import Banana
        >>> target, g = Banana(), torch.Generator().manual_seed(0)
        >>> report = collapse_report(target, target.exact_samples(1000, g), generator=g)
        >>> report.verdict, round(report.off_data["uniform in the box"].auroc, 1)
        ('alive', 1.0)
        >>> collapse_report(0 * target, target.exact_samples(1000, g), generator=g).verdict
        'flat energy'
    """
    if len(y) < 2 or not y.is_floating_point():
        raise ValueError(f"expected at least 2 rows of floating-point data; got {tuple(y.shape)}, {y.dtype}.")
    if not 0 < beta < math.inf or points < 2:
        raise ValueError(f"beta must be positive and finite, points at least 2; got {beta} and {points}.")
    every = torch.arange(len(y), device=y.device)
    drawn = torch.randint(len(y), (points,), generator=generator, device=y.device)
    spoil = noisy if corruption is None else corruption
    box_points = in_box(y, points, generator)
    sets = {SHUFFLED: (shuffled(y, points, generator), drawn), CORRUPTED: (spoil(y[drawn], generator), drawn)}
    sets |= {name: (value, every) for name, value in (off_data or {}).items()}

    def measure(value: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return _measure(energy, variable, value, {name: v[rows] for name, v in (given or {}).items()})

    on, _ = measure(y, every)
    box, slopes = measure(box_points, drawn)
    quantile = float(on.quantile(QUANTILE))
    return CollapseReport(
        mean=float(on.mean()),
        std=float(on.std()),
        quantile=quantile,
        off_data={BOX: compare(on, box)} | {n: compare(on, measure(*of)[0]) for n, of in sets.items()},
        spread=beta * float(box.std()),
        slope=beta * float(norm(slopes * y.std(0)).mean()),
        low_volume=float((box <= quantile).double().mean()),
        likely_volume=_likely_volume(beta * box),
        beta=beta,
        points=points,
    )


def _measure(energy: Energy, name: str, value: Tensor, others: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The energy, (P,), and its gradient, (P, *shape)."""
    with torch.enable_grad():
        v = value.detach().requires_grad_()
        e = energy(**{name: v}, **others)
        slope = torch.zeros_like(v)
        if e.requires_grad:
            (slope,) = torch.autograd.grad(e.sum(), v, materialize_grads=True)
    e = e.detach()
    if not bool(e.isfinite().all()):
        raise ValueError(
            f"the energy is NaN or infinite at {int((~e.isfinite()).sum())} of {len(e)} points; a report "
            f"needs finite energies: leave indicators (Box, Simplex, ...) out of the sum."
        )
    return e, slope


def _likely_volume(energy: Tensor) -> float:
    """exp(H) / V: with weights w_i ∝ exp(-E_i) on n uniform points, exp(-Σ w log w) / n."""
    log_w = (-energy).log_softmax(0)
    return float((-(log_w.exp() * log_w).sum()).exp() / len(energy))


def _flat(report: CollapseReport) -> str:
    gaps = [abs(report.beta * points.gap) for points in report.off_data.values()]
    return "flat energy" if max(report.spread, report.slope, *gaps) < FLAT else ""


def _upside_down(report: CollapseReport) -> str:
    return "upside down" if report.off_data[BOX].auroc < 1 - BLIND else ""


def _blind(report: CollapseReport) -> str:
    blind = [name for name, points in report.off_data.items() if points.auroc < BLIND]
    if len(blind) == len(report.off_data):
        return "blind"
    return f"alive, but takes {' and '.join(blind)} for data" if blind else ""


CHECKS: tuple[Callable[[CollapseReport], str], ...] = (_flat, _upside_down, _blind)

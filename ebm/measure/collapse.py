"""The collapse report: is an energy low on the data alone, or low everywhere?

    gap = ⟨E⟩_off - ⟨E⟩_data,    d = gap / √(½ (var_off + var_data)),    AUROC = P(E_off > E_data) + ½
    P(E_off = E_data)

Data are compared with three sets of points that are not data: uniform in the data's box; the data with every
coordinate shuffled over the rows (each coordinate keeps its distribution, what ties them is gone); and the
data corrupted. In the box we also ask how flat the energy is and how much of the volume is low:

    spread = β std(E),    slope = β ⟨|∇E|⟩ r,  r² = ⟨|y - ⟨y⟩|²⟩        both in nats: p ∝ exp(-βE)
    low volume = P(E <= q),  q the 95th percentile of E on the data
    likely volume = exp(H[p]) / V,  p ∝ exp(-βE) on the box of volume V; H by importance weights

The standardized gap d (Cohen's d) and AUROC do not depend on the unit of the energy; β sets it for the
others.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2
and 5 (collapse); Fawcett (2006), "An introduction to ROC analysis", sect. 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.rows import norm

FLAT = 1.0  # nats: an energy that varies by less changes no probability by more than a factor e
BLIND = 0.6  # AUROC below which data and other points are not told apart
QUANTILE = 0.95
BOX, SHUFFLED, CORRUPTED = "uniform in the box", "shuffled coordinates", "corrupted data"

Corrupt = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class OffData:
    """The energy of points that are not data, beside that of the data."""

    mean: float
    std: float
    gap: float
    standardized_gap: float
    auroc: float


@dataclass(frozen=True)
class CollapseReport:
    """What `collapse_report` measured; `print` it for a table.

    Attributes:
        mean, std, quantile: of the energy on the data; the quantile is the 95th percentile.
        off_data: by name, the comparison with each set of points off the data.
        spread: β times the standard deviation of the energy over the box, in nats.
        slope: β times the mean gradient norm in the box times the data's radius, in nats.
        low_volume: share of the box whose energy is at most `quantile`.
        likely_volume: exp(entropy) of p ∝ exp(-βE) as a share of the box; estimates below 1/points are
            floors.
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

    @property
    def alive(self) -> bool:
        """Whether no collapse was found."""
        return self.verdict.startswith("alive")

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        off = {name: vars(points) for name, points in self.off_data.items()}
        return {**vars(self), "off_data": off, "verdict": self.verdict}

    def __str__(self) -> str:
        width = max(map(len, ["points", *self.off_data]))
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
        corruption: makes corrupted data, corruption(y, generator); Gaussian noise of half of each
            coordinate's standard deviation if None.
        off_data: further sets of points by name, (M, *shape) each.
        given: the energy's other variables, (N, ...) each; row i of every point set keeps those of its
            data row.
        variable: the energy's variable that is data.
        beta: β > 0, the inverse temperature that gives the energy its unit.
        points: how many points to draw for each set.
        generator: source of all randomness.

    Raises:
        ValueError: if there are fewer than two rows, a setting is not positive, or an energy is NaN.

    Example:
        >>> from ebm.targets import Gaussian
        >>> target = Gaussian(torch.zeros(2))
        >>> g = torch.Generator().manual_seed(0)
        >>> report = collapse_report(target, target.exact_samples(1000, g), generator=g)
        >>> report.verdict, round(report.off_data["uniform in the box"].auroc, 1)
        ('alive', 0.8)
        >>> collapse_report(0 * target, target.exact_samples(1000, g), generator=g).verdict
        'flat energy'
    """
    if len(y) < 2 or not y.is_floating_point():
        raise ValueError(f"expected at least 2 rows of floating-point data; got {tuple(y.shape)}, {y.dtype}.")
    if not 0 < beta < math.inf or points < 2:
        raise ValueError(f"beta must be positive and finite, points at least 2; got {beta} and {points}.")
    rows = torch.randint(len(y), (points,), generator=generator, device=y.device)

    def measured(value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        others = {name: row[index] for name, row in (given or {}).items()}
        with torch.enable_grad():
            v = value.detach().requires_grad_()
            e = energy(**{variable: v}, **others)
            slope = torch.zeros_like(v) if not e.requires_grad else _gradient(e, v)
        if bool(e.isnan().any()):
            raise ValueError(f"the energy is NaN in {int(e.isnan().sum())} of {len(e)} points; look there first.")
        return e.detach(), norm(slope)

    every = torch.arange(len(y), device=y.device)
    on, _ = measured(y, every)
    spoil = _half_noise if corruption is None else corruption
    sets = {BOX: _in_box(y, points, generator), SHUFFLED: _shuffled(y, rows, generator)}
    sets |= {CORRUPTED: spoil(y[rows], generator), **(off_data or {})}
    off: dict[str, OffData] = {}
    for name, value in sets.items():
        e, slopes = measured(value, rows if len(value) == points else torch.arange(len(value), device=y.device))
        off[name] = _compare(on, e)
        if name == BOX:
            box, steepness = e, slopes
    quantile = float(on.quantile(QUANTILE))
    return CollapseReport(
        mean=float(on.mean()),
        std=float(on.std()),
        quantile=quantile,
        off_data=off,
        spread=beta * float(box.std()),
        slope=beta * float(steepness.mean()) * float(norm(y - y.mean(0)).square().mean().sqrt()),
        low_volume=float((box <= quantile).to(y.dtype).mean()),
        likely_volume=_likely_volume(beta * box),
        beta=beta,
        points=points,
    )


def auroc(data: Tensor, off: Tensor) -> float:
    """P(off > data) + ½ P(off = data) over all pairs of two samples of energies, (N,) and (M,)."""
    order = data.sort().values
    below = torch.searchsorted(order, off, right=False)
    up_to = torch.searchsorted(order, off, right=True)
    return float((below + up_to).double().mean() / (2 * len(data)))


def _compare(on: Tensor, off: Tensor) -> OffData:
    gap = float(off.mean() - on.mean())
    unit = math.sqrt(0.5 * float(on.var() + off.var()))
    return OffData(
        mean=float(off.mean()),
        std=float(off.std()),
        gap=gap,
        standardized_gap=gap / unit if unit > 0 else math.copysign(math.inf, gap) if gap else 0.0,
        auroc=auroc(on, off),
    )


def _gradient(energy: Tensor, v: Tensor) -> Tensor:
    return torch.autograd.grad(energy.sum(), v, materialize_grads=True)[0]


def _in_box(y: Tensor, points: int, generator: torch.Generator | None) -> Tensor:
    low, high = y.amin(0), y.amax(0)
    u = torch.rand((points, *y.shape[1:]), generator=generator, dtype=y.dtype, device=y.device)
    return low + (high - low) * u


def _shuffled(y: Tensor, rows: Tensor, generator: torch.Generator | None) -> Tensor:
    """Each coordinate from a row of its own."""
    flat = y.flatten(1)
    source = torch.randint(len(y), (len(rows), flat.shape[1]), generator=generator, device=y.device)
    return flat.gather(0, source).view(len(rows), *y.shape[1:])


def _half_noise(y: Tensor, generator: torch.Generator | None) -> Tensor:
    return y + 0.5 * y.std(0) * torch.empty_like(y).normal_(generator=generator)


def _likely_volume(energy: Tensor) -> float:
    """exp(H) / V for p = w / ⟨w⟩ / V, w = exp(-E): H - log V = log ⟨w⟩ - ⟨w log w⟩ / ⟨w⟩."""
    if not bool(energy.isfinite().any()):
        return 0.0
    log_p = (-energy).log_softmax(0)
    return float((-(log_p.exp() * log_p.clamp(min=-1e30)).sum()).exp() / len(energy))


def _flat(report: CollapseReport) -> str:
    variation = [abs(report.beta * points.gap) for points in report.off_data.values()]
    return "flat energy" if max(report.spread, report.slope, *variation) < FLAT else ""


def _upside_down(report: CollapseReport) -> str:
    return "upside down" if report.off_data[BOX].auroc < 1 - BLIND else ""


def _blind(report: CollapseReport) -> str:
    blind = [name for name, points in report.off_data.items() if points.auroc < BLIND]
    if len(blind) == len(report.off_data):
        return "blind: it cannot tell data from any other points"
    return f"alive, but blind to {' and '.join(blind)}" if blind else ""


CHECKS: tuple[Callable[[CollapseReport], str], ...] = (_flat, _upside_down, _blind)

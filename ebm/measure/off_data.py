"""Points that are not data, and how well an energy tells them from data.

    gap = ⟨E⟩_off - ⟨E⟩_data,    d = gap / √(½ (var_off + var_data))
    AUROC = P(E_off > E_data) + ½ P(E_off = E_data)

The standardized gap d (Cohen's d) and AUROC do not depend on the unit of the energy.

Reference: Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", sect. 2.2; Fawcett
(2006), "An introduction to ROC analysis", sect. 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm.measure.auroc import auroc


@dataclass(frozen=True)
class OffData:
    """The energy of points that are not data, beside that of the data.

    Attributes:
        mean, std: of the energy of these points; std is 0 for a single one.
        gap, standardized_gap: of its mean over that of the data, in units of the energy and as Cohen's d.
        auroc: how often such a point has more energy than a data point, ties half.
    """

    mean: float
    std: float
    gap: float
    standardized_gap: float
    auroc: float


def compare(on: Tensor, off: Tensor) -> OffData:
    """The energies of data, (N,), and of other points, (M,), side by side."""
    gap = float(off.mean() - on.mean())
    spread = [float(energies.var()) if len(energies) > 1 else 0.0 for energies in (on, off)]
    unit = math.sqrt(0.5 * sum(spread))
    none = math.copysign(math.inf, gap) if gap else 0.0
    standardized = gap / unit if unit > 0 else none
    return OffData(float(off.mean()), math.sqrt(spread[1]), gap, standardized, auroc(on, off))


def in_box(y: Tensor, points: int, generator: torch.Generator | None = None) -> Tensor:
    """Uniform in the box from each coordinate's least to its greatest, (N, *shape) -> (points, *shape)."""
    low, high = y.amin(0), y.amax(0)
    u = torch.rand((points, *y.shape[1:]), generator=generator, dtype=y.dtype, device=y.device)
    return low + (high - low) * u


def shuffled(y: Tensor, points: int, generator: torch.Generator | None = None) -> Tensor:
    """Each coordinate from a row of its own: keeps what each one does, loses what ties them together."""
    flat = y.flatten(1)
    source = torch.randint(len(y), (points, flat.shape[1]), generator=generator, device=y.device)
    return flat.gather(0, source).view(points, *y.shape[1:])


def noisy(y: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Data with Gaussian noise as strong as each coordinate's own standard deviation, like y."""
    return y + y.std(0) * torch.empty_like(y).normal_(generator=generator)

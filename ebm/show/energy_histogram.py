"""The energies of data beside those of points that are no data: the picture of an energy gap.

    gap = ⟨E(off)⟩ - ⟨E(on)⟩,        AUROC = P(E(off) > E(on)) + ½ P(=)

A collapsed energy has one hump for all; a good one has the data below everything else.

Reference: LeCun, Chopra, Hadsell, Ranzato, Huang (2006), "A Tutorial on Energy-Based Learning", sect. 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from ebm.measure.auroc import auroc
from ebm.show.named import named


def energy_histogram(
    on: Tensor,
    off: Tensor | Mapping[str, Tensor],
    ax: Axes,
    *,
    name: str = "data",
    bins: int = 60,
    ceiling: float | None = None,
) -> Axes:
    """Histograms of energies on and off the data, on the same bins, with gap and AUROC in the legend.

    Args:
        on: energies of data, (N,).
        off: energies of other points, (M,), or of several kinds of points by name.
        ax: the axes to draw on.
        name: of the data.
        bins: how many.
        ceiling: energies above it count in the last bin, so that no far point squeezes all others into one;
            None for none.

    Returns:
        The axes; the heights of each histogram sum to 100 %.

    Raises:
        ValueError: if energies are no vectors, there are none, or one is NaN or infinite; if there are no
            bins.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> on, off = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([3.0, 4.0])
        >>> ax = energy_histogram(on, {"noise": off}, Figure().subplots())
        >>> ax.get_legend().get_texts()[1].get_text()
        'noise: gap 2.83, AUROC 1.00'
    """
    if bins < 1:
        raise ValueError(f"bins is 1 or more; got {bins}.")
    others = {"other points": off} if isinstance(off, Tensor) else dict(off)
    if name in others:
        raise ValueError(f"the name {name!r} is that of the data: give other points another one.")
    several = list(named({name: on, **others}, "energies"))
    for what, values, _ in several:
        if values.ndim != 1 or not len(values) or not bool(values.isfinite().all()):
            raise ValueError(
                f"energies ({what}) are a vector of finite numbers, at least one; got {tuple(values.shape)}, "
                f"{int((~values.isfinite()).sum())} NaN or infinite."
            )
    on = several[0][1]
    low = min(float(values.min()) for _, values, _ in several)
    top = max(float(values.max()) for _, values, _ in several) if ceiling is None else ceiling
    top = top if top > low else low + 1.0
    edges = np.linspace(low, top, bins + 1)
    for what, values, color in several:
        counts, _ = np.histogram(values.double().clamp(max=top).numpy(), edges)
        gap, area = float(values.double().mean() - on.double().mean()), auroc(on, values)
        label = what if what == name else f"{what}: gap {gap:.3g}, AUROC {area:.2f}"
        look: dict[str, Any] = {"color": color, "fill": True, "alpha": 0.5, "edgecolor": color}
        ax.stairs(100 * counts / len(values), edges, label=label, **look)
    ax.set(xlabel="energy" if ceiling is None else f"energy ({ceiling:g} and above in the last bin)")
    ax.set(ylabel="% of points", xlim=(low, top))
    ax.legend()
    return ax

"""Draws against a density: do they fall as often as p ∝ exp(-βE) says?

p(t) = exp(-βE(t)) / ∫ exp(-βE(t')) dt'        of a single number t, by the trapezoid rule
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ebm.energy import Energy
from ebm.show.landscape import anchor
from ebm.show.named import named

Exact = Energy | Callable[[Tensor], Tensor]
POINTS = 801


def draws_histogram(
    draws: Tensor | Mapping[str, Tensor],
    ax: Axes,
    *,
    exact: Exact | None = None,
    beta: float = 1.0,
    bins: int = 60,
    extent: tuple[float, float] | None = None,
    label: str = "",
) -> Axes:
    """Histograms of draws of one number, with the density that they should have as a dashed line.

    Args:
        draws: of any shape, all entries are counted; or of several samplers by name.
        ax: the axes to draw on.
        exact: an energy of one variable (B, 1), of which p ∝ exp(-βE) is drawn; or a density itself, from
            points (R,) to densities (R,).
        beta: β > 0, the inverse temperature.
        bins: how many.
        extent: (min, max) of the bins and the curve; of the draws if None. Draws outside of it aren't shown,
            but count in the height of the bars; p is normalized on it if it comes from an energy.
        label: what the number is, of the horizontal axis.

    Returns:
        The axes.

    Raises:
        ValueError: if there are no draws, a draw is NaN or infinite, or a setting is out of range.

    Example:
        >>> from ebm import energy
        >>> from matplotlib.figure import Figure
        >>> draws = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
        >>> bowl = energy(lambda y: 0.5 * y.square().sum(1))
        >>> ax = draws_histogram(draws, Figure().subplots(), exact=bowl, extent=(-6, 6))
        >>> round(float(ax.lines[0].get_ydata().max()), 4)  # 1 / √2π
        0.3989
    """
    if bins < 1 or not beta > 0:
        raise ValueError(f"bins is 1 or more and beta positive; got {bins} and {beta}.")
    several = list(named(draws, "draws"))
    for name, each, _ in several:
        if not each.numel() or not bool(each.isfinite().all()):
            raise ValueError(
                f"draws {name} are {each.numel()}, NaN or infinite: {int((~each.isfinite()).sum())}."
            )
    if extent is None:
        extent = (min(float(e.min()) for _, e, _ in several), max(float(e.max()) for _, e, _ in several))
    if not extent[0] < extent[1]:
        raise ValueError(f"extent goes from a min to a greater max; got {extent}.")
    edges = np.linspace(*extent, bins + 1)
    for name, each, color in several:
        counts, _ = np.histogram(each.numpy(), edges)
        heights = counts / (each.numel() * (edges[1] - edges[0]))
        alone = len(several) == 1
        ax.stairs(
            heights, edges, color=color, label=name, fill=alone, alpha=0.55 if alone else 1, linewidth=1.5
        )
    if exact is not None:
        t, p = _density(exact, beta, extent)
        ax.plot(t, p, color="black", linewidth=1.2, linestyle=(0, (3, 2)), label="exact")
    ax.set(xlabel=label, ylabel="density", xlim=extent)
    if exact is not None or any(name for name, _, _ in several):
        ax.legend()
    return ax


@torch.no_grad()
def _density(exact: Exact, beta: float, extent: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points (R,) and the density there, (R,)."""
    if not isinstance(exact, Energy):
        points = torch.linspace(*extent, POINTS, dtype=torch.float64)
        return points.numpy(), exact(points).cpu().numpy()
    if len(exact.variables) != 1:
        raise ValueError(
            f"the density is of one variable; this energy has {exact.variables}: give the others a value "
            f"(E.given(...)), marginalize them, or take a slice."
        )
    like = anchor(exact)
    points = torch.linspace(*extent, POINTS, dtype=like.dtype, device=like.device)
    log_p = -beta * exact(**{exact.variables[0]: points.unsqueeze(1)}).double()
    p = (log_p - log_p.max()).exp()
    return points.cpu().numpy(), (p / torch.trapezoid(p, points.double())).cpu().numpy()

"""Chains at a glance: a number of the draws along each chain, and how long a chain remembers.

    n ↦ u_n                      the trace: a level band of noise once the chain has forgotten its start
    ρ_t = Cov(u_n, u_{n+t}) / Var(u)    the autocorrelation: 0 after as many draws as a chain remembers

Their paths over a landscape are drawn by `ebm.show.trajectory`.

Reference: Gelman et al. (2013), "Bayesian Data Analysis", sect. 11.4 and 11.5; Geyer (1992), "Practical
Markov chain Monte Carlo", sect. 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.measure.ess import autocovariance, ess
from ebm.measure.rhat import rhat
from ebm.show.named import named
from ebm.show.style import COLORS, GRAY


def trace_plot(draws: Tensor, ax: Axes, *, label: str = "", chains: int = len(COLORS)) -> Axes:
    """One number of the draws along each chain, with R̂ and the effective draws of all chains above.

    Args:
        draws: (N, B), N >= 4 draws of B chains: `samples.value[..., 0]`, or `samples.energy`.
        ax: the axes to draw on.
        label: what the number is, of the vertical axis.
        chains: how many chains are drawn at most; all are counted.

    Returns:
        The axes; their lines are the chains.

    Raises:
        ValueError: for draws of another shape, or if no chain is to be drawn.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> draws = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> trace_plot(draws, Figure().subplots(), label="y").get_title()
        'R-hat 1.00, 2024 effective draws of 2000'
    """
    _check(draws)
    if chains < 1:
        raise ValueError(f"chains is how many are drawn, 1 or more; got {chains}.")
    shown = draws.detach().cpu()[:, :chains].numpy()
    for k, chain in enumerate(shown.T):
        ax.plot(np.arange(1, len(chain) + 1), chain, color=COLORS[k % len(COLORS)], linewidth=0.8, alpha=0.85)
    agree, effective = float(rhat(draws)), float(ess(draws))
    ax.set_title(f"R-hat {agree:.2f}, {effective:.0f} effective draws of {draws.numel()}")
    ax.set(xlabel="draw", ylabel=label, xlim=(1, len(shown)))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


def autocorrelation(draws: Tensor | Mapping[str, Tensor], ax: Axes, *, lags: int = 50) -> Axes:
    """How much draws know of those before them, and what share of independent draws they are worth.

    Args:
        draws: (N, B), N >= 4 draws of B chains, or of several samplers by name.
        ax: the axes to draw on.
        lags: the longest lag t, below N.

    Returns:
        The axes; their first lines are ρ_0 to ρ_lags, means over the chains.

    Raises:
        ValueError: for draws of another shape or that never change, or a lag that there isn't.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> draws = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        >>> autocorrelation({"independent": draws}, Figure().subplots()).get_xlabel()
        'lag, draws'
    """
    for name, chains, color in named(draws, "draws"):
        _check(chains)
        if not 1 <= lags < len(chains):
            raise ValueError(f"lags lie between 1 and N - 1 = {len(chains) - 1}; got {lags}.")
        covariance = autocovariance(chains.double().unsqueeze(-1))[:, 0]
        if not bool(covariance[0] > 0):
            raise ValueError(f"draws {name or ''} never change: there is nothing to correlate.")
        rho = (covariance / covariance[0])[: lags + 1].numpy()
        worth = f"{float(ess(chains)) / chains.numel():.1%} independent"
        ax.plot(np.arange(lags + 1), rho, color=color, label=f"{name}: {worth}" if name else worth)
    ax.axhline(0, color=GRAY, linewidth=0.8, zorder=0)
    ax.set(xlabel="lag, draws", ylabel="autocorrelation", xlim=(0, lags))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.legend()
    return ax


def _check(draws: Tensor) -> None:
    if not isinstance(draws, Tensor) or draws.ndim != 2 or len(draws) < 4:
        came = tuple(draws.shape) if isinstance(draws, Tensor) else type(draws).__name__
        raise ValueError(
            f"draws of one number are (N, B), N >= 4 draws of B chains; got {came}. Choose a coordinate: "
            f"samples.value[..., 0]."
        )

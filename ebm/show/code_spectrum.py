"""Spectra of codes: along how many directions do they vary?

    singular values σ_k of Z - Z̄ (N, D)            eigenvalues λ_k = σ_k² / (N - 1) of Cov(Z)
    effective rank = exp(-Σ_k p_k ln p_k),  p_k = σ_k / Σ σ        of singular values, whichever are drawn

A spectrum that breaks off is dimensional collapse: the code has dimensions that it doesn't use.

Reference: Roy & Vetterli (2007), "The effective rank: a measure of effective dimensionality"; Jing, Vincent,
LeCun & Tian (2022), "Understanding dimensional collapse in contrastive self-supervised learning", fig. 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ebm.measure.spectrum import check_codes, effective_number, singular_values
from ebm.show.named import named

LEAST = 1e-8  # of the largest: smaller values lie below the picture
MARKERS = "osD^vPX"
Kind = Literal["singular values", "eigenvalues"]


def code_spectrum(
    codes: Tensor | Mapping[str, Tensor],
    ax: Axes,
    *,
    kind: Kind = "singular values",
    relative: bool = False,
) -> Axes:
    """The spectra of the codes of one model or several, with their effective ranks in the legend.

    Args:
        codes: (N, D), one example a row, or those of several models by name.
        ax: the axes to draw on.
        kind: "singular values" of the centered codes, or "eigenvalues" of their covariance.
        relative: over the largest of each model.

    Returns:
        The axes; their lines are the spectra, falling.

    Raises:
        TypeError, ValueError: for codes of another form or an unknown kind.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> ax = code_spectrum({"round": z, "flat": z * torch.tensor([1.0, 0.0])}, Figure().subplots())
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['round: effective rank 2.0 of 2', 'flat: effective rank 1.0 of 2']
    """
    if kind not in ("singular values", "eigenvalues"):
        raise ValueError(f"kind is 'singular values' or 'eigenvalues'; got {kind!r}.")
    largest, smallest = 0.0, np.inf
    for (name, z, color), marker in zip(named(codes, "codes"), MARKERS, strict=False):
        sigma = singular_values(check_codes(z), centered=True)
        rank = f"effective rank {effective_number(sigma):.1f} of {z.shape[1]}"
        values = sigma if kind == "singular values" else sigma.square() / (len(z) - 1)
        values = values / values.max() if relative and float(values.max()) > 0 else values
        label = f"{name}: {rank}" if name else rank
        spacing = max(1, len(values) // 16)
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "markevery": spacing}
        ax.plot(np.arange(1, len(values) + 1), values.numpy(), label=label, **look)
        largest = max(largest, float(values.max()))
        seen = values[values > LEAST * values.max()]
        smallest = min(smallest, float(seen.min())) if len(seen) else smallest
    if largest > 0:  # else all codes are the same, and a logarithm shows nothing
        ax.set_yscale("log")
        bottom = min(0.6 * smallest, largest / 30)
        ax.set_ylim(bottom, largest * (largest / bottom) ** (0.1 * (1 + len(ax.lines))))  # the legend's room
    ax.set(xlabel="direction of the code, from the strongest", ylabel=kind[:-1] + (", relative" * relative))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.legend(loc="upper right")
    return ax

"""One style for every picture: colors that color-blind readers can tell apart, and sizes for print.

The categorical colors are those of Okabe & Ito (2008), "Color Universal Design"; energies use a map whose
lightness grows evenly, dark where the energy is low.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
from cycler import cycler

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, GRAY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#6E6E6E",
)
COLORS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GRAY)
ENERGY_MAP = "cividis"

SETTINGS: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "image.cmap": "gray",
    "svg.hashsalt": "ebm",  # the same picture gives the same file
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the package's style inside the block; settings outside it are left alone.

    Example:
        >>> from matplotlib.figure import Figure
        >>> with style():
        ...     ax = Figure(figsize=(4, 3)).subplots()
        >>> ax.spines["top"].get_visible()
        False
    """
    with mpl.rc_context(cast(Any, SETTINGS)):  # newer stubs spell out every key
        yield

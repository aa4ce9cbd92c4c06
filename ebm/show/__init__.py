"""Pictures of energies: every function draws on axes that it is given, and returns them."""

from __future__ import annotations

from ebm.show.animation import save_animation, tiled
from ebm.show.feature_rgb import feature_rgb, mosaic
from ebm.show.history import plot_history
from ebm.show.landscape import energy_on_grid, landscape, trajectory
from ebm.show.style import style

__all__ = [
    "energy_on_grid",
    "feature_rgb",
    "landscape",
    "mosaic",
    "plot_history",
    "save_animation",
    "style",
    "tiled",
    "trajectory",
]

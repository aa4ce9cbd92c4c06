"""Pictures of energies: every function draws on axes that it is given, and returns them.

Two take more: `collapse_page` a figure, since a page has several axes, and `run_frames` nothing, since a film
needs a figure of its own. Draw inside `style()`, and all look alike.
"""

from __future__ import annotations

from ebm.show.animation import save_animation, tiled
from ebm.show.chains import autocorrelation, trace_plot
from ebm.show.code_spectrum import code_spectrum
from ebm.show.collapse_page import collapse_page
from ebm.show.cross_section import cross_section
from ebm.show.draws import draws_histogram
from ebm.show.energy_histogram import energy_histogram
from ebm.show.feature_rgb import feature_rgb, mosaic
from ebm.show.filters import filters
from ebm.show.history import plot_history
from ebm.show.landscape import energy_on_grid, landscape, surface
from ebm.show.plan import forbidden, imagined, plan_landscape
from ebm.show.run_frames import run_frames
from ebm.show.slices import Slice
from ebm.show.style import style
from ebm.show.trajectory import energy_over_steps, traced, trajectory

__all__ = [
    "Slice",
    "autocorrelation",
    "code_spectrum",
    "collapse_page",
    "cross_section",
    "draws_histogram",
    "energy_histogram",
    "energy_on_grid",
    "energy_over_steps",
    "feature_rgb",
    "filters",
    "forbidden",
    "imagined",
    "landscape",
    "mosaic",
    "plan_landscape",
    "plot_history",
    "run_frames",
    "save_animation",
    "style",
    "surface",
    "tiled",
    "trace_plot",
    "traced",
    "trajectory",
]

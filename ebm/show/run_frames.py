"""A minimization or a sampling run as frames of an animation: points that move over a landscape.

frame k: the points y_k of all rows, with the path y_0, ..., y_k that led there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ebm.energy import Energy
from ebm.show.landscape import Extent, landscape
from ebm.show.style import VERMILION, style


def run_frames(
    points: Tensor,
    energy: Energy,
    over: str | Sequence[str],
    extent: Extent,
    *,
    given: Mapping[str, Tensor] | None = None,
    frames: int = 60,
    tail: int | None = None,
    ceiling: float | None = None,
    title: str = "step",
    size: tuple[float, float] = (4.8, 4.0),
    dpi: float = 80.0,
) -> np.ndarray:
    """Pictures of a run, for `save_animation`. Makes a figure of its own, since a film needs one for itself.

    Args:
        points: (K, 2) or (K, B, 2): `solution.trace.value`, `samples.value`, or what `traced` returns.
        energy, over, extent, given, ceiling: of the landscape below, as in `landscape`.
        frames: how many pictures at most, evenly over the run; the first and the last step are among them.
        tail: how many steps of the path are drawn behind a point; all if None, 0 for none.
        title: before the number of the step.
        size, dpi: of the picture, in inches and pixels an inch.

    Returns:
        (T, H, W, 3), uint8.

    Raises:
        ValueError: if the points have another shape, there are none, or a setting is out of range.

    Example:
        >>> import torch
        >>> from ebm import minimize
        >>> from ebm.infer import GradientDescent
        >>> from ebm.targets import Banana
        >>> start = torch.tensor([[-1.0, 1.0]])
        >>> solution = minimize(Banana(), start, GradientDescent(0.01), max_steps=40, trace=True)
        >>> film = run_frames(solution.trace.value, Banana(), "y", Banana().extent, frames=5)
        >>> film.shape, film.dtype
        ((5, 320, 384, 3), dtype('uint8'))
    """
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or not points.numel():
        raise ValueError(f"a run is (K, 2) or (K, B, 2), one point at least; got {tuple(points.shape)}.")
    if frames < 1 or (tail is not None and tail < 0):
        raise ValueError(f"frames is 1 or more, tail 0 or more; got {frames} and {tail}.")
    paths = points.detach().cpu().numpy()
    paths = paths[:, None] if paths.ndim == 2 else paths
    steps = np.unique(np.linspace(0, len(paths) - 1, min(frames, len(paths))).round().astype(int))
    with style():
        figure = Figure(figsize=size, dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        ax = landscape(energy, over, figure.subplots(), extent, given=given, ceiling=ceiling)
        lines = [ax.plot([], [], "-", color=VERMILION, linewidth=1.2, alpha=0.8)[0] for _ in paths[0]]
        (dots,) = ax.plot([], [], "o", color=VERMILION, markeredgecolor="white", markersize=7)
        film = []
        for step in steps:
            begin = 0 if tail is None else max(0, step - tail)
            for row, line in enumerate(lines):
                line.set_data(*paths[begin : step + 1, row].T)
            dots.set_data(*paths[step].T)
            ax.set_title(f"{title} {step}")
            canvas.draw()
            film.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            if len(film) == 1:
                figure.set_layout_engine("none")  # the title's width must not move the picture
    return np.stack(film)

"""Small gray pictures on axes: what several parts of the demo draw with."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor


def show_image(axes: Axes, image: Tensor, low: float = 0.0, high: float = 1.0, ink: bool = False) -> None:
    """A gray image (H, W) without ticks; as ink on paper, high values are dark."""
    axes.imshow(image.numpy(), cmap="gray_r" if ink else "gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_atom(axes: Axes, atom: Tensor) -> None:
    """A patch (H * W,) with zero as middle gray."""
    side, reach = round(atom.numel() ** 0.5), float(atom.abs().max())
    show_image(axes, atom.view(side, side), -reach, reach)


def show_mosaic(axes: Axes, atoms: Tensor, columns: int) -> None:
    """Patches (K, H * W) one pixel apart, each with its own contrast and zero as middle gray."""
    side, rows = round(atoms.shape[1] ** 0.5), -(-len(atoms) // columns)
    canvas = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), np.nan)
    for i, atom in enumerate(atoms):
        top, left = (i // columns) * (side + 1), (i % columns) * (side + 1)
        canvas[top : top + side, left : left + side] = (atom / atom.abs().max()).view(side, side).numpy()
    axes.imshow(canvas, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.axis("off")

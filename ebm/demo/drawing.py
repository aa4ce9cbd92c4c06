"""Small gray pictures on axes: what several parts of the demo draw with."""

from __future__ import annotations

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

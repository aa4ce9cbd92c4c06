"""Filters, atoms, components: patches in a grid, with zero as middle gray.

Rows of a dictionary or weights of a first layer are signed; what they look for is where they are bright and
where they are dark. On a shared scale a weak one is pale; each on its own scale, its shape is seen anyway.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor


def filters(
    atoms: Tensor,
    ax: Axes,
    *,
    columns: int | None = None,
    order: Tensor | None = None,
    shared: bool = True,
) -> Axes:
    """Patches in a grid, row by row, one pixel apart.

    Args:
        atoms: (K, H, W), or (K, H·W) of square patches.
        ax: the axes to draw on.
        columns: patches in a row; about √K if None.
        order: a number of each, (K,): the largest is drawn first, such as how much each is used; if None,
            they are drawn in the order in which they come.
        shared: one scale for all, so that pale is weak; else each patch has its own.

    Returns:
        The axes, without ticks.

    Raises:
        ValueError: if the patches have another shape or hold NaN, there are none, `order` has another length,
            or there are no columns.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> ax = filters(torch.randn(6, 4 * 4), Figure().subplots(), columns=3)
        >>> ax.images[0].get_array().shape  # 2 x 3 patches of 4 x 4, one pixel apart
        (9, 14)
    """
    patches = atoms.detach().cpu()
    if patches.ndim == 2 and math.isqrt(patches.shape[1]) ** 2 == patches.shape[1]:
        patches = patches.unflatten(1, (math.isqrt(patches.shape[1]), -1))
    if patches.ndim != 3 or not patches.numel():
        raise ValueError(
            f"filters are (K, H, W), or (K, H·W) of square patches, one at least; got {tuple(atoms.shape)}."
        )
    if not bool(patches.isfinite().all()):
        bad = (~patches.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"filters {bad[:5]} hold NaN or infinity.")
    if order is not None:
        if order.shape != (len(patches),):
            raise ValueError(f"order has a number a filter, ({len(patches)},); got {tuple(order.shape)}.")
        patches = patches[order.detach().cpu().argsort(descending=True, stable=True)]
    columns = math.ceil(math.sqrt(len(patches))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns is 1 or more; got {columns}.")
    reach = patches.abs().flatten(1).amax(1)
    reach = reach.max().expand(len(patches)) if shared else reach
    scaled = (patches / reach.clamp(min=1e-30)[:, None, None]).numpy()
    _, high, wide = scaled.shape
    rows = -(-len(scaled) // columns)
    canvas = np.full((rows * (high + 1) - 1, columns * (wide + 1) - 1), np.nan)
    for k, patch in enumerate(scaled):
        top, left = (k // columns) * (high + 1), (k % columns) * (wide + 1)
        canvas[top : top + high, left : left + wide] = patch
    ax.imshow(canvas, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax

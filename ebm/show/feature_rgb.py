"""Features as colors: three principal components of patches' codes as red, green and blue.

    color of patch p = (⟨s_p - s̄, v_1⟩, ⟨s_p - s̄, v_2⟩, ⟨s_p - s̄, v_3⟩),    each component scaled to [0, 1]

s̄ and v_k are the mean and principal axes of all patches of all images, so one color means one thing in all
of them: a net that knows parts of things paints them alike wherever they are.

Reference: Oquab et al. (2023), "DINOv2: Learning Robust Visual Features without Supervision", sect. 7.7 and
fig. 1.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

TAIL = 0.01  # of the patches at either end of a component are drawn as its ends


@torch.no_grad()
def feature_rgb(codes: Tensor, grid: tuple[int, int], *, constant: Tensor | None = None) -> np.ndarray:
    """Colors of the patches of images.

    Args:
        codes: of the patches, row by row of their grid, (N, P, D), D at least 3.
        grid: rows and columns of patches, of product P.
        constant: what is taken off all codes first, broadcast to (N, P, D): their mean over images,
            `codes.mean(0)`, takes off what a code says of its place alone.

    Returns:
        Colors in [0, 1], (N, rows, columns, 3). An axis points where its largest entry is positive.

    Raises:
        ValueError: if the shapes don't fit.

    Example:
        >>> codes = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
        >>> feature_rgb(codes, (2, 3)).shape
        (5, 2, 3, 3)
    """
    if codes.ndim != 3 or codes.shape[1] != grid[0] * grid[1] or codes.shape[2] < 3:
        raise ValueError(
            f"expected codes (N, P, D) of P = {grid[0]} x {grid[1]} patches with D >= 3; got "
            f"{tuple(codes.shape)}."
        )
    s = codes.double() if constant is None else codes.double() - constant.double()
    s = s.flatten(0, 1)
    s = s - s.mean(0)
    _, axes = torch.linalg.eigh(s.T @ s)
    axes = axes[:, -3:].flip(1)  # the strongest first
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    values = s @ axes
    low, high = (torch.quantile(values, q, dim=0) for q in (TAIL, 1 - TAIL))
    colors = ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    found: np.ndarray = colors.view(len(codes), *grid, 3).cpu().numpy()
    return found


def mosaic(pictures: np.ndarray, ax: Axes, *, columns: int, gap: float = 0.15) -> Axes:
    """Pictures in rows, one beside the other, without axes.

    Args:
        pictures: gray (N, H, W) or colored (N, H, W, 3), in [0, 1].
        ax: the axes to draw on.
        columns: pictures in a row.
        gap: between two of them, as a share of a picture's side.

    Returns:
        The axes.

    Raises:
        ValueError: if there is no picture, or no column.
    """
    if len(pictures) < 1 or columns < 1:
        raise ValueError(f"a mosaic is of one picture or more; got {len(pictures)} in {columns} columns.")
    for k, picture in enumerate(pictures):
        left, top = (1 + gap) * (k % columns), (1 + gap) * (k // columns)
        ax.imshow(picture, extent=(left, left + 1, top + 1, top), vmin=0, vmax=1, interpolation="nearest")
    rows = -(-len(pictures) // columns)
    ax.set(xlim=(0, columns * (1 + gap) - gap), ylim=(rows * (1 + gap) - gap, 0), aspect="equal")
    ax.set_axis_off()
    return ax

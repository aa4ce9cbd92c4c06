"""From energies to colors: the points of a panel where an energy is asked for, and the field of answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ebm.show.explorers.scene import Extent, Heat, array


def plane(extent: Extent, columns: int, rows: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Points all over a panel, row by row from below, (rows · columns, 2).

    Single precision is enough for colors, and faster.

    Example:
        >>> plane((0.0, 1.0, 0.0, 2.0), 2, 2).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]]
    """
    x0, x1, y0, y1 = extent
    across, up = torch.linspace(x0, x1, columns, dtype=dtype), torch.linspace(y0, y1, rows, dtype=dtype)
    return torch.stack(torch.meshgrid(across, up, indexing="xy"), 2).view(-1, 2)


def heat(values: Tensor | np.ndarray, label: str, quantile: float = 0.9) -> Heat:
    """A field (R, C) with colors from its lowest value to a quantile, so that walls don't hide the valley.

    Args:
        values: (R, C), the first row at the bottom; NaN and infinities are allowed.
        label: what the colors mean.
        quantile: the share of the field that gets colors of its own; what is higher gets the lightest.

    Example:
        >>> field = heat(np.array([[0.0, 1.0], [2.0, 100.0]]), "energy", 0.5)
        >>> field.low, field.high
        (0.0, 1.5)
    """
    field = array(values)
    finite = field[np.isfinite(field)]
    low, high = (finite.min(), np.quantile(finite, quantile)) if finite.size else (0.0, 1.0)
    return Heat(field, float(low), max(float(high), float(low) + 1e-6 * (1 + abs(float(low)))), label)

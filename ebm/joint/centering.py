"""Several views of one example should have one code: their mean squared distance to the mean of some of them.

    s = (1/VND) Σ_v |Z^v - C|²,        C = (1/G) Σ_{v <= G} Z^v

The first G views are called global (large crops, which show most of the example); the others follow them.
"""

from __future__ import annotations

from torch import Tensor


def to_center(views: tuple[Tensor, ...], global_views: int | None = None) -> Tensor:
    """s, the mean squared distance of all views to the mean of the global ones.

    Args:
        views: codes (N, D) each, the global ones first.
        global_views: G, at least 1; all if None.

    Returns:
        s >= 0, 0-dimensional; 0 for a single view.

    Raises:
        ValueError: if there are fewer views than global ones.

    Example:
        >>> import torch
        >>> to_center((torch.zeros(1, 2), torch.ones(1, 2)))
        tensor(0.2500)
    """
    number = len(views) if global_views is None else global_views
    if number > len(views):
        raise ValueError(f"global_views={number} views are the center of all; got {len(views)} views.")
    center = sum(views[1:number], views[0]) / number
    return sum(((z - center).square().mean() for z in views[1:]), (views[0] - center).square().mean()) / len(
        views
    )

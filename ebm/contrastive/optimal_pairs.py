"""Optimal pairs: which point of one set goes to which of another, so that all ways together are shortest.

    min over permutations π of  Σ_i |a_i - b_π(i)|²

Solved exactly by shortest augmenting paths: rows join one at a time, each along the cheapest chain of
exchanges, found as by Dijkstra with costs made nonnegative by prices, c_ij - u_i - v_j >= 0. At most O(n³),
and far less on points in general position: most rows find their partner at once.

Reference: Jonker & Volgenant (1987), "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear
Assignment Problems".
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm.rows import flat


def optimal_pairs(a: Tensor, b: Tensor) -> Tensor:
    """The permutation π, (n,) int64, of least total squared distance; a_i is paired with b[π][i].

    Args:
        a, b: n points each, (n, *shape); finite.

    Raises:
        ValueError: if shapes differ, or a distance is NaN or infinite.

    Example:
        >>> optimal_pairs(torch.tensor([[0.0], [5.0], [9.0]]), torch.tensor([[9.0], [1.0], [6.0]]))
        tensor([1, 2, 0])
    """
    if a.shape != b.shape:
        raise ValueError(f"pairs need sets of one shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
    with torch.no_grad():
        x, y = flat(a).double(), flat(b).double()
        cost = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
    if not bool(cost.isfinite().all()):
        rows = (~cost.isfinite()).all(1).nonzero().flatten().tolist()
        raise ValueError(f"distances must be finite; rows {rows[:5]} of the first set hold NaN or infinity.")
    return torch.from_numpy(assign(cost.cpu().numpy())).to(a.device)


def assign(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The columns, (n,), that a cost matrix (n, n) assigns to its rows at least total cost."""
    n = len(cost)
    price = cost.min(0)  # v_j
    rent = (cost - price).min(1)  # u_i: all reduced costs are nonnegative
    row_of, column_of = np.full(n, -1), np.full(n, -1)
    for i, j in enumerate((cost - price - rent[:, None]).argmin(1)):
        if row_of[j] < 0:  # the cheapest partner is still free
            row_of[j], column_of[i] = i, j
    for start in np.flatnonzero(column_of < 0):
        _augment(cost, rent, price, row_of, column_of, int(start))
    return column_of


def _augment(
    cost: NDArray[np.float64],
    rent: NDArray[np.float64],
    price: NDArray[np.float64],
    row_of: NDArray[np.int64],
    column_of: NDArray[np.int64],
    start: int,
) -> None:
    """Give `start` a column along the shortest path of exchanges, and raise prices to match; in place."""
    n = len(cost)
    distance, came_from = np.full(n, np.inf), np.full(n, start)
    done = np.zeros(n, dtype=bool)
    row, length, slack = start, 0.0, 1e-12 * float(np.abs(cost).max())
    while True:
        reached = length + cost[row] - rent[row] - price
        shorter = ~done & (reached < distance)
        distance[shorter], came_from[shorter] = reached[shorter], row
        waiting = np.where(done, np.inf, distance)
        nearest = np.flatnonzero(waiting <= waiting.min() + slack)
        free = nearest[row_of[nearest] < 0]  # of equals, one that ends the search
        column = int(free[0] if len(free) else nearest[waiting[nearest].argmin()])
        length = float(distance[column])
        if row_of[column] < 0:
            break
        done[column] = True
        row = int(row_of[column])
    rent[start] += length
    rent[row_of[done]] += length - distance[done]
    price[done] -= length - distance[done]
    while True:  # exchange partners on the way back
        row = int(came_from[column])
        row_of[column] = row
        column, column_of[row] = int(column_of[row]), column
        if row == start:
            return

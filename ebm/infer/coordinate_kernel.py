"""Coordinate descent compiled: the same updates as in `coordinate`, row by row in the processor's cache.

One call is one round for every row:

    1. look at all coordinates; those at rest (at 0, or at a bound) that would move, do
    2. copy out the active ones, a small matrix H = A[S, S], and sweep over them until their largest move has
       fallen by `ratio`
    3. ∇f = Au - b anew, from the coordinates that are not 0

Reference: Friedman, Hastie & Tibshirani (2010), "Regularization Paths for Generalized Linear Models via
Coordinate Descent", sect. 2.2 (covariance updates), 2.6 (active sets).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

try:
    import numba
except ImportError:  # the extra `compiled` is not installed
    numba = None  # type: ignore[assignment]

ENOUGH = 256  # rows that are worth a thread
REDUCTION = 0.01  # by which the largest move of the active coordinates falls in a round


def available() -> bool:
    """Whether numba is installed."""
    return numba is not None


def _shrink(v, threshold, low, high):  # numba infers the types
    soft = v - threshold if v > threshold else (v + threshold if v < -threshold else v * 0)
    return min(max(soft, low), high)


def _descend(matrix, inverse, threshold, low, high, linear, u, slope, length, step, sweeps, ratio):
    rows, size = u.shape
    shared = len(matrix) == 1
    active = np.empty(size, np.int64)
    small = np.empty((size, size), u.dtype)
    x, g = np.empty(size, u.dtype), np.empty(size, u.dtype)
    for r in range(rows):
        a, inv, b, v, slope_r = (
            matrix[0 if shared else r],
            inverse[0 if shared else r],
            linear[r],
            u[r],
            slope[r],
        )
        count = 0
        for j in range(size):
            resting = (v[j] == 0 and threshold[j] > 0) or v[j] == low[j] or v[j] == high[j]
            if resting:
                new = shrink(v[j] - slope_r[j] * inv[j], threshold[j] * inv[j], low[j], high[j])
                move = new - v[j]
                if move == 0:
                    continue
                v[j] = new
                for k in range(size):
                    slope_r[k] += move * a[j, k]
            active[count] = j
            count += 1
        for i in range(count):
            x[i], g[i] = v[active[i]], slope_r[active[i]]
            for k in range(count):
                small[i, k] = a[active[i], active[k]]
        goal = x[0] * 0
        for sweep in range(sweeps):
            largest = goal * 0
            for i in range(count):
                j = active[i]
                new = shrink(x[i] - g[i] * inv[j], threshold[j] * inv[j], low[j], high[j])
                move = new - x[i]
                if move != 0:
                    x[i] = new
                    for k in range(count):
                        g[k] += move * small[i, k]
                    largest = max(largest, abs(move))
            if sweep == 0:
                goal = largest * ratio
            if largest <= goal:
                break
        for i in range(count):
            v[active[i]] = x[i]
        for k in range(size):
            slope_r[k] = -b[k]
        for j in range(size):
            if v[j] != 0:
                for k in range(size):
                    slope_r[k] += v[j] * a[j, k]
        t, square = step[0 if shared else r], step[0] * 0
        for j in range(size):
            move = shrink(v[j] - t * slope_r[j], t * threshold[j], low[j], high[j]) - v[j]
            square += move * move
        length[r] = np.sqrt(square) / t


if numba is not None:
    FAST = {"contract", "reassoc", "nsz", "arcp"}  # but infinities (bounds) and NaN stay what they are
    shrink = numba.njit(inline="always", fastmath=FAST)(_shrink)
    descend = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")(_descend)


def descend_rows(
    matrix: Tensor,
    bounds: tuple[Tensor, Tensor, Tensor],
    linear: Tensor,
    u: Tensor,
    slope: Tensor,
    sweeps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One round for every row, on as many threads as torch may use.

    Args:
        matrix: A, (D, D) or (B, D, D).
        bounds: threshold, low and high of each coordinate, (D,) each.
        linear, u, slope: b, the point and ∇f there, (B, D).
        sweeps: over the active coordinates, at most.

    Returns:
        The new point (B, D), ∇f there (B, D) and the generalized gradient's length (B,).
    """
    u, slope, length = u.contiguous().clone(), slope.contiguous().clone(), torch.empty_like(u[:, 0])
    a = matrix.reshape(-1, *matrix.shape[-2:]).contiguous()
    diagonal = a.diagonal(dim1=1, dim2=2)
    inverse = torch.where(diagonal > 0, 1 / diagonal, 0.0).contiguous()
    step = 1 / diagonal.amax(1).clamp(min=torch.finfo(u.dtype).tiny)
    ratio = u.numpy().dtype.type(REDUCTION)

    def run(part: slice) -> None:
        per_row = part if len(a) > 1 else slice(None)
        shared = [t.numpy() for t in (a[per_row], inverse[per_row], *bounds)]
        own = [t[part].numpy() for t in (linear.contiguous(), u, slope, length)]
        descend(*shared, *own, step[per_row].numpy(), sweeps, ratio)  # type: ignore[call-arg]

    threads = min(torch.get_num_threads(), 1 + len(u) // ENOUGH)
    cuts = np.linspace(0, len(u), threads + 1).astype(int)
    parts = [slice(int(i), int(j)) for i, j in pairwise(cuts)]
    if threads == 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, parts))
    return u, slope, length

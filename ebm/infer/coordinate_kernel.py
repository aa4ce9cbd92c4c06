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

from ebm.infer.quadratic import Quadratic

try:
    import numba
except ImportError:  # the extra `compiled` is not installed
    numba = None  # type: ignore[assignment]

ENOUGH = 256  # rows that are worth a thread
REDUCTION = 0.01  # by which the largest move of the active coordinates falls in a round


def available() -> bool:
    """Whether numba is installed."""
    return numba is not None


def _shrink(v, threshold):  # numba infers the types
    return v - min(max(v, -threshold), threshold)


def _descend(
    a, inverse, threshold, low, high, bounded, b, u, slope, step, sweeps, ratio, v, new, smooth, length
):
    rows, size = u.shape
    per_row = len(a) > 1
    active = np.empty(size, np.int64)
    small = np.empty((size, size), u.dtype)  # H
    h = np.empty(size, u.dtype)  # ∇f of the row
    x, g = np.empty(size, u.dtype), np.empty(size, u.dtype)  # u and ∇f of the active coordinates
    t, soft = np.empty(size, u.dtype), np.empty(size, u.dtype)  # their 1 / A_jj and threshold / A_jj
    for r in range(rows):
        shared = r if per_row else 0
        for j in range(size):
            v[r, j], h[j] = u[r, j], slope[r, j]
        count = 0
        for j in range(size if sweeps else 0):
            x_j = v[r, j]
            if x_j == 0 or (bounded and (x_j == low[j] or x_j == high[j])):
                to = shrink(x_j - h[j] * inverse[shared, j], threshold[j] * inverse[shared, j])
                if bounded:
                    to = min(max(to, low[j]), high[j])
                move = to - x_j
                if move == 0:
                    continue
                v[r, j] = to
                for k in range(size):
                    h[k] += move * a[shared, j, k]
            active[count] = j
            count += 1
        for i in range(count):
            j = active[i]
            x[i], g[i], t[i], soft[i] = v[r, j], h[j], inverse[shared, j], threshold[j] * inverse[shared, j]
            for k in range(count):
                small[i, k] = a[shared, j, active[k]]
        goal = ratio * 0
        for sweep in range(sweeps):
            largest = ratio * 0
            for i in range(count):
                to = shrink(x[i] - g[i] * t[i], soft[i])
                if bounded:
                    to = min(max(to, low[active[i]]), high[active[i]])
                move = to - x[i]
                if move != 0:
                    x[i] = to
                    for k in range(count):
                        g[k] += move * small[i, k]
                    largest = max(largest, abs(move))
            if sweep == 0:
                goal = largest * ratio
            if largest <= goal:
                break
        for i in range(count):
            v[r, active[i]] = x[i]
        for k in range(size):
            new[r, k] = 0
        for j in range(size):
            if v[r, j] != 0:
                for k in range(size):
                    new[r, k] += v[r, j] * a[shared, j, k]
        product, square, one = ratio * 0, ratio * 0, step[shared]
        for j in range(size):
            new[r, j] -= b[r, j]
            product += v[r, j] * (new[r, j] - b[r, j])
            to = shrink(v[r, j] - one * new[r, j], one * threshold[j])
            if bounded:
                to = min(max(to, low[j]), high[j])
            square += (to - v[r, j]) ** 2
        smooth[r], length[r] = product / 2, np.sqrt(square) / one


if numba is not None:
    FAST = {"contract", "reassoc", "nsz", "arcp"}  # but infinities (bounds) and NaN stay what they are
    shrink = numba.njit(inline="always", fastmath=FAST)(_shrink)
    descend = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")(_descend)


def descend_rows(
    form: Quadratic,
    bounds: tuple[Tensor, Tensor, Tensor],
    u: Tensor,
    slope: Tensor | None = None,
    sweeps: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One round for every row, on as many threads as torch may use.

    Args:
        form: A, (D, D) or (B, D, D), b and c.
        bounds: threshold, low and high of each coordinate, (D,) each.
        u, slope: the point and ∇f there, (B, D); without sweeps ∇f need not be known.
        sweeps: over the active coordinates, at most; 0 for a look at u alone.

    Returns:
        The new point (B, D); ∇f (B, D), f - c (B,) and the generalized gradient's length (B,) there.
    """
    u = u.contiguous()
    v, new, smooth, length = (
        torch.empty_like(u),
        torch.empty_like(u),
        torch.empty_like(u[:, 0]),
        u.new_empty(len(u)),
    )
    a = form.matrix.reshape(-1, *form.matrix.shape[-2:]).contiguous()
    diagonal = a.diagonal(dim1=1, dim2=2)
    inverse = torch.where(diagonal > 0, 1 / diagonal, 0.0).contiguous()
    step = 1 / diagonal.amax(1).clamp(min=torch.finfo(u.dtype).tiny)
    ratio = u.numpy().dtype.type(REDUCTION)
    bounded = bool(torch.isfinite(torch.stack(bounds[1:])).any())
    rows = (form.linear.contiguous(), u, u if slope is None else slope.contiguous())

    def run(part: slice) -> None:
        per_row = part if len(a) > 1 else slice(None)
        shared = [each.numpy() for each in (a[per_row], inverse[per_row], *bounds)]
        own, out = ([each[part].numpy() for each in some] for some in (rows, (v, new, smooth, length)))
        descend(*shared, bounded, *own, step[per_row].numpy(), sweeps, ratio, *out)  # type: ignore[call-arg]

    threads = min(torch.get_num_threads(), 1 + len(u) // ENOUGH)
    cuts = np.linspace(0, len(u), threads + 1).astype(int)
    parts = [slice(int(i), int(j)) for i, j in pairwise(cuts)]
    if threads == 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, parts))
    return v, new, smooth, length

"""The nearest of many centers, for many rows: an exact search, by blocks of rows that stay in a cache.

    k*(y) = argmin_k |y - c_k|² = argmax_k 2 ⟨y, c_k⟩ - |c_k|²

The scores of a block are one matrix product, a center a line, (K, rows): the first of the largest is then
found for many rows at once, by one pass over memory. Of the center found the distance is taken from the
difference y - c_k, which loses no digits. Rows and centers are moved by the centers' median first: the
expanded square loses digits where both are far from the origin. What is left is a rounding error: of two
centers whose squared distances differ by less than some ε (|y|² + |c|²), either may be found.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ebm.infer.method import count

ON_CPU = 2**19  # scores at a time, for a cache of a megabyte or two
ELSEWHERE = 2**26


def nearest(y: Tensor, centers: Tensor, *, max_elements: int | None = None) -> tuple[Tensor, Tensor]:
    """The number of the nearest center of each row, and its squared distance.

    k*(y) = argmin_k |y - c_k|², the smallest of equals; |y - c_k*|². No graph is kept: differentiate
    (y - c[k*])² where a gradient is needed.

    Args:
        y: rows, (N, D); N may be 0.
        centers: c, (K, D), K at least 1.
        max_elements: how many scores, rows times centers, are held at a time; as suits the device if None.

    Returns:
        k*, (N,) int64, and the squared distances, (N,).

    Raises:
        TypeError: if rows or centers are no floating point numbers, or of two dtypes.
        ValueError: if the shapes disagree, there is no center, or a row or center is NaN, infinite or too
            large to square.

    Example:
        >>> nearest(torch.tensor([[0.0, 1.0], [5.0, 5.0]]), torch.tensor([[0.0, 0.0], [4.0, 5.0]]))
        (tensor([0, 1]), tensor([1., 1.]))
    """
    index, distance = search(y, centers, max_elements)
    finite = torch.isfinite(distance)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten().tolist()
        raise ValueError(
            f"{len(bad)} of {len(y)} rows, {bad[:5]}, have no distance: they, or a center, are NaN, infinite "
            "or too large to square. Drop or repair them, or scale the data down."
        )
    return index, distance


def search(y: Tensor, centers: Tensor, max_elements: int | None = None) -> tuple[Tensor, Tensor]:
    """As `nearest`, but a row that is no numbers has a NaN for a distance, and any center's number."""
    _check(y, centers)
    with torch.no_grad():
        middle = centers.median(0).values  # numbers of the data's own grid: equal distances stay equal
        find = Nearest(centers - middle, max_elements)
        index, distance = torch.empty(len(y), dtype=torch.int64, device=y.device), y.new_empty(len(y))
        for start in range(0, len(y), find.rows):
            block = slice(start, start + find.rows)
            score, index[block] = find(y[block] - middle)
            distance[block] = (y[block] - centers[index[block]]).square().sum(1)
            distance[block] += 0 * score  # NaN, where the search did not compare numbers
    return index, distance


class Nearest:
    """A search among held centers, for a block of rows at a time.

    Args:
        centers: c, (K, D); near the origin, for the sake of the digits.
        max_elements: as in `nearest`.

    Attributes:
        rows: how many rows a block should have.
    """

    def __init__(self, centers: Tensor, max_elements: int | None = None):
        if max_elements is None:
            max_elements = ON_CPU if centers.device.type == "cpu" else ELSEWHERE
        self.rows = max(1, count("max_elements", max_elements) // len(centers))
        self.slope = 2 * centers
        self.offset = -centers.square().sum(1, keepdim=True)

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The largest 2⟨y, c_k⟩ - |c_k|² of each row, (B, D) -> (B,), and its k, the first, (B,) int64."""
        scores = torch.addmm(self.offset, self.slope, y.T)  # (K, B)
        if scores.device.type != "cpu":
            largest, index = scores.max(0)
            return largest, index
        image = scores.view(1, len(scores), 1, -1).permute(
            0, 3, 1, 2
        )  # (1, B, K, 1), "channels last" in memory
        pooled, index = functional.max_pool2d_with_indices(image, (len(scores), 1))  # far faster than max(0)
        return pooled.flatten(), index.flatten()


def _check(y: Tensor, centers: Tensor) -> None:
    if y.ndim != 2 or centers.ndim != 2 or not len(centers) or y.shape[1] != centers.shape[1]:
        raise ValueError(
            f"expected rows (N, D) and centers (K, D) of one width, K at least 1; got rows of shape "
            f"{tuple(y.shape)} and centers of shape {tuple(centers.shape)}."
        )
    if not y.is_floating_point() or y.dtype != centers.dtype:
        raise TypeError(
            f"rows and centers are floating point numbers of one dtype; got {y.dtype} and {centers.dtype}. "
            "Convert one: y.to(centers)."
        )

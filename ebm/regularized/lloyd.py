"""Lloyd's algorithm: every row to its nearest center, every center to the mean of its rows, in turn.

    z_i ← argmin_k |y_i - c_k|²,        c_k ← mean of the y_i with z_i = k

Neither half can raise the inertia Σ_i |y_i - c_{z_i}|², and there are finitely many z: it comes to rest. A
center that has lost all its rows takes the row that is farthest from its own center.

The start decides where it rests. k-means++ draws each center from the data, a row with a probability
proportional to its squared distance from the centers so far; of a few draws it keeps the one that leaves the
least inertia.

Reference: Lloyd (1982), "Least squares quantization in PCM"; Arthur & Vassilvitskii (2007), "k-means++: The
Advantages of Careful Seeding", sect. 2.2; the best of several draws as in scikit-learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ebm.history import History
from ebm.regularized.exact import home
from ebm.regularized.nearest import Nearest
from ebm.steps import Steps


def lloyd(y: Tensor, centers: Tensor, max_steps: int, tol: float, steps: Steps) -> tuple[Tensor, History]:
    """Improve centers until no row moves, or the centers move little, or the steps are used up.

    Args:
        y: data, (N, D), finite.
        centers: c, (K, D); not changed.
        max_steps: at most so many.
        tol: it also ends where Σ_k |c_k - previous c_k|² <= tol times the mean variance of a coordinate.
        steps: the loop that it belongs to, where Ctrl-C is heard.

    Returns:
        The centers, (K, D), and for each step the "inertia" before the centers moved, the number of rows that
        "moved" to another center and how many centers were "repaired"; last, the inertia in the end.
    """
    middle = y.mean(0)
    y, centers = y - middle, centers - middle  # the expanded squares lose no digits near the origin
    squares = torch.linalg.vector_norm(y, dim=1).square()
    enough = tol * float(squares.double().mean()) / y.shape[1]
    before, done = torch.full((len(y),), -1, device=y.device), False
    history = History()
    try:
        for step in range(max_steps + 1):
            distance, index = squares.clone(), torch.empty_like(before)
            find = Nearest(centers)
            for start in range(0, len(y), find.rows):
                block = slice(start, start + find.rows)
                score, index[block] = find(y[block])
                distance[block] -= score
            moved = int((index != before).sum())
            history.append(
                {"inertia": max(0.0, float(distance.double().sum())), "moved": moved, "repaired": 0}
            )
            over = moved == 0 or done or step == max_steps
            if steps.ended(over, inertia=history.rows[-1]["inertia"], moved=moved):
                break
            means, repaired = _means(y, centers, distance, index)
            history.rows[-1]["repaired"] = repaired
            done = float((means - centers).square().sum()) <= enough
            centers, before = means, index
    except KeyboardInterrupt:  # the second one: what the step under way has not finished is dropped
        steps.interrupted = True
    return centers + middle, history


def _means(y: Tensor, centers: Tensor, distance: Tensor, index: Tensor) -> tuple[Tensor, int]:
    """The mean of each center's rows; where there are none, the rows farthest from their own centers."""
    counts = torch.bincount(index, minlength=len(centers))
    order = index.to(torch.int32).argsort()  # rows of one center in sequence are summed faster than scattered
    begins = functional.pad(counts.cumsum(0), (1, 0))
    sums = functional.embedding_bag(order, y, begins, mode="sum", include_last_offset=True)
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        far = distance.topk(len(empty)).indices
        sums = sums.index_add(0, index[far], y[far], alpha=-1).index_copy_(0, empty, y[far])
        counts = counts.index_add(0, index[far], torch.ones_like(far), alpha=-1).index_fill_(0, empty, 1)
    means = sums / counts.unsqueeze(1)
    return torch.where((counts > 0).unsqueeze(1), means, centers), len(empty)


def plus_plus(y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """K centers drawn from the data by k-means++, (K, D): of 2 + ⌊log K⌋ draws the best each time.

    Args:
        y: data, (N, D).
        k: K, at most N.
        generator: randomness of the draws.
    """
    middle = y.mean(0)
    z = y - middle
    squares = torch.linalg.vector_norm(z, dim=1).square()
    draws = torch.rand(k, 2 + int(math.log(k)), generator=generator, device=home(generator)).to(z)
    chosen = (draws[0, :1] * len(z)).long().clamp_(max=len(z) - 1)
    closest = (z - z[chosen]).square().sum(1)
    for draw in draws[1:]:
        mass = closest.double().cumsum(0)
        rows = torch.searchsorted(mass, draw.double() * mass[-1]).clamp_(max=len(z) - 1)
        distance = torch.addmm(squares.unsqueeze(1), z, z[rows].T, alpha=-2).add_(squares[rows])
        distance = torch.minimum(distance.clamp_(min=0), closest.unsqueeze(1))  # (N, draws)
        best = distance.sum(0).argmin()
        chosen, closest = torch.cat([chosen, rows[best].view(1)]), distance[:, best]
    return y[chosen]


def random_rows(y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """K different rows of the data, (K, D), all equally likely."""
    return y[torch.randperm(len(y), generator=generator, device=home(generator))[:k].to(y.device)]

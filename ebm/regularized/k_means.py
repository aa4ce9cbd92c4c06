"""K-means: data explained by the nearest of K centers.

    E(y, z) = |y - c_z|²,  z ∈ {0, ..., K - 1},        F(y) = min_z E(y, z)

The code is one of K, so no more than K points have energy zero, however the centers lie: what bounds the
space of low energy is the architecture, and pushing the energy of the data down is all of learning.
Everything is exact: the inference looks at every center, the learning is Lloyd's algorithm.

Reference: MacQueen (1967), "Some methods for classification and analysis of multivariate observations";
Lloyd (1982), "Least squares quantization in PCM".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.history import History
from ebm.infer.method import count, positive
from ebm.regularized.checks import check_choice, check_parameters
from ebm.regularized.exact import check_data, exactly
from ebm.regularized.lloyd import lloyd, plus_plus, random_rows
from ebm.regularized.nearest import nearest, search
from ebm.solution import Solution, Stop
from ebm.steps import Steps

STARTS = {"k-means++": plus_plus, "random": random_rows}
Seeding = Literal["k-means++", "random"]


class KMeans(Energy):
    """E(y, z) = |y - c_z|², for data y (B, D) and numbers of centers z (B,) int64.

    Args:
        centers: c, (K, D), one center a row. A tensor is kept as a buffer, a parameter as a parameter.

    Raises:
        TypeError: if they are no floating point numbers.
        ValueError: if they are not a matrix with a row and a column, or hold NaN or infinity.

    Example:
        >>> model = KMeans(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
        >>> y = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
        >>> model(y=y, z=torch.tensor([0, 0])), model.free_energy(y=y)
        (tensor([ 1., 10.]), tensor([1., 2.]))
        >>> model.infer(y).value
        tensor([0, 1])
        >>> history = model.fit(y)  # each has one row
        >>> model.centers
        tensor([[1., 0.],
                [3., 1.]])
    """

    def __init__(self, centers: Tensor):
        super().__init__()
        if centers.ndim != 2 or not centers.numel():
            raise ValueError(f"centers are (K, D), one a row, K, D >= 1; got shape {tuple(centers.shape)}.")
        check_parameters(centers=centers)
        if isinstance(centers, nn.Parameter):
            self.centers: Tensor = centers
        else:
            self.register_buffer("centers", centers)

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        k: int,
        *,
        start: Seeding = "k-means++",
        generator: torch.Generator | None = None,
    ) -> KMeans:
        """A model whose centers are rows of the data, ready to `fit`.

        Args:
            y: (N, D).
            k: K, at most N.
            start: "k-means++" draws rows far from those before, "random" draws all alike.
            generator: randomness of the draws.

        Raises:
            ValueError: if there are fewer rows than centers, or a row holds NaN or infinity.
        """
        y = check_data(y, least=count("k", k))
        return cls(_seeding(start)(y, k, generator))

    def decode(self, z: Tensor) -> Tensor:
        """The centers of these numbers, c_z, (B,) -> (B, D)."""
        return self.centers[check_choice(z, len(self.centers), "centers")]

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        self._check(y)
        return (y - self.decode(z)).square().sum(1)

    def infer(self, y: Tensor) -> Solution:
        """The nearest center of each row: argmin_z E(y, z), the smallest number of equals.

        Args:
            y: (B, D).

        Returns:
            A `Solution` whose `value` is z, (B,) int64, and `energy` F(y), (B,).

        Raises:
            ValueError: if a row holds NaN or infinity.
        """
        self._check(y)
        return exactly(*nearest(y.detach(), self.centers.detach()), Stop.EXHAUSTED)

    @property
    def free_energy(self) -> KMeansFreeEnergy:
        """F(y) = min_z E(y, z), an energy of y; its gradient in y and c is that of E at z*."""
        return KMeansFreeEnergy(self)

    def fit(
        self,
        y: Tensor,
        *,
        max_steps: int = 300,
        tol: float = 1e-4,
        n_init: int = 1,
        start: Seeding = "k-means++",
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> History:
        """Learn the centers by Lloyd's algorithm, in place; Ctrl-C ends it after a whole step.

        Args:
            y: (N, D), N at least K.
            max_steps: at most so many means are taken.
            tol: it ends when no row moves, or when Σ_k |Δc_k|² is at most tol times the mean variance of a
                coordinate of y.
            n_init: how many times; the first from the present centers, the others from new ones. The least
                inertia wins.
            start, generator: how the new centers are drawn.
            progress: show a bar if it takes long.

        Returns:
            Of the best time, for each step the "inertia" Σ_i F(y_i) before its means were taken, how many
            rows had "moved" and how many centers without rows were "repaired"; last, the inertia in the end.

        Raises:
            ValueError: if the data don't fit the centers, are fewer than they, or hold NaN or infinity.
        """
        count("max_steps", max_steps)
        count("n_init", n_init)
        positive("tol", tol, zero=True)
        k, dim = self.centers.shape
        seeding, begun = _seeding(start), time.perf_counter()
        y = check_data(y, dim, least=k)
        best, history = self.centers.detach().to(y), History()
        with torch.no_grad(), Steps("k-means", n_init * (max_steps + 1), progress) as steps:
            best, history = lloyd(y, best, max_steps, tol, steps)
            for _ in range(n_init - 1):
                if steps.cut():
                    break
                centers, other = lloyd(y, seeding(y, k, generator), max_steps, tol, steps)
                if other.rows and other.rows[-1]["inertia"] < history.rows[-1]["inertia"]:
                    best, history = centers, other
        if history.rows:
            with torch.no_grad():
                self.centers.copy_(best)
        history.interrupted = steps.interrupted
        history.seconds = time.perf_counter() - begun
        return history

    def _check(self, y: Tensor) -> None:
        if y.ndim != 2 or y.shape[1] != self.centers.shape[1]:
            raise ValueError(
                f"y must be (B, {self.centers.shape[1]}), as wide as the centers; got {tuple(y.shape)}."
            )


class KMeansFreeEnergy(Energy):
    """F(y) = min_k |y - c_k|²: K paraboloids, of which the lowest counts."""

    def __init__(self, model: KMeans):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        self.model._check(y)
        z, _ = search(y.detach(), self.model.centers.detach())
        return (y - self.model.centers[z]).square().sum(1)


def _seeding(start: str) -> Callable[[Tensor, int, torch.Generator | None], Tensor]:
    if start not in STARTS:
        raise ValueError(f"start is one of {', '.join(map(repr, STARTS))}; got {start!r}.")
    return STARTS[start]

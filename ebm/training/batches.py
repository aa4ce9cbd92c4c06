"""Batches: which rows of the data each step sees, and which of these each process and micro-batch.

    order = permutation of 0..N-1, another one when it is used up;  a batch is its next B entries

A batch of B rows goes to K micro-batches one after another (`accumulate`), and each of these to W processes
at once: micro-batch k is rows [kB/K, (k+1)B/K) of the batch, and process r has the r-th of its W equal parts.
So what is compared within a micro-batch is the same for every W.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.processes import rank, share, world_size


class Batches:
    """Indices of batches, (B,), without end: every row once before any comes twice, alike in all processes.

    Args:
        rows: N, how many the data has.
        size: B, over all processes and micro-batches; N if the data has fewer rows.
        accumulate: K, micro-batches in a batch.
        generator: source of the orders (that of process 0 counts).

    Attributes:
        left: the rest of the present order, (0 to N,); all there is to save.

    Raises:
        ValueError: if a batch can't be shared equally.

    Example:
        >>> batches = Batches(5, 2, generator=torch.Generator().manual_seed(0))
        >>> [batches.next().tolist() for _ in range(3)]
        [[4, 0], [1, 3], [2, 3]]
    """

    def __init__(
        self, rows: int, size: int, accumulate: int = 1, generator: torch.Generator | None = None
    ) -> None:
        self.rows, self.size, self.accumulate, self.generator = rows, min(size, rows), accumulate, generator
        self.home = None if generator is None else generator.device
        self.left = torch.empty(0, dtype=torch.int64, device=self.home)
        if self.size % (accumulate * world_size()):
            cut = (
                "" if size == self.size else f" (batch_size={size} is more than the {rows} rows of the data)"
            )
            raise ValueError(
                f"a batch of {self.size} rows{cut} can't be shared equally by {world_size()} processes "
                f"with {accumulate} micro-batches each; choose a batch_size that is a multiple of "
                f"{accumulate * world_size()}."
            )

    def next(self) -> Tensor:
        """The rows of the next batch, (B,), on the CPU: a tensor on any device takes such indices."""
        if len(self.left) < self.size:
            order = torch.randperm(self.rows, generator=self.generator, device=self.home)
            share([order])
            self.left = torch.cat([self.left, order])
        batch, self.left = self.left[: self.size], self.left[self.size :]
        return batch.cpu()

    def parts(self, batch: Tensor) -> list[Tensor]:
        """This process's rows of each micro-batch, K times (B / K / W,)."""
        return list(batch.view(self.accumulate, world_size(), -1)[:, rank()])

"""How many numbers of a code are not 0: as a cost, as a limit, and as a choice of one.

    L0        #{i : z_i ≠ 0}                prox: v where v² > 2t, else 0        a price for each
    TopK      0 where at most k are, else +inf      prox: the k largest |v|      a limit
    OneHot    0 where one is 1 and the others 0, else +inf      prox: 1 at the largest v, else 0

None is convex, so a proximal method finds a code that no single step improves, not always the best one
(iterated hard thresholding). Over the one-hot codes the best is found by looking at them all:
`Enumerate(torch.eye(K))`, which makes k-means of a reconstruction.

Reference: Blumensath & Davies (2008), "Iterative Thresholding for Sparse Approximations"; Makhzani & Frey
(2013), "k-Sparse Autoencoders".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ebm.regularizers.regularizer import Regularizer, allowed, slack
from ebm.rows import expand, flat


class L0(Regularizer):
    """The number of entries that are not 0.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> L0("z")(z=torch.tensor([[3.0, 0.0, -0.1]]))
        tensor([2.])
        >>> L0("z").prox(torch.tensor([[3.0, 0.5, -1.5]]), step=torch.tensor([1.0]))
        tensor([[ 3.0000,  0.0000, -1.5000]])
    """

    separable = True

    def cost(self, v: Tensor) -> Tensor:
        return (flat(v) != 0).sum(1).to(v.dtype)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """argmin_u t·#{u ≠ 0} + ½|u - v|²: v itself where v² > 2t, else 0, like v."""
        return torch.where(v.square() > 2 * expand(step, v), v, 0.0)


class TopK(Regularizer):
    """0 where at most k entries of a row are not 0, else +inf.

    Args:
        variable: the name of the variable, of any shape (B, *shape); all entries of a row count together.
        k: at least 1.

    Raises:
        ValueError: if k is no positive integer.

    Example:
        >>> TopK("z", 1)(z=torch.tensor([[3.0, 0.0], [3.0, 1.0]]))
        tensor([0., inf])
        >>> TopK("z", 2).prox(torch.tensor([[3.0, 0.5, -1.5]]), step=torch.ones(1))
        tensor([[ 3.0000,  0.0000, -1.5000]])
    """

    indicator = True

    def __init__(self, variable: str, k: int):
        super().__init__(variable)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k is how many entries may differ from 0, at least 1; got {k!r}.")
        self.k = k

    def cost(self, v: Tensor) -> Tensor:
        return allowed((flat(v) != 0).sum(1) <= self.k, v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """The k entries of largest |v|, the first of equals, and 0 for the others, like v."""
        rows = flat(v)
        if rows.shape[1] <= self.k:
            return v.clone()
        kept = rows.abs().argsort(dim=1, descending=True, stable=True)[:, : self.k]
        return torch.zeros_like(rows).scatter(1, kept, rows.gather(1, kept)).view_as(v)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.k}"


class OneHot(Regularizer):
    """0 where the vector along the last dimension has one 1 and is 0 elsewhere, else +inf.

    Args:
        variable: the name of the variable, (B, ..., K). Inside within 100 eps in each coordinate.

    Example:
        >>> OneHot("z")(z=torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
        tensor([0., inf])
        >>> OneHot("z").prox(torch.tensor([[0.2, 0.9, -3.0]]), step=torch.ones(1))
        tensor([[0., 1., 0.]])
    """

    indicator = True

    def cost(self, v: Tensor) -> Tensor:
        return allowed((v - self._nearest(v)).abs() <= slack(v), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """The nearest one-hot vector, the first of equals, like v."""
        return self._nearest(v)

    def _nearest(self, v: Tensor) -> Tensor:
        return one_hot(v.argmax(-1), v.shape[-1]).to(v.dtype)

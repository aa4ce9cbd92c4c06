"""Counting the codes of an encoder, which aren't negative: how many are on, as a cost or as a limit.

    NonNegativeL0    |z|₀, z >= 0                     prox: v where v > √(2t), else 0
    KSparse          0 if |z|₀ <= k, z >= 0           prox: the k greatest of max(v, 0), else 0

Neither is convex: a proximal method goes downhill from where it begins and finds a minimum near by.

For codes of either sign there are `L0` and `TopK` of `ebm.regularizers.counts`; a sum of one of those and
`NonNegative` would have two proxes, whose order would matter.

Reference: Blumensath & Davies (2008), "Iterative Thresholding for Sparse Approximations".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.regularizers.counts import TopK
from ebm.regularizers.regularizer import Regularizer, allowed, slack
from ebm.rows import expand, flat


class NonNegativeL0(Regularizer):
    """The number of coordinates that aren't 0, |v|₀ where v >= 0, else +inf.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> NonNegativeL0("z")(z=torch.tensor([[3.0, 0.0, 0.1], [0.0, -1.0, 0.0]]))
        tensor([2., inf])
        >>> NonNegativeL0("z").prox(torch.tensor([[3.0, 0.9, -2.0]]), step=torch.tensor([0.5]))
        tensor([[3., 0., 0.]])
    """

    separable = True

    def cost(self, v: Tensor) -> Tensor:
        return (flat(v) > slack(v)).sum(1).to(v.dtype) + allowed(v >= -slack(v), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """argmin_{u >= 0} t|u|₀ + ½|u - v|², like v: keeping v saves ½v² and costs t; v where v > √(2t)."""
        return torch.where(v > (2 * expand(step, v)).sqrt(), v, 0.0)


class KSparse(TopK):
    """0 where v >= 0 and at most k coordinates of a row aren't 0, else +inf.

    Args:
        variable: the name of the variable, of any shape (B, *shape).
        k: at least 1.

    Raises:
        ValueError: if k isn't positive.

    Example:
        >>> KSparse("z", 1)(z=torch.tensor([[3.0, 0.0], [3.0, 1.0]]))
        tensor([0., inf])
        >>> KSparse("z", 2).prox(torch.tensor([[3.0, 1.0, 2.0]]), step=torch.ones(1))
        tensor([[3., 0., 2.]])
    """

    def cost(self, v: Tensor) -> Tensor:
        few = (flat(v) > slack(v)).sum(1) <= self.k
        return allowed(few, v) + allowed(v >= -slack(v), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """The nearest point of the set, like v; the step changes nothing."""
        return greatest(flat(v), self.k).view_as(v)


def greatest(v: Tensor, k: int) -> Tensor:
    """The k greatest numbers of each row where they are positive, all others 0, (B, K) -> (B, K)."""
    if k >= v.shape[1]:
        return v.relu()
    values, index = v.topk(k, 1)
    return torch.zeros_like(v).scatter(1, index, values.relu())

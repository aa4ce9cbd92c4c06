"""How crowded it is around each code: what contrastive criteria make small, in one product of matrices less.

    c_i = log Σ_k exp(⟨z_i, z_k⟩ / τ),        k over the codes of all other examples

With E_ik = 1 - ⟨z_i, z_k⟩ and β = 1/τ this is β minus the free energy of the other examples, βF_i =
-log Σ_k exp(-βE_ik). NT-Xent, DCL and uniformity are functions of it and of the positive pairs. With p_ik =
exp(⟨z_i, z_k⟩/τ - c_i) and a gradient g of c, the gradient of Z is (diag(g) P + Pᵀ diag(g)) Z / τ: one
product with a symmetric matrix, where differentiating Z Zᵀ step by step takes two. The matrix Z Zᵀ itself is
symmetric, so only its upper half is multiplied out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.first_order import first_order

ROWS = 512  # of the similarities, worked on at a time


def crowding(z: Tensor, temperature: float, views: int = 1) -> Tensor:
    """c_i = log Σ_k exp(⟨z_i, z_k⟩ / τ), over the codes k of all examples but the one that i belongs to.

    Args:
        z: codes of `views` views, one view below the other, (V·N, D): rows i and i + N are of one example.
        temperature: τ > 0.
        views: V, at least 1.

    Returns:
        c, (V·N,); differentiable once.

    Raises:
        ValueError: if the rows aren't those of two examples or more.

    Example:
        >>> crowding(torch.eye(3), temperature=0.5)  # log 2 for two others at right angles
        tensor([0.6931, 0.6931, 0.6931])
    """
    if len(z) % views or len(z) < 2 * views:
        raise ValueError(
            f"crowding compares different examples: it needs 2 or more of them, {views} rows each; got "
            f"{len(z)} rows."
        )
    crowded: Tensor = _Crowding.apply(z, temperature, views)
    return crowded


class _Crowding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float, views: int) -> Tensor:
        rows, examples = len(z), len(z) // views
        weights = z.new_empty(rows, rows)  # first ⟨z_i, z_k⟩ / τ, then exp of that less the row's greatest
        greatest, total = z.new_empty(rows), z.new_empty(rows)
        others = z.T / temperature
        for start in range(0, rows, ROWS):
            stop = min(start + ROWS, rows)
            torch.mm(z[start:stop], others[:, start:], out=weights[start:stop, start:])
            weights[stop:, start:stop] = weights[start:stop, stop:].T
            block = weights[start:stop]
            for view in range(views):  # leave out the example itself, in every view
                own = (torch.arange(start, stop, device=z.device) + view * examples) % rows
                block.scatter_(1, own[:, None], -torch.inf)
            torch.amax(block, 1, out=greatest[start:stop])
            torch.sum(block.sub_(greatest[start:stop, None]).exp_(), 1, out=total[start:stop])
        ctx.save_for_backward(z, weights, total)
        ctx.temperature = temperature
        return total.log().add_(greatest)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        z, weights, total = ctx.saved_tensors
        share = gradient / total / ctx.temperature  # share_i weights_ik = g_i p_ik / τ
        towards = torch.empty_like(z)
        for start in range(0, len(z), ROWS):
            block = slice(start, start + ROWS)
            both = weights[block] * share[block, None]
            both.addcmul_(weights[:, block].T, share)
            torch.mm(both, z, out=towards[block])
        return towards, None, None

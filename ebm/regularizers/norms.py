"""Norms as energies: what a code costs, and with it how much space can have low energy.

    L1               Σ |z_i|             prox: sign(v) max(|v| - t, 0)        most coordinates exactly 0
    L2               ½ Σ z_i²            smooth: ∇ = z                        small, none exactly 0
    GroupL1          Σ_g |z_g|₂          prox: v_g max(1 - t / |v_g|₂, 0)     whole groups exactly 0
    NonNegativeL1    Σ z_i, z >= 0       prox: max(v - t, 0)                  most exactly 0, none negative

L2 has no prox although it could: it is smooth, and so can stand beside a term with one (L1 + L2 is the
elastic net).

Reference: Parikh & Boyd (2014), "Proximal Algorithms", sect. 6.5; groups: Yuan & Lin (2006), eq. 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from ebm.regularizers.regularizer import Regularizer, Shrinkage, allowed, slack
from ebm.rows import by_blocks, dot, expand, flat


class L1(Regularizer):
    """The sum of absolute values, Σ_i |v_i|.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> (0.5 * L1("z"))(z=torch.tensor([[3.0, -1.0]]))
        tensor([2.])
        >>> L1("z").prox(torch.tensor([[3.0, -1.0, 0.2]]), step=torch.tensor([0.5]))
        tensor([[ 2.5000, -0.5000,  0.0000]])
    """

    separable = True

    def cost(self, v: Tensor) -> Tensor:
        return by_blocks(lambda rows: (rows.abs().sum(1),), flat(v))[0]

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """argmin_u t|u|₁ + ½|u - v|² = max(v - t, 0) + min(v + t, 0), like v."""
        t = expand(step, v).clamp(min=torch.finfo(v.dtype).eps ** 2)
        return softshrink(v / t, 1.0).mul_(t)  # several times faster than shrinking by a tensor

    def shrinkage(self) -> Shrinkage:
        """Softening alone."""
        return Shrinkage(1.0, -torch.inf, torch.inf)

    def dual_norm(self, v: Tensor) -> Tensor:
        """max_i |v_i|, (B,): the least s for which v / s is a subgradient at 0."""
        return torch.linalg.vector_norm(flat(v), torch.inf, dim=1)


class L2(Regularizer):
    """Half the squared norm, ½ Σ_i v_i². Smooth.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> L2("z")(z=torch.tensor([[3.0, -1.0]]))
        tensor([5.])
    """

    def __init__(self, variable: str):
        super().__init__(variable)
        self.closed_form = (variable,)  # type: ignore[misc]

    def cost(self, v: Tensor) -> Tensor:
        return 0.5 * dot(v, v)

    def value_and_grad(self, name: str, **variables: Tensor) -> tuple[Tensor, Tensor]:
        """½|v|², (B,), and its gradient v."""
        v = variables[name]
        return self.cost(v), v

    def quadratic(self, name: str, **others: Any) -> tuple[Tensor, Tensor, Tensor]:
        """½ vᵀAv - bᵀv + c with A the identity, which a 0-dim 1 stands for, b = 0 and c = 0."""
        zero = torch.zeros((), dtype=torch.float64)  # a 0-dim tensor takes on the dtype of what it meets
        return zero + 1, zero, zero


class GroupL1(Regularizer):
    """The sum of the Euclidean norms of groups, Σ_g |v_g|₂.

    Args:
        variable: the name of the variable, (B, ..., D).
        size: the last dimension is made of D / size groups, each of `size` neighbors; None: it is one group,
            so a variable (B, G, S) has G groups.

    Raises:
        ValueError: if `size` is not positive, or (when used) doesn't divide D.

    Example:
        >>> groups = GroupL1("z", 2)
        >>> groups(z=torch.tensor([[3.0, 4.0, 0.0, 1.0]]))
        tensor([6.])
        >>> groups.prox(torch.tensor([[3.0, 4.0, 0.0, 1.0]]), step=torch.tensor([1.0]))
        tensor([[2.4000, 3.2000, 0.0000, 0.0000]])
    """

    def __init__(self, variable: str, size: int | None = None):
        super().__init__(variable)
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(
                f"size is the number of neighbors in a group, at least 1, or None; got {size!r}."
            )
        self.size = size

    def grouped(self, v: Tensor) -> Tensor:
        """v with the members of a group last, (B, ..., G, size)."""
        if v.ndim < 2:
            raise ValueError(f"GroupL1 needs rows that are vectors, (B, ..., D); got shape {tuple(v.shape)}.")
        size = v.shape[-1] if self.size is None else self.size
        if v.shape[-1] % size:
            raise ValueError(
                f"groups of {size} don't divide the last dimension, {v.shape[-1]}, of {self.variables[0]!r}."
            )
        return v.unflatten(-1, (-1, size))

    def cost(self, v: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self.grouped(v), dim=-1).flatten(1).sum(1)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """argmin_u t Σ_g |u_g|₂ + ½|u - v|²: each group is shortened by t, to 0 at most, like v."""
        groups = self.grouped(v)
        length = torch.linalg.vector_norm(groups, dim=-1, keepdim=True)
        kept = (length - expand(step, length)).clamp(min=0)
        return (groups * (kept / length.clamp(min=torch.finfo(v.dtype).tiny))).view_as(v)

    def dual_norm(self, v: Tensor) -> Tensor:
        """max_g |v_g|₂, (B,)."""
        return torch.linalg.vector_norm(self.grouped(v), dim=-1).flatten(1).amax(1)


class NonNegativeL1(Regularizer):
    """The sum of coordinates that must not be negative: Σ_i v_i where v >= 0, else +inf.

    A sum and a constraint on one variable are two proxes, whose order would matter; this is their joint term.
    The energy is +inf below -100 eps (of the dtype) only, so that rounding doesn't count.

    Args:
        variable: the name of the variable, of any shape (B, *shape).

    Example:
        >>> NonNegativeL1("z")(z=torch.tensor([[3.0, 1.0], [3.0, -1.0]]))
        tensor([4., inf])
        >>> NonNegativeL1("z").prox(torch.tensor([[3.0, -1.0]]), step=torch.tensor([0.5]))
        tensor([[2.5000, 0.0000]])
    """

    separable = True

    def cost(self, v: Tensor) -> Tensor:
        return flat(v).sum(1) + allowed(v >= -slack(v), v)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        """argmin_{u >= 0} t Σu + ½|u - v|² = max(v - t, 0), like v."""
        return torch.sub(v, expand(step, v)).clamp_(min=0)

    def shrinkage(self) -> Shrinkage:
        """Softening, then clipping at 0."""
        return Shrinkage(1.0, 0.0, torch.inf)

    def dual_norm(self, v: Tensor) -> Tensor:
        """max_i max(v_i, 0), (B,)."""
        return flat(v).amax(1).clamp(min=0)

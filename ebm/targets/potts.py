"""The Potts model: sites of K colors that like, or dislike, to have the color of their neighbors.

    E(y) = -½ Σ_ij J_ij [y_i = y_j] - Σ_i h_{i, y_i},        y ∈ {0, ..., K-1}^D

In one-hot form, y_i ∈ {e_1, ..., e_K}, the bracket is the inner product y_iᵀy_j, and the energy a quadratic
function of real numbers, as methods that need a gradient like it. With K = 2 it is the Ising model of ½J.

Reference: Potts (1952), "Some generalized order-disorder transformations".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ebm.targets.discrete import DiscreteTarget, symmetric
from ebm.targets.lattice import neighbors


class Potts(DiscreteTarget):
    """A Potts model with any couplings; log Z and moments by enumeration, for K^D <= 2²⁰.

    It takes states one-hot, (B, D, K), or as indices, (B, D) int64, the form of `Choices`; its own answers
    (`states`, `mean`, `exact_samples`) are one-hot. An `nn.Parameter` for J or h stays one and is learned.

    Args:
        coupling: J, (D, D), symmetric with a diagonal of zeros.
        values: K >= 2.
        field: h, (D, K), or (K,) for all sites; 0 if None.

    Raises:
        TypeError, ValueError: if J is not such a matrix, K < 2, or h has another shape; on a call, if y has.

    Example:
        >>> pair = Potts(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), values=3)
        >>> pair(y=torch.tensor([[2, 2], [2, 0]])), pair(y=torch.eye(3)[torch.tensor([[2, 2], [2, 0]])])
        (tensor([-1., -0.]), tensor([-1., -0.]))
        >>> round(pair.log_z, 4)  # log(3e + 6)
        2.6501
    """

    coupling: Tensor
    field: Tensor

    def __init__(self, coupling: Tensor, values: int, field: Tensor | None = None):
        if not isinstance(values, int) or values < 2:
            raise ValueError(f"Potts needs values >= 2, an integer; got {values!r}.")
        super().__init__(symmetric("Potts", coupling).shape[0], values, one_hot=True, like=coupling.detach())
        if field is None:
            field = coupling.detach().new_zeros(values)
        if field.shape not in ((self.dim, values), (values,)):
            raise ValueError(
                f"Potts needs a field of shape {(self.dim, values)} or ({values},); got {tuple(field.shape)}."
            )
        self.hold(coupling=coupling, field=field)

    @classmethod
    def lattice(
        cls,
        height: int,
        width: int,
        values: int,
        coupling: float = 1.0,
        periodic: bool = True,
        dtype: torch.dtype | None = None,
    ) -> Potts:
        """The square lattice of height · width sites; its arguments are those of `Ising.lattice`."""
        bonds = neighbors(height, width, periodic).to(torch.get_default_dtype() if dtype is None else dtype)
        return cls(coupling * bonds, values)

    def forward(self, y: Tensor) -> Tensor:
        if not y.is_floating_point():
            y = one_hot(y.flatten(1), self.values).to(self.coupling)
        if y.shape[1:] != (self.dim, self.values):
            raise ValueError(
                f"Potts takes one-hot states (B, {self.dim}, {self.values}), or indices (B, {self.dim}); got "
                f"{tuple(y.shape)}."
            )
        return -(y * (0.5 * self.coupling @ y + self.field)).flatten(1).sum(1)

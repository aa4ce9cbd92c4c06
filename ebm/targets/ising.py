"""The Ising model: spins that like, or dislike, to point the way their neighbors do.

    E(y) = -½ Σ_ij J_ij s_i s_j - Σ_i h_i s_i,        s = 2y - 1,  y ∈ {0, 1}^D

With J = 1/T between neighbors of a square lattice it orders at J = ½ log(1 + √2) ≈ 0.4407, the best known of
all phase transitions. With any J it is the Boltzmann machine without hidden units, which is what p of binary
data with given means and correlations looks like when nothing else is assumed.

Reference: Ising (1925); Onsager (1944), "Crystal Statistics. I.", for the lattice; Ackley, Hinton, Sejnowski
(1985), "A Learning Algorithm for Boltzmann Machines".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.rows import flat
from ebm.targets.discrete import DiscreteTarget, symmetric
from ebm.targets.lattice import neighbors

CRITICAL = 0.44068679350977147  # ½ log(1 + √2), where the square lattice orders


class Ising(DiscreteTarget):
    """An Ising model with any couplings; log Z and moments by enumeration, for D <= 20.

    E(y) = -½ sᵀJs - hᵀs with s = 2y - 1. An `nn.Parameter` for J or h stays one and is learned: gradients
    keep J symmetric, and the diagonal, a constant of the energy, has no part in any gradient of a difference.
    A wider lattice has its log Z in `ising_strip_log_z`.

    Args:
        coupling: J, (D, D), symmetric with a diagonal of zeros.
        field: h, (D,), or one number for all; 0 if None.

    Raises:
        TypeError, ValueError: if J is not such a matrix, or h has another shape.

    Example:
        >>> pair = Ising(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> pair(y=torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
        tensor([-1.,  1.])
        >>> round(pair.log_z, 4)  # log(2e + 2/e)
        1.8201
        >>> Ising.lattice(4, 4, coupling=0.3).mean[:3]
        tensor([0.5000, 0.5000, 0.5000])
    """

    closed_form = ("y",)
    coupling: Tensor
    field: Tensor

    def __init__(self, coupling: Tensor, field: Tensor | float | None = None):
        super().__init__(symmetric("Ising", coupling).shape[0], 2, one_hot=False, like=coupling.detach())
        if not isinstance(field, Tensor):
            field = coupling.detach().new_full((self.dim,), 0.0 if field is None else float(field))
        if field.shape != (self.dim,):
            raise ValueError(f"Ising needs a field of shape ({self.dim},); got {tuple(field.shape)}.")
        self.hold(coupling=coupling, field=field)

    @classmethod
    def lattice(
        cls,
        height: int,
        width: int,
        coupling: float = 1.0,
        field: float = 0.0,
        periodic: bool = True,
        dtype: torch.dtype | None = None,
    ) -> Ising:
        """The square lattice of height · width sites, all pairs of neighbors coupled alike.

        Args:
            height, width: sides; at least 3 of a periodic lattice.
            coupling: J of each pair; positive: neighbors like to agree.
            field: h of each site.
            periodic: whether opposite borders meet.
            dtype: the default dtype if None.
        """
        bonds = neighbors(height, width, periodic).to(torch.get_default_dtype() if dtype is None else dtype)
        return cls(coupling * bonds, field)

    def forward(self, y: Tensor) -> Tensor:
        s = 2 * flat(y) - 1  # (B, D)
        return -(s * (0.5 * s @ self.coupling + self.field)).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E(y) (B,) and its gradient -2 (Js + h), like y."""
        s = 2 * flat(y) - 1
        pull = s @ self.coupling
        value = -(s * (0.5 * pull + self.field)).sum(1)
        return value, (-2 * (pull + self.field)).view_as(y)

"""Couplings: one half of the coordinates says how the other half is to be moved, and stays as it is.

    u_kept = y_kept,        u_moved = τ(y_moved; θ(y_kept))        log |det ∂u/∂y| = Σ_i log |∂τ_i/∂y_i|

The Jacobian is triangular whatever network θ is, and θ is never inverted: only τ is, a coordinate at a time.
Kept and moved change places from one coupling to the next.

Reference: Dinh, Krueger & Bengio (2014), "NICE: Non-linear Independent Components Estimation", sect. 3.2;
masks: Dinh, Sohl-Dickstein & Bengio (2017), "Density Estimation using Real NVP", sect. 3.4.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from ebm.nets.invertible import Invertible
from ebm.nets.mlp import mlp


def checkerboard(*shape: int, odd: bool = False) -> Tensor:
    """Which coordinates of a row are kept: those whose indices add up to an even number (or an odd one).

    Args:
        shape: of a row; (D,) gives every other coordinate, (H, W) or (C, H, W) a checkerboard.
        odd: keep the others.

    Returns:
        A mask, (D,) bool, D the number of coordinates, in the order of `flatten`.

    Example:
        >>> checkerboard(5)
        tensor([ True, False,  True, False,  True])
        >>> checkerboard(2, 2, odd=True)
        tensor([False,  True,  True, False])
    """
    total = torch.zeros(shape, dtype=torch.int64)
    for dim, length in enumerate(shape):
        total += torch.arange(length).view([-1 if d == dim else 1 for d in range(len(shape))])
    return (total % 2 == int(odd)).flatten()


class Coupling(Invertible):
    """A coupling whose θ is an `mlp`; subclasses say what τ is, and how many numbers a coordinate it takes.

    The last layer of the network begins at 0, and τ with θ = 0 is the identity: so is a new coupling.

    Args:
        kept: mask of the coordinates that are kept, (D,) bool; some are kept and some are not.
        hidden: widths of the network's hidden layers.
        numbers: how many numbers θ has for each moved coordinate.
        generator: source of the network's weights; the global one if None.

    Raises:
        ValueError: if the mask is no vector of truth values, or keeps all coordinates or none.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, kept: Tensor, hidden: Sequence[int], numbers: int, generator: Generator | None):
        if kept.ndim != 1 or kept.dtype != torch.bool or not 0 < int(kept.sum()) < len(kept):
            raise ValueError(
                "a coupling needs a mask (D,) of bools that keeps some coordinates and moves some, "
                f"so D is 2 at least; got {kept.dtype}, {tuple(kept.shape)}, {int(kept.sum())} kept."
            )
        super().__init__(len(kept))
        self.register_buffer("kept", kept.nonzero().flatten())
        self.register_buffer("moved", (~kept).nonzero().flatten())
        self.conditioner = mlp(
            len(self.kept), *hidden, numbers * len(self.moved), activation=nn.SiLU, generator=generator
        )
        last = self.conditioner[-1]
        if isinstance(last, nn.Linear):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @abstractmethod
    def move(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """τ of y (B, M) and log |∂τ/∂y| (B, M), from theta (B, M, numbers)."""

    @abstractmethod
    def move_back(self, u: Tensor, theta: Tensor) -> Tensor:
        """τ⁻¹ of u (B, M), from theta (B, M, numbers)."""

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        u, log_slope = self.move(y[:, self.moved], self._theta(y))
        return y.index_copy(1, self.moved, u), log_slope.sum(1)

    def inverse(self, u: Tensor) -> Tensor:
        return u.index_copy(1, self.moved, self.move_back(u[:, self.moved], self._theta(u)))

    def _theta(self, y: Tensor) -> Tensor:
        return self.conditioner(y[:, self.kept]).unflatten(1, (len(self.moved), -1))

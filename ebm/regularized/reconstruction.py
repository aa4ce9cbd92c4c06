"""Linear reconstruction: half the squared distance of y from what a code z makes of a dictionary.

    E(y, z) = ½ |y - zD|²,        ∇_z E = (zD - y) Dᵀ = zG - c,        G = DDᵀ, c = yDᵀ

Once y is given, c is fixed: value and gradient together then cost one product zG of (B, K) and (K, K),

    E = ½ ⟨z, ∇E - c⟩ + ½ |y|²

instead of two with D, (K, P): K products for each number of z instead of 2P, but more passes over tensors of
K numbers a row. It is used where 3K <= 4P.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import Binder, Rows
from ebm.energy import Energy
from ebm.infer.starts import Zeros
from ebm.regularized.checks import check_parameters
from ebm.rows import by_blocks, dot, square


@dataclass(frozen=True)
class Correlations(Rows):
    """What is known once y is given: c = yDᵀ (B, K), ½|y|² (B,), and G = DDᵀ (K, K), the same for all."""

    linear: Tensor
    constant: Tensor
    gram: Tensor

    @property
    def batch(self) -> int:  # type: ignore[override]
        """B."""
        return len(self.linear)

    def rows(self, index: Tensor) -> Correlations:
        return Correlations(
            self.linear.index_select(0, index), self.constant.index_select(0, index), self.gram
        )

    def repeat(self, k: int) -> Correlations:
        return Correlations(
            self.linear.repeat_interleave(k, 0), self.constant.repeat_interleave(k, 0), self.gram
        )

    def detach(self) -> Correlations:
        return Correlations(self.linear.detach(), self.constant.detach(), self.gram.detach())


class Reconstruction(Energy):
    """E(y, z) = ½ |y - zD|², for data y (B, P) and codes z (B, K).

    Args:
        dictionary: D, (K, P), one atom a row. A tensor is kept as a buffer, a parameter as a parameter.

    Raises:
        TypeError: if the dictionary is of no floating point numbers.
        ValueError: if it is not a matrix, or holds NaN or infinity.

    Example:
        >>> E = Reconstruction(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> E(y=torch.tensor([[1.0, 2.0]]), z=torch.tensor([[0.0, 1.0]]))
        tensor([0.5000])
        >>> E.decode(torch.tensor([[1.0, 1.0]]))
        tensor([[1., 2.]])
    """

    closed_form = ("z",)

    def __init__(self, dictionary: Tensor):
        super().__init__()
        check_parameters(dictionary=dictionary)
        if dictionary.ndim != 2 or not dictionary.numel():
            raise ValueError(f"a dictionary is (K, P), one atom a row; got shape {tuple(dictionary.shape)}.")
        if isinstance(dictionary, nn.Parameter):
            self.dictionary: Tensor = dictionary
        else:
            self.register_buffer("dictionary", dictionary)

    @property
    def compact(self) -> bool:
        """Whether one product with G = DDᵀ takes less time than two with D, measured: 3K <= 4P."""
        atoms, size = self.dictionary.shape
        return 3 * atoms <= 4 * size

    @property
    def no_code(self) -> Zeros:
        """A start at z = 0."""
        return Zeros(len(self.dictionary))

    def decode(self, z: Tensor) -> Tensor:
        """What the codes stand for, zD, (B, K) -> (B, P)."""
        self._check(z, 0, "z", "K atoms")
        return z @ self.dictionary

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Correlate y with the atoms, once a bind, if y is given and z is not."""
        if "y" not in given or "z" in given or not self.compact:
            return {}
        return {"correlations": self.correlate(given["y"])}

    def correlate(self, y: Tensor) -> Correlations:
        """What E needs to know of y, (B, P)."""
        self._check(y, 1, "y", "P numbers to an atom")
        return Correlations(y @ self.dictionary.T, 0.5 * dot(y, y), self.dictionary @ self.dictionary.T)

    def forward(self, y: Tensor, z: Tensor, correlations: Correlations | None = None) -> Tensor:
        if correlations is not None:
            return self.value_and_grad("z", y=y, z=z, correlations=correlations)[0]
        self._check(y, 1, "y", "P numbers to an atom")
        self._check(z, 0, "z", "K atoms")
        residual = z @ self.dictionary - y
        return 0.5 * dot(residual, residual)

    def value_and_grad(
        self, name: str, *, y: Tensor, z: Tensor, correlations: Correlations | None = None
    ) -> tuple[Tensor, Tensor]:
        """E, (B,), and ∇_z E, (B, K)."""
        self._check(z, 0, "z", "K atoms")
        if correlations is None:
            self._check(y, 1, "y", "P numbers to an atom")
            value, gradient = by_blocks(self._look, z, y)
            return value, gradient
        gradient = torch.addmm(correlations.linear, z, correlations.gram, beta=-1)
        return correlations.constant + 0.5 * dot(z, gradient - correlations.linear), gradient

    def _look(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        residual = torch.addmm(y, z, self.dictionary, beta=-1)
        return 0.5 * square(residual), residual @ self.dictionary.T

    def quadratic(
        self,
        name: str,
        *,
        y: Tensor | None = None,
        z: Tensor | None = None,
        correlations: Correlations | None = None,
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """½ zᵀGz - cᵀz + ½|y|²; None for other variables than z."""
        if name != "z" or y is None:
            return None
        known = self.correlate(y) if correlations is None else correlations
        return known.gram, known.linear, known.constant

    def _check(self, value: Tensor, dim: int, name: str, what: str) -> None:
        expected = self.dictionary.shape[dim]
        if value.ndim != 2 or value.shape[1] != expected:
            raise ValueError(
                f"{name} must be (B, {expected}): the dictionary has {what}, shape "
                f"{tuple(self.dictionary.shape)}; got {name} of shape {tuple(value.shape)}."
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} is a tensor of floating point numbers; got {value.dtype}.")

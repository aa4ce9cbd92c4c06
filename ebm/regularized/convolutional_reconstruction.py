"""Reconstruction by convolution: half the squared distance of y from small atoms laid wherever codes say.

    E(y, z) = ½ |y - Σ_k d_k * z_k|²,        ∇_z E = d ⋆ (Σ_k d_k * z_k - y)        (⋆: correlation)

    (Σ_k d_k * z_k)_p = Σ_k Σ_u d_k[u] z_k[p + m - 1 - u],        u = 0, ..., m - 1

The border: y is a window on a larger scene. An atom of m pixels can lie wherever at least one of its pixels
shows, in n + m - 1 places for n pixels of y, and what lies outside is not seen. So every pixel is reached by
all K·m numbers of the atoms, those in a corner like those in the middle, and the energy looks the same
everywhere. (With codes of n - m + 1 places, where whole atoms fit in, a corner is reached by K numbers only.)

Images have two such dimensions, signals one and volumes three: the dictionary tells.

Reference: Zeiler, Krishnan, Taylor & Fergus (2010), "Deconvolutional Networks", sect. 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

from ebm.binder import Binder
from ebm.energy import Energy
from ebm.infer.starts import Start
from ebm.rows import by_blocks, dot, square

# by the number of dimensions of the dictionary
CONVOLVE = {3: conv_transpose1d, 4: conv_transpose2d, 5: conv_transpose3d}
CORRELATE = {3: conv1d, 4: conv2d, 5: conv3d}
FREQUENCIES = 4  # looked at for each pixel of an atom


def places(sides: Iterable[int], window: Iterable[int]) -> tuple[int, ...]:
    """In how many places an atom can lie, along each side, n + m - 1."""
    return tuple(n + m - 1 for n, m in zip(sides, window, strict=True))


class NoCode(Start):
    """z_0 = 0, of the shape that the codes of y have.

    Args:
        atoms: K.
        window: (h, w).
    """

    def __init__(self, atoms: int, window: tuple[int, ...]):
        super().__init__()
        self.atoms, self.window = atoms, window

    def forward(self, variables: Mapping[str, Any], drawn: Tensor | None, binder: Binder) -> Tensor:
        y = variables["y"]
        return y.new_zeros(len(y), self.atoms, *places(y.shape[2:], self.window))


class ConvolutionalReconstruction(Energy):
    """E(y, z) = ½ |y - Σ_k d_k * z_k|², for data y (B, C, H, W) and codes z (B, K, H + h - 1, W + w - 1).

    Args:
        dictionary: d, (K, C, h, w), one atom an entry; (K, C, h) for signals (B, C, L), and (K, C, h, w, d)
            for volumes. A tensor is kept as a buffer, a parameter as a parameter.

    Raises:
        ValueError: if the dictionary has another number of dimensions.

    Example:
        >>> E = ConvolutionalReconstruction(torch.tensor([[[1.0, 2.0]]]))  # one atom, (1, 2), for signals
        >>> z = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
        >>> E.decode(z)
        tensor([[[1., 2., 0.]]])
        >>> E.decode(z.roll(-1, 2)), E(y=torch.zeros(1, 1, 3), z=z)  # laid half outside, it shows its half
        (tensor([[[2., 0., 0.]]]), tensor([2.5000]))
    """

    closed_form = ("y", "z")

    def __init__(self, dictionary: Tensor):
        super().__init__()
        if dictionary.ndim not in CONVOLVE or not dictionary.numel():
            raise ValueError(
                f"a dictionary is (K, C, h, w), one atom an entry; (K, C, h) for signals, (K, C, h, w, d) "
                f"for volumes; got shape {tuple(dictionary.shape)}."
            )
        if isinstance(dictionary, nn.Parameter):
            self.dictionary: Tensor = dictionary
        else:
            self.register_buffer("dictionary", dictionary)

    @property
    def window(self) -> tuple[int, ...]:
        """How large an atom is, (h, w)."""
        return tuple(self.dictionary.shape[2:])

    @property
    def no_code(self) -> NoCode:
        """A start at z = 0."""
        return NoCode(len(self.dictionary), self.window)

    def code_shape(self, y: Tensor) -> tuple[int, ...]:
        """The shape of the codes of data like y without the batch, (K, H + h - 1, W + w - 1)."""
        return (len(self.dictionary), *places(y.shape[2:], self.window))

    def decode(self, z: Tensor) -> Tensor:
        """What the codes stand for, Σ_k d_k * z_k, (B, K, H + h - 1, W + w - 1) -> (B, C, H, W)."""
        self._check_code(z)
        return CONVOLVE[z.ndim](z, self.dictionary, padding=self._outside)

    def correlate(self, residual: Tensor) -> Tensor:
        """How much of each atom is found in each place, the transpose of `decode`."""
        return CORRELATE[residual.ndim](residual, self.dictionary, padding=self._outside)

    def curvature(self) -> float:
        """About the largest curvature of E in z: the largest max_ω |d̂(ω)|², d̂ (K, C) at a frequency ω.

        It is looked for at `FREQUENCIES` frequencies for each pixel of an atom, so what is found may be a
        little too small. The curvature on data of any size is at most the true maximum.
        """
        dictionary = self.dictionary.detach().float()
        size, dims = [FREQUENCIES * m for m in self.window], tuple(range(2, dictionary.ndim))
        spectrum = torch.fft.rfftn(dictionary, s=size, dim=dims).flatten(2).movedim(2, 0)  # (F, K, C)
        return float(torch.linalg.eigvalsh(spectrum.mH @ spectrum)[:, -1].max())

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        residual = self._residual(y, z)
        return 0.5 * dot(residual, residual)

    def value_and_grad(self, name: str, *, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """E, (B,), and ∇_z E, like z, or ∇_y E, like y."""
        value, gradient = by_blocks(self._look_at_z if name == "z" else self._look_at_y, z, y)
        return value, gradient

    def _look_at_z(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        residual = self._residual(y, z)
        return 0.5 * square(residual), self.correlate(residual)

    def _look_at_y(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        residual = self._residual(y, z)
        return 0.5 * square(residual), -residual

    def _residual(self, y: Tensor, z: Tensor) -> Tensor:
        """Σ_k d_k * z_k - y, like y."""
        self.check_data(y)
        self._check_code(z)
        if z.shape[1:] != self.code_shape(y):
            expected = ", ".join(map(str, self.code_shape(y)))
            raise ValueError(
                f"the codes of y, {tuple(y.shape)}, are (B, {expected}): an atom of m pixels can lie in "
                f"n + m - 1 places along a side of n; got z of shape {tuple(z.shape)}."
            )
        return self.decode(z) - y

    def check_data(self, y: Tensor) -> None:
        """Refuse data that don't have the dictionary's dimensions and channels.

        Raises:
            ValueError: saying what was expected.
        """
        channels = self.dictionary.shape[1]
        if y.ndim != self.dictionary.ndim or y.shape[1] != channels or 0 in y.shape[2:]:
            sides = ", ".join("HWD"[: len(self.window)])
            raise ValueError(
                f"y must be (B, {channels}, {sides}): the dictionary has shape "
                f"{tuple(self.dictionary.shape)}; got y of shape {tuple(y.shape)}."
            )

    @property
    def _outside(self) -> tuple[int, ...]:
        """How many pixels of an atom may lie outside on each side, (h - 1, w - 1)."""
        return tuple(m - 1 for m in self.window)

    def _check_code(self, z: Tensor) -> None:
        atoms = len(self.dictionary)
        if z.ndim != self.dictionary.ndim or z.shape[1] != atoms:
            sides = ", ".join(f"{n} + {m - 1}" for n, m in zip("HWD", self.window, strict=False))
            raise ValueError(
                f"z must be (B, {atoms}, {sides}): the dictionary has {atoms} atoms, shape "
                f"{tuple(self.dictionary.shape)}; got z of shape {tuple(z.shape)}."
            )

"""Convolutional sparse coding: images explained by few small atoms, laid wherever they are found.

    E(y, z) = ½ |y - Σ_k d_k * z_k|² + λ |z|₁,        F(y) = min_z E(y, z)

Sparse coding of patches learns every atom at every place anew, and codes neighboring patches as if they had
nothing in common; here an atom is learned once, and an image has one code. The energy is the sum
`ConvolutionalReconstruction(d) + λ * L1("z")` and nothing else; other regularizers of z may take the place
of L1. It is sparse coding with a large dictionary that is never written down: the atoms in all places, also
those where only a part of them shows (`ebm.regularized.convolutional_reconstruction` tells of the border).

Learning lowers F on the data, codes and atoms in turn, with atoms of length 1. An atom and its neighbor by a
pixel stand for the same pictures, so atoms are found up to sign, order and a shift.

Reference: Zeiler, Krishnan, Taylor & Fergus (2010), "Deconvolutional Networks"; Kavukcuoglu et al. (2010),
"Learning Convolutional Feature Hierarchies for Visual Recognition"; Bristow, Eriksson & Lucey (2013), "Fast
Convolutional Sparse Coding".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.history import History
from ebm.infer.method import Method, count
from ebm.infer.proximal import SpaRSA
from ebm.infer.starts import Start
from ebm.regularized.convolutional_reconstruction import ConvolutionalReconstruction
from ebm.regularized.convolutional_update import (
    ConvolutionalStatistics,
    check_windows,
    draw_windows,
    unit,
)
from ebm.regularized.sparse_codes import SparseCodes
from ebm.regularizers import Regularizer
from ebm.solution import Solution

PASSES = 10  # over the atoms for each batch; next to the codes they cost nothing


class ConvolutionalSparseCoding(SparseCodes):
    """E(y, z) = ½ |y - Σ_k d_k * z_k|² + λ R(z), for data (B, C, H, W), codes (B, K, H + h - 1, W + w - 1).

    Args:
        dictionary: d, (K, C, h, w), one atom an entry; (K, C, h) for signals, (K, C, h, w, d) for volumes.
        sparsity: λ > 0, the cost of a unit of code. A code is 0 where no atom's product with y, in any place,
            is above λ.
        regularizer: R, an energy of "z" with a prox; L1 if None.
        method: how codes are inferred; if None SpaRSA, which begins with a step of 1 / curvature.

    Raises:
        ValueError: if the dictionary has another number of dimensions, or the sparsity is not positive.

    Example:
        >>> corner = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]]) / 3**0.5
        >>> model = ConvolutionalSparseCoding(corner, sparsity=0.1)
        >>> y = torch.zeros(1, 1, 5, 5)
        >>> y[0, 0, 1:3, 2:4] = corner[0, 0]
        >>> model.infer(y).value.nonzero().tolist()  # found once, where its last pixel lies
        [[0, 0, 2, 3]]
        >>> model.free_energy(y=y)
        tensor([0.0950])
    """

    def __init__(
        self,
        dictionary: Tensor,
        sparsity: float = 0.1,
        regularizer: Regularizer | None = None,
        method: Method | None = None,
    ):
        reconstruction = ConvolutionalReconstruction(dictionary)
        if method is None:  # atoms of length 1 have a curvature of at least 1
            method = SpaRSA(1 / max(reconstruction.curvature(), 1.0))
        super().__init__(reconstruction, sparsity, regularizer, method)

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        atoms: int,
        window: int | tuple[int, ...],
        sparsity: float = 0.1,
        *,
        regularizer: Regularizer | None = None,
        method: Method | None = None,
        generator: torch.Generator | None = None,
    ) -> ConvolutionalSparseCoding:
        """A model whose atoms are windows of the data, brought to length 1, ready to `fit`.

        A window is drawn in proportion to its sum of squares: an empty one never is.

        Args:
            y: (N, C, H, W), or (N, C, L).
            atoms: K.
            window: the pixels of an atom, (h, w), or one number for all sides.

        Raises:
            ValueError: if the data are smaller than the window, or have fewer windows than atoms.
        """
        sides = (window,) * (y.ndim - 2) if isinstance(window, int) else tuple(window)
        chosen = draw_windows(check_windows(y, sides), sides, count("atoms", atoms), generator)
        return cls(unit(chosen), sparsity, regularizer, method)

    @property
    def reconstruction(self) -> ConvolutionalReconstruction:
        """The first term."""
        part = self.parts["ConvolutionalReconstruction"]
        if not isinstance(part, ConvolutionalReconstruction):
            raise TypeError(f"the first term is a ConvolutionalReconstruction; found {type(part).__name__}.")
        return part

    def infer(
        self, y: Tensor, start: Tensor | Start | None = None, *, max_steps: int = 1000, tol: float = 1e-5
    ) -> Solution:
        """The codes of data y, (B, C, H, W): argmin_z E(y, z), (B, K, H + h - 1, W + w - 1)."""
        self.reconstruction.check_data(y)
        return super().infer(y, start, max_steps=max_steps, tol=tol)

    def duality_gap(self, y: Tensor, z: Tensor) -> Tensor:
        """How far E(y, z) can be above its minimum over z: E(y, z) - F(y) <= gap, a certificate for each row.

        As in `SparseCoding.duality_gap`; the residual's correlations take the place of its products.

        Args:
            y: (B, C, H, W).
            z: (B, K, H + h - 1, W + w - 1).

        Returns:
            (B,), 0 at the minimum.

        Raises:
            TypeError: if the regularizer has no `dual_norm`.
        """
        exact, y64, z64 = ConvolutionalReconstruction(self.dictionary.double()), y.double(), z.double()
        residual = y64 - exact.decode(z64)
        return self.gap(y64, residual, exact.correlate(residual), z64).to(y.dtype)

    def fit(
        self,
        y: Tensor,
        *,
        steps: int = 100,
        batch_size: int = 32,
        tol: float = 0.1,
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> History:
        """Learn the atoms: codes of a batch, then better atoms for all codes so far, in turn.

        Where a batch holds all data, codes begin where they ended, older codes are forgotten, and the mean
        energy never rises. Atoms that no code has used for ten steps are replaced by what is explained worst.
        The dictionary changes in place, step by step; an interrupt (Ctrl-C) ends the learning after the last
        whole step.

        Args:
            y: (N, C, H, W), no smaller than an atom.
            steps: batches.
            batch_size: rows to a batch, at most N; the rows come in random order, all before any comes again.
            tol: of the codes' inference.
            generator: randomness of the order.
            progress: show a bar.

        Returns:
            For each step the mean free energy of its batch ("energy", before the atoms changed), the mean
            number of active codes ("active") and how many atoms were replaced ("replaced").

        Raises:
            ValueError: if the data don't fit the dictionary, or hold NaN or infinity (naming a row).
        """
        window = self.reconstruction.window
        self.reconstruction.check_data(check_windows(y, window))
        batch_size = min(count("batch_size", batch_size), len(y))
        statistics, whole = ConvolutionalStatistics(self.dictionary), batch_size == len(y)

        def improve(batch: Tensor, z: Tensor, energy: Tensor) -> int:
            statistics.add(batch, z, kept=0.0 if whole else None)
            statistics.improve(self.dictionary, PASSES)
            return statistics.replace_idle(self.dictionary, batch - self.decode(z))

        return self.learn(
            y,
            improve,
            steps=steps,
            batch_size=batch_size,
            tol=tol,
            generator=generator,
            progress=progress,
            resume=whole,
        )

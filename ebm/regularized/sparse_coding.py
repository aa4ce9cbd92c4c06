"""Sparse coding: data explained by few atoms of a dictionary.

    E(y, z) = ½ |y - zD|² + λ |z|₁,        F(y) = min_z E(y, z)

Without the second term every y has energy 0 once the atoms span the space: a flat landscape. Few active
atoms reach few places only, so λ limits how much space can have low energy. The energy is the sum
`Reconstruction(D) + λ * L1("z")` and nothing else; other regularizers of z (groups, non-negative codes) may
take the place of L1.

Learning lowers F on the data, codes and dictionary in turn, with atoms of length 1: a longer atom would let
z, and so its cost, shrink.

Reference: Olshausen & Field (1996), "Emergence of simple-cell receptive field properties by learning a
sparse code for natural images"; Tibshirani (1996), "Regression Shrinkage and Selection via the Lasso";
Mairal et al. (2009).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.history import History
from ebm.infer.method import Method, count
from ebm.infer.proximal import SpaRSA
from ebm.regularized.dictionary_update import DictionaryStatistics
from ebm.regularized.exact import check_data, home
from ebm.regularized.reconstruction import Reconstruction
from ebm.regularized.sparse_codes import SparseCodes
from ebm.regularizers import Regularizer


class SparseCoding(SparseCodes):
    """E(y, z) = ½ |y - zD|² + λ R(z), for data y (B, P) and codes z (B, K).

    Args:
        dictionary: D, (K, P), one atom a row.
        sparsity: λ > 0, the cost of a unit of code. A code is 0 where max_j |⟨D_j, y⟩| <= λ.
        regularizer: R, an energy of "z" with a prox; L1 if None.
        method: how codes are inferred; SpaRSA if None. `CoordinateDescent(compiled=True)` is the fastest.

    Raises:
        ValueError: if the dictionary is no matrix, or the sparsity is not positive.

    Example:
        >>> model = SparseCoding(torch.eye(3), sparsity=0.5)
        >>> y = torch.tensor([[2.0, 0.25, -1.0]])
        >>> model.infer(y).value
        tensor([[ 1.5000,  0.0000, -0.5000]])
        >>> model.free_energy(y=y), model.terms(y=y, z=torch.zeros(1, 3))
        (tensor([1.2812]), {'Reconstruction': tensor([2.5312]), 'L1': tensor([0.])})
    """

    def __init__(
        self,
        dictionary: Tensor,
        sparsity: float = 0.1,
        regularizer: Regularizer | None = None,
        method: Method | None = None,
    ):
        method = SpaRSA() if method is None else method
        super().__init__(Reconstruction(dictionary), sparsity, regularizer, method)

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        atoms: int,
        sparsity: float = 0.1,
        *,
        regularizer: Regularizer | None = None,
        method: Method | None = None,
        generator: torch.Generator | None = None,
    ) -> SparseCoding:
        """A model whose atoms are random rows of the data, brought to length 1, ready to `fit`.

        Args:
            y: (N, P), rows of zeros apart.
            atoms: K, at most N.

        Raises:
            ValueError: if there are fewer rows than atoms.
        """
        length = torch.linalg.vector_norm(check_data(y), dim=1)
        rows = (length > 0).nonzero().flatten()
        if len(rows) < count("atoms", atoms):
            raise ValueError(
                f"{atoms} atoms need as many rows of data that aren't zero; there are {len(rows)}."
            )
        order = torch.randperm(len(rows), generator=generator, device=home(generator))[:atoms].to(y.device)
        chosen = rows[order]
        return cls(y[chosen] / length[chosen].unsqueeze(1), sparsity, regularizer, method)

    @property
    def reconstruction(self) -> Reconstruction:
        """The first term."""
        part = self.parts["Reconstruction"]
        if not isinstance(part, Reconstruction):
            raise TypeError(f"the first term is a Reconstruction; found {type(part).__name__}.")
        return part

    def duality_gap(self, y: Tensor, z: Tensor) -> Tensor:
        """How far E(y, z) can be above its minimum over z: E(y, z) - F(y) <= gap, a certificate for each row.

        With the residual r = y - zD and ν = r · min(1, λ / R°(rDᵀ)), R° the norm dual to R, the dual energy
        ½|y|² - ½|y - ν|² is below every E(y, ·); the gap is E less that (`SparseCodes.gap`), in float64.

        Args:
            y: (B, P).
            z: (B, K).

        Returns:
            (B,), 0 at the minimum.

        Raises:
            TypeError: if the regularizer has no `dual_norm`.
        """
        y64, z64, atoms = y.double(), z.double(), self.dictionary.double()
        residual = y64 - z64 @ atoms
        return self.gap(y64, residual, residual @ atoms.T, z64).to(y.dtype)

    def fit(
        self,
        y: Tensor,
        *,
        steps: int = 200,
        batch_size: int = 256,
        tol: float = 0.1,
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> History:
        """Learn the dictionary: codes of a batch, then the best atoms for all codes so far, in turn.

        Atoms that no code has used for ten steps are replaced by the data that is explained worst. The
        dictionary changes in place, step by step; an interrupt (Ctrl-C) ends the learning after the last
        whole step.

        Args:
            y: (N, P).
            steps: batches.
            batch_size: rows to a batch, at most N; the rows come in random order, all before any comes again.
            tol: of the codes' inference.
            generator: randomness of the order.
            progress: show a bar.

        Returns:
            For each step the mean free energy of its batch ("energy", before the atoms changed), the mean
            number of active atoms ("active") and how many atoms were replaced ("replaced").

        Raises:
            ValueError: if the data don't fit the dictionary, or hold NaN or infinity (naming a row).
        """
        batch_size = min(count("batch_size", batch_size), len(check_data(y)))
        statistics = DictionaryStatistics(self.dictionary)

        def improve(batch: Tensor, z: Tensor, energy: Tensor) -> int:
            statistics.add(batch, z)
            statistics.improve(self.dictionary)
            return statistics.replace_idle(self.dictionary, batch, energy)

        return self.learn(
            y, improve, steps=steps, batch_size=batch_size, tol=tol, generator=generator, progress=progress
        )

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

import time

import torch
from torch import Tensor

from ebm.energy import Energy, Sum, View
from ebm.history import History
from ebm.infer.method import Method, count, positive
from ebm.infer.minimize import minimize
from ebm.infer.proximal import SpaRSA
from ebm.infer.starts import Start
from ebm.latent import min_over
from ebm.progress import tqdm
from ebm.regularized.convolutional_reconstruction import ConvolutionalReconstruction
from ebm.regularized.convolutional_update import (
    ConvolutionalStatistics,
    check_windows,
    draw_windows,
    unit,
)
from ebm.regularized.exact import home
from ebm.regularizers import L1, Regularizer
from ebm.rows import expand
from ebm.solution import Solution, one_tensor

PASSES = 10  # over the atoms for each batch; next to the codes they cost nothing


class ConvolutionalSparseCoding(Sum):
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
        self_regularizer = L1("z") if regularizer is None else regularizer
        if self_regularizer.variables != ("z",):
            raise ValueError(f'the regularizer is an energy of "z"; got one of {self_regularizer.variables}.')
        positive("sparsity", sparsity)
        super().__init__(ConvolutionalReconstruction(dictionary), float(sparsity) * self_regularizer)
        self.sparsity = float(sparsity)
        first = 1 / max(self.reconstruction.curvature(), 1.0)  # atoms of length 1 have at least 1
        self.method = SpaRSA(first) if method is None else method

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

    @property
    def regularizer(self) -> Regularizer:
        """R, without its weight."""
        weighted = next(part for name, part in self.parts.items() if name != "ConvolutionalReconstruction")
        part = weighted.part if isinstance(weighted, View) else weighted
        if not isinstance(part, Regularizer):
            raise TypeError(f"the second term is a Regularizer; found {type(part).__name__}.")
        return part

    @property
    def dictionary(self) -> Tensor:
        """d, (K, C, h, w)."""
        return self.reconstruction.dictionary

    @property
    def free_energy(self) -> Energy:
        """F(y) = min_z E(y, z), an energy of y; its gradient in y and d is exact."""
        return min_over(self, "z", self.method, self.reconstruction.no_code)

    def infer(
        self, y: Tensor, start: Tensor | Start | None = None, *, max_steps: int = 1000, tol: float = 1e-5
    ) -> Solution:
        """The codes of data y: argmin_z E(y, z).

        Args:
            y: (B, C, H, W).
            start: where to begin, (B, K, H + h - 1, W + w - 1) or a start object; zeros if None.
            max_steps, tol: as in `minimize`.

        Returns:
            A `Solution` whose `value` is z, (B, K, H + h - 1, W + w - 1), and `energy` F(y), (B,).
        """
        self.reconstruction.check_data(y)
        begin = self.reconstruction.no_code if start is None else start
        return minimize(self, begin, self.method, given={"y": y}, max_steps=max_steps, tol=tol)

    def decode(self, z: Tensor) -> Tensor:
        """What the codes stand for, Σ_k d_k * z_k, (B, K, H + h - 1, W + w - 1) -> (B, C, H, W)."""
        return self.reconstruction.decode(z)

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
        regularizer, exact = self.regularizer, ConvolutionalReconstruction(self.dictionary.double())
        y64, z64 = y.double(), z.double()
        residual = y64 - exact.decode(z64)
        scale = (self.sparsity / regularizer.dual_norm(exact.correlate(residual))).clamp(max=1)
        dual = expand(scale, residual) * residual
        energy = 0.5 * residual.square().flatten(1).sum(1) + self.sparsity * regularizer.cost(z64)
        return (energy - 0.5 * (y64.square() - (y64 - dual).square()).flatten(1).sum(1)).to(y.dtype)

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
        count("steps", steps)
        batch_size = min(count("batch_size", batch_size), len(y))
        statistics, history, begun = ConvolutionalStatistics(self.dictionary), History(), time.perf_counter()
        whole, order, z = batch_size == len(y), torch.arange(len(y)), None
        bar = tqdm(range(steps), desc="dictionary", disable=not progress)
        with torch.no_grad(), bar:
            self.dictionary.copy_(unit(self.dictionary))
            try:
                for _ in bar:
                    if len(order) < batch_size:
                        order = torch.randperm(len(y), generator=generator, device=home(generator))
                    batch = y if whole else y[order[:batch_size].to(y.device)]
                    order = order if whole else order[batch_size:]
                    codes = self.infer(batch, z if whole else None, tol=tol)
                    z = one_tensor(codes.value)
                    statistics.add(batch, z, kept=0.0 if whole else None)
                    statistics.improve(self.dictionary, PASSES)
                    replaced = statistics.replace_idle(self.dictionary, batch - self.decode(z))
                    active = float(z.flatten(1).count_nonzero(1).double().mean())
                    history.append(
                        {"energy": float(codes.energy.mean()), "active": active, "replaced": replaced}
                    )
                    bar.set_postfix(energy=f"{history.rows[-1]['energy']:.4f}", refresh=False)
            except KeyboardInterrupt:
                history.interrupted = True
        history.seconds = time.perf_counter() - begun
        return history

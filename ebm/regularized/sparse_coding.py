"""Sparse coding: data as sums of few atoms, and the dictionary of atoms learned from the data.

    E(y, z) = ½ |y - zD|² + λ |z|₁,        F(y) = min_z E(y, z),        D = argmin ⟨F(y)⟩ with |d_k| <= 1

The term on z limits how much space can have low energy: without it any y is explained by some z. Learning
alternates two minimizations. The codes of a batch given D are a lasso. D given all codes so far minimizes
½ tr(DᵀAD) - tr(DᵀB), A = Σ w_t zᵀz, B = Σ w_t zᵀy, atom by atom; old batches, whose codes belong to an older
dictionary, are forgotten by the factor (t / (t + 1))² a step.

Reference: Olshausen & Field (1996), eqs. 2 to 4; Mairal, Bach, Ponce & Sapiro (2010), "Online Learning for Matrix
Factorization and Sparse Coding", algorithms 1 and 2, sect. 3.4.2; LeCun (2022), sect. 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ebm.binder import Binder, Expression, Term
from ebm.energy import Energy
from ebm.infer.method import Method, count, positive
from ebm.infer.minimize import minimize
from ebm.infer.proximal import SpaRSA
from ebm.infer.starts import Zeros
from ebm.latent import MinOver, min_over
from ebm.regularized.reconstruction import Reconstruction
from ebm.regularizers import L1
from ebm.rows import dot

DEAD = 1e-6  # an atom whose share of the codes' energy is below this is replaced by a row of the data


class SparseCoding(Energy):
    """E(y, z) = ½ |y - zD|² + λ |z|₁ for data y (B, P) and codes z (B, K): `Reconstruction(D) + λ * L1("z")`.

    Args:
        dictionary: D, (K, P), one atom a row; `SparseCoding.random` draws one to start learning from.
        sparsity: λ > 0.

    Raises:
        ValueError: if the dictionary is not a matrix, or the sparsity is not positive.

    Example:
        >>> model = SparseCoding(torch.eye(2), sparsity=0.5)
        >>> y = torch.tensor([[2.0, 0.1]])
        >>> z = model.infer(y)
        >>> z, model.free_energy(y)
        (tensor([[1.5000, 0.0000]]), tensor([0.8800]))
    """

    def __init__(self, dictionary: Tensor, sparsity: float = 0.1):
        super().__init__()
        self.sparsity = float(positive("sparsity", sparsity))
        self.reconstruction = Reconstruction(dictionary)
        self.penalty = L1("z")
        self.variables = ("y", "z")

    @classmethod
    def random(
        cls, num_atoms: int, size: int, sparsity: float = 0.1, generator: torch.Generator | None = None
    ) -> SparseCoding:
        """A model with random atoms of length one, (num_atoms, size)."""
        device = None if generator is None else generator.device
        atoms = torch.randn(
            count("num_atoms", num_atoms), count("size", size), generator=generator, device=device
        )
        return cls(nn.functional.normalize(atoms, dim=1), sparsity)

    @property
    def dictionary(self) -> Tensor:
        """D, (K, P)."""
        return self.reconstruction.dictionary

    def _summands(
        self, binder: Binder, scope: Mapping[str, Expression], weight: float | Tensor, label: str | None
    ) -> list[Term]:
        both = self.reconstruction + self.sparsity * self.penalty
        return both._summands(binder, scope, weight, label)

    def decode(self, z: Tensor) -> Tensor:
        """What codes stand for, zD, (B, K) -> (B, P)."""
        return self.reconstruction.decode(z)

    def infer(
        self, y: Tensor, method: Method | None = None, *, max_steps: int = 1000, tol: float = 1e-4
    ) -> Tensor:
        """The codes z* = argmin_z E(y, z), (B, P) -> (B, K).

        Args:
            y: data.
            method: a proximal minimizer; `SpaRSA()` if None.
            max_steps, tol: as in `minimize`; tol is on the generalized gradient.
        """
        start = Zeros(len(self.dictionary))
        with torch.no_grad():
            found = minimize(
                self, start, method or self._method(), given={"y": y}, max_steps=max_steps, tol=tol
            )
        return found.value

    def _method(self) -> Method:
        return SpaRSA()

    @property
    def free_energy_of(self) -> MinOver:
        """F as an energy of y alone, for landscapes and losses."""
        return min_over(self, "z", self._method(), Zeros(len(self.dictionary)), tol=1e-4)

    def free_energy(self, y: Tensor) -> Tensor:
        """F(y) = min_z E(y, z), (B,)."""
        return self.free_energy_of(y=y)

    @torch.no_grad()
    def duality_gap(self, y: Tensor, z: Tensor) -> Tensor:
        """A certificate, (B,): E(y, z) - F(y) is at most this.

        With r = y - zD and θ = r · min(1, λ / max_k |⟨d_k, r⟩|), the dual value ½|y|² - ½|y - θ|² is below F.
        """
        residual = y - self.decode(z)
        steepest = (residual @ self.dictionary.T).abs().amax(1)
        theta = residual * (self.sparsity / steepest.clamp(min=self.sparsity)).unsqueeze(1)
        primal = 0.5 * dot(residual, residual) + self.sparsity * z.abs().sum(1)
        return primal - (0.5 * dot(y, y) - 0.5 * dot(y - theta, y - theta))

    @torch.no_grad()
    def fit(
        self,
        y: Tensor,
        *,
        steps: int = 150,
        batch_size: int = 256,
        tol: float = 1e-2,
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> Tensor:
        """Learn the dictionary by alternating minimization; it goes on from the present one.

        Every step leaves a usable dictionary, so an interrupted run (Ctrl-C) keeps what it has learned, and a second
        call goes on from there.

        Args:
            y: data, (N, P), finite.
            steps: batches to learn from.
            batch_size: rows in each, drawn by going through the shuffled data again and again.
            tol: to which the codes are found while learning.
            generator: source of the shuffling and of replacements for dead atoms.
            progress: show a bar.

        Returns:
            The mean energy of each batch before its step, (steps,).

        Raises:
            ValueError: if the data are not (N, P), or a row is not finite (named by its index).
        """
        size = self.dictionary.shape[1]
        if y.ndim != 2 or y.shape[1] != size or len(y) == 0:
            raise ValueError(f"fit expects data of shape (N, {size}), N >= 1; got {tuple(y.shape)}.")
        bad = (~torch.isfinite(y).all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(f"rows {bad[:5]} of the data are NaN or infinite; remove or repair them first.")
        y = y.to(self.dictionary)
        atoms = len(self.dictionary)
        codes_squared, codes_data = y.new_zeros(atoms, atoms), y.new_zeros(atoms, size)  # A and B
        energies = y.new_zeros(count("steps", steps, 0))
        batches = _batches(y, count("batch_size", batch_size), generator)
        bar = tqdm(range(steps), desc="dictionary", disable=not progress)
        for t in bar:
            batch = next(batches)
            z = self.infer(batch, tol=tol)
            energies[t] = self(y=batch, z=z).mean()
            keep = (t / (t + 1)) ** 2
            codes_squared.mul_(keep).addmm_(z.T, z, alpha=1 / len(batch))
            codes_data.mul_(keep).addmm_(z.T, batch, alpha=1 / len(batch))
            self._improve(codes_squared, codes_data, batch, generator)
            if progress and t % 10 == 0:
                bar.set_postfix(energy=f"{float(energies[t]):.4f}")
        return energies

    def _improve(self, a: Tensor, b: Tensor, batch: Tensor, generator: torch.Generator | None) -> None:
        """One round over the atoms: d_k ← what minimizes the quadratic, projected onto |d_k| <= 1."""
        dictionary = self.dictionary.data
        use = a.diagonal()
        dead = use <= DEAD * use.mean()
        for k in (~dead).nonzero().flatten().tolist():
            atom = dictionary[k].add_(
                torch.addmv(b[k], dictionary.T, a[k], alpha=-1), alpha=1 / float(use[k])
            )
            atom.div_(torch.linalg.vector_norm(atom).clamp(min=1.0))
        lost = dead.nonzero().flatten()
        if len(lost):
            rows = torch.randint(len(batch), (len(lost),), generator=generator, device=_home(generator)).to(
                lost.device
            )
            dictionary[lost] = nn.functional.normalize(batch[rows], dim=1)
            a[lost], a[:, lost], b[lost] = 0.0, 0.0, 0.0


def _batches(y: Tensor, size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Batches of the data, in an order that is shuffled anew each time round."""
    while True:
        order = torch.randperm(len(y), generator=generator, device=_home(generator)).to(y.device)
        yield from (y[part] for part in order.split(size))


def _home(generator: torch.Generator | None) -> torch.device | None:
    return None if generator is None else generator.device

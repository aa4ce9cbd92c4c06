"""What sparse coding of vectors and of whole images share: a reconstruction, and a price of its code.

E(y, z) = ½ |y - g(z)|² + λ R(z),        F(y) = min_z E(y, z),        g linear in z, with atoms of length 1
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ebm.energy import Energy, Sum, View
from ebm.history import History
from ebm.infer.method import Method, count, number
from ebm.infer.minimize import minimize
from ebm.infer.starts import Start
from ebm.latent import min_over
from ebm.progress import tqdm
from ebm.regularized.exact import home
from ebm.regularizers import L1, Regularizer
from ebm.solution import Solution, one_tensor

Improve = Callable[[Tensor, Tensor, Tensor], int]  # of a batch, its codes and their energies


class Decoder(Protocol):
    """What `SparseCodes` asks of its first term, besides being an energy of y and z."""

    dictionary: Tensor

    @property
    def no_code(self) -> Start:
        """A start at z = 0."""

    def decode(self, z: Tensor) -> Tensor:
        """g(z), like y."""


class SparseCodes(Sum):
    """E(y, z) = reconstruction(y, z) + λ R(z).

    Args:
        reconstruction: ½ |y - g(z)|².
        sparsity: λ > 0, the cost of a unit of code.
        regularizer: R, an energy of "z" with a prox; L1 if None.
        method: how codes are inferred.

    Raises:
        ValueError: if the regularizer is of other variables, or the sparsity is not positive.
    """

    def __init__(
        self, reconstruction: Energy, sparsity: float, regularizer: Regularizer | None, method: Method
    ):
        own = L1("z") if regularizer is None else regularizer
        if own.variables != ("z",):
            raise ValueError(f'the regularizer is an energy of "z"; got one of {own.variables}.')
        cost = number("sparsity", sparsity)
        super().__init__(reconstruction, cost * own)
        self.sparsity, self.method = cost, method

    @property
    def _decoder(self) -> Decoder:
        first: Decoder = next(iter(self.parts.values()))  # type: ignore[assignment]
        return first

    @property
    def regularizer(self) -> Regularizer:
        """R, without its weight."""
        _, weighted = self.parts.values()
        part = weighted.part if isinstance(weighted, View) else weighted
        if not isinstance(part, Regularizer):
            raise TypeError(f"the second term is a Regularizer; found {type(part).__name__}.")
        return part

    @property
    def dictionary(self) -> Tensor:
        """The atoms, (K, *shape)."""
        return self._decoder.dictionary

    @property
    def free_energy(self) -> Energy:
        """F(y) = min_z E(y, z), an energy of y; its gradient in y and the atoms is exact."""
        return min_over(self, "z", self.method, self._decoder.no_code)

    def infer(
        self, y: Tensor, start: Tensor | Start | None = None, *, max_steps: int = 1000, tol: float = 1e-5
    ) -> Solution:
        """The codes of data y: argmin_z E(y, z).

        Args:
            y: (B, *shape).
            start: where to begin, shaped as z, or a start object; zeros if None.
            max_steps, tol: as in `minimize`.

        Returns:
            A `Solution` whose `value` is z and `energy` F(y), (B,).
        """
        begin = self._decoder.no_code if start is None else start
        return minimize(self, begin, self.method, given={"y": y}, max_steps=max_steps, tol=tol)

    def decode(self, z: Tensor) -> Tensor:
        """What the codes stand for, g(z), like y."""
        return self._decoder.decode(z)

    @torch.no_grad()
    def learn(
        self,
        y: Tensor,
        improve: Improve,
        *,
        steps: int,
        batch_size: int,
        tol: float,
        generator: torch.Generator | None,
        progress: bool,
        resume: bool = False,
    ) -> History:
        """Codes of a batch, then better atoms, in turn: the loop that `fit` of a model is made of.

        Args:
            y: (N, *shape), checked.
            improve: changes the dictionary in place, and says how many atoms it replaced.
            steps: batches.
            batch_size: rows to a batch, at most N; the rows come in random order, all before any comes again.
            tol: of the codes' inference.
            generator: randomness of the order.
            progress: show a bar.
            resume: every batch is all of y as it stands, and codes begin where they ended.

        Returns:
            Of each step the mean free energy before the atoms changed, the active atoms, the replaced ones.
        """
        count("steps", steps)
        history, begun, z = History(), time.perf_counter(), None
        order = torch.empty(0, dtype=torch.int64)
        length = torch.linalg.vector_norm(self.dictionary.flatten(1), dim=1)
        self.dictionary.div_(length.view(-1, *(1,) * (self.dictionary.ndim - 1)))
        with tqdm(range(steps), desc="dictionary", disable=not progress) as bar:
            try:
                for _ in bar:
                    batch = y
                    if not resume:
                        if len(order) < batch_size:
                            order = torch.randperm(len(y), generator=generator, device=home(generator))
                        batch, order = y[order[:batch_size].to(y.device)], order[batch_size:]
                    codes = self.infer(batch, z if resume else None, tol=tol)
                    z = one_tensor(codes.value)
                    replaced = improve(batch, z, codes.energy)
                    active = float(z.flatten(1).count_nonzero(1).double().mean())
                    energy = float(codes.energy.mean())
                    history.append({"energy": energy, "active": active, "replaced": replaced})
                    bar.set_postfix(energy=f"{energy:.4f}", refresh=False)
            except KeyboardInterrupt:
                history.interrupted = True
        history.seconds = time.perf_counter() - begun
        return history

    def gap(self, y: Tensor, residual: Tensor, products: Tensor, z: Tensor) -> Tensor:
        """E(y, z) - F(y) <= gap, from ν = r · min(1, λ / R°(Dr)), R° the norm dual to R.

        The dual energy ½|y|² - ½|y - ν|² is below every E(y, ·); the gap is E less that.

        Args:
            y: (B, *shape), float64.
            residual: r = y - g(z), like y.
            products: Dr, those of the residual with the atoms, like z.
            z: the codes.

        Returns:
            (B,), 0 at the minimum.
        """
        regularizer, r = self.regularizer, residual.flatten(1)
        scale = (self.sparsity / regularizer.dual_norm(products)).clamp(max=1)
        dual, rows = scale.unsqueeze(1) * r, y.flatten(1)
        energy = 0.5 * r.square().sum(1) + self.sparsity * regularizer.cost(z)
        return energy - 0.5 * (rows.square().sum(1) - (rows - dual).square().sum(1))

"""Variational free energy: the free energy as a function of a distribution of z.

    F(q; y) = ⟨E(y, z)⟩_q - H(q) / β  =  F_β(y) + KL(q ‖ p(z|y)) / β,        p(z|y) ∝ exp(-β E(y, z))

It is never below F_β(y) = -(1/β) log ∫ exp(-β E) dz, and equal where q is the posterior: inference is
minimization, over distributions. q's numbers are variables of the energy, so `minimize` does it,

    gaussian_free_energy(E)           variables (y, mean, log_std): q = N(mean, exp(log_std)²)
    categorical_free_energy(E, by)    variables (y, logits): q_k ∝ exp(logits_k) on the nodes of `by`

and an encoder that makes them of y, `F.compose(logits=(encoder, "y"))`, is amortized inference. `terms` shows
average energy and entropy apart. For β = ∞ the entropy counts nothing, and all of q goes to the minimum.

Reference: Neal & Hinton (1998), "A View of the EM Algorithm that Justifies Incremental, Sparse, and Other
Variants", sect. 2; Hinton & Zemel (1993), "Autoencoders, Minimum Description Length and Helmholtz Free
Energy".
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.nodes import Finite
from ebm.problem import Problem
from ebm.regularized.distributions import Categorical, DiagonalGaussian, cubature

AVERAGE, ENTROPY = "average energy", "negative entropy"


def gaussian_free_energy(
    energy: Energy,
    latent: str = "z",
    beta: float = 1.0,
    *,
    draws: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> Energy:
    """F(q; y) = ⟨E(y, z)⟩_q - H(q) / β for q = N(mean, exp(log_std)²), an energy of y, mean and log_std.

    Args:
        energy: an energy of the latent and other variables.
        latent: its name; a variable of floating dtype.
        beta: inverse temperature, above 0; inf leaves the entropy out.
        draws: average over S draws, made when the energy is bound; None for the 2D points μ ± √D σ_i e_i,
            which is exact where E is quadratic in z (a polynomial of degree 3).
        shape: of the latent, where there are draws and the mean is not given.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.infer import LBFGS
        >>> @energy
        ... def spring(y, z):
        ...     return ((y - z) ** 2 + z**2).sum(1)
        >>> free = gaussian_free_energy(spring)
        >>> q = {"mean": torch.zeros(1, 1), "log_std": torch.zeros(1, 1)}
        >>> best = minimize(free, q, LBFGS(), given={"y": torch.tensor([[2.0]])})
        >>> best.value["mean"], best.value["log_std"].exp()  # p(z|y) = N(1, ¼)
        (tensor([[1.0000]]), tensor([[0.5000]]))
    """
    average = GaussianAverage(energy, latent, draws, shape)
    return _free_energy(average, GaussianEntropy(), beta)


def categorical_free_energy(energy: Energy, by: Finite, latent: str = "z", beta: float = 1.0) -> Energy:
    """F(q; y) = Σ_k q_k E(y, z_k) - H(q) / β for q_k ∝ exp(logits_k), an energy of y and logits.

    Args:
        energy: an energy of the latent and other variables.
        by: the nodes z_k, `Finite` or `AllChoices`; of a normalized one the entropy is -KL(q ‖ uniform).
        latent: its name.
        beta: inverse temperature, above 0; inf leaves the entropy out.

    Example:
        >>> from ebm import energy
        >>> @energy
        ... def coin(y, z):
        ...     return ((y - z) ** 2).sum(1)
        >>> sides = Finite(torch.tensor([[-1.0], [1.0]]), normalized=False)
        >>> free = categorical_free_energy(coin, sides)
        >>> free.terms(y=torch.zeros(1, 1), logits=torch.zeros(1, 2))  # 1 - log 2
        {'average energy': tensor([1.]), 'negative entropy': tensor([-0.6931])}
    """
    average = CategoricalAverage(energy, by, latent)
    offset = math.log(len(by.values)) if by.normalized else 0.0
    return _free_energy(average, CategoricalEntropy(offset), beta)


class Average(Energy, ABC):
    """⟨E(..., z)⟩_q, what both kinds of q share: the inner energy, bound once."""

    q: tuple[str, ...] = ()

    def __init__(self, energy: Energy, latent: str):
        super().__init__()
        if latent not in energy.variables:
            raise TypeError(
                f"{energy.label} is an energy of {', '.join(energy.variables)}; it has no {latent!r}."
            )
        if taken := [name for name in self.q if name in (*energy.variables, *energy.options)]:
            raise TypeError(f"{', '.join(self.q)} are to be variables of q; {energy.label} has {taken[0]!r}.")
        self.energy, self.latent = energy, latent
        self.variables = (*(v for v in energy.variables if v != latent), *self.q)
        self.options = energy.options

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the inner energy, and draw what is random, once."""
        here = {name: value for name, value in given.items() if name not in self.q}
        like = {}
        if binder.batch is not None:
            like["rows"] = torch.empty(binder.batch, 0, dtype=binder.dtype, device=binder.device)
        return {"_bound": self.energy.bind(here, binder.generator, like), **self.draw(binder, given)}

    @abstractmethod
    def draw(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Row data that is random."""

    def at(self, nodes: Tensor, bound: Bound, variables: Mapping[str, Any]) -> Tensor:
        """Energies (B, S) at the nodes (B, S, *shape)."""
        here = bound.bind({n: variables[n] for n in self.variables if n in bound.variables})
        return Problem(here, {self.latent: nodes.shape[2:]}, batch=len(nodes)).candidates(nodes)[0]


class GaussianAverage(Average):
    """⟨E(..., z)⟩ over z ~ N(mean, exp(log_std)²); `gaussian_free_energy` documents the arguments."""

    q = ("mean", "log_std")

    def __init__(
        self,
        energy: Energy,
        latent: str = "z",
        draws: int | None = None,
        shape: tuple[int, ...] | None = None,
    ):
        super().__init__(energy, latent)
        self.draws, self.shape = None if draws is None else count("draws", draws), shape

    def draw(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        if self.draws is None:
            return {}
        shape = given["mean"].shape[1:] if "mean" in given else self.shape
        if shape is None:
            raise ValueError(
                f"{self.draws} draws of {self.latent!r} need its shape when the energy is bound: give the "
                f"mean, or make the free energy with shape=(D,)."
            )
        rows = (binder.need_batch("GaussianAverage"), self.draws, *shape)
        noise = torch.empty(rows, dtype=binder.dtype, device=binder.device)
        return {"_noise": noise.normal_(generator=binder.generator)}

    def forward(
        self, *, mean: Tensor, log_std: Tensor, _bound: Bound, _noise: Tensor | None = None, **variables: Any
    ) -> Tensor:
        q = DiagonalGaussian(mean, log_std)
        return self.at(q.at(cubature(mean) if _noise is None else _noise), _bound, variables).mean(1)


class CategoricalAverage(Average):
    """Σ_k q_k E(..., z_k) over nodes z_k; `categorical_free_energy` documents the arguments."""

    q = ("logits",)

    def __init__(self, energy: Energy, by: Finite, latent: str = "z"):
        super().__init__(energy, latent)
        if not isinstance(by, Finite):
            raise TypeError(f"`by` says which values z takes: Finite or AllChoices of ebm.nodes; got {by!r}.")
        self.by = by

    def draw(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def forward(self, *, logits: Tensor, _bound: Bound, **variables: Any) -> Tensor:
        q = Categorical(logits)
        if logits.shape[1] != len(self.by.values):
            raise ValueError(
                f"there are {len(self.by.values)} values of z, and logits for {logits.shape[1]}."
            )
        nodes, _ = self.by.place(Binder(None, len(logits), logits.dtype, logits.device), None)
        return (q.probability * self.at(nodes, _bound, variables)).sum(1)


class GaussianEntropy(Energy):
    """-H(N(·, exp(log_std)²)), an energy of log_std: low where q is wide."""

    def forward(self, log_std: Tensor) -> Tensor:
        return -DiagonalGaussian(torch.zeros_like(log_std), log_std).entropy


class CategoricalEntropy(Energy):
    """offset - H(q), q_k ∝ exp(logits_k), an energy of logits: low where q is spread evenly."""

    def __init__(self, offset: float = 0.0):
        super().__init__()
        self.offset = offset

    def forward(self, logits: Tensor) -> Tensor:
        return self.offset - Categorical(logits).entropy


def _free_energy(average: Energy, entropy: Energy, beta: float) -> Energy:
    if not beta > 0:
        raise ValueError(f"beta is an inverse temperature, above 0 (inf leaves the entropy out); got {beta}.")
    return average.named(AVERAGE) + ((1 / beta) * entropy).named(ENTROPY)

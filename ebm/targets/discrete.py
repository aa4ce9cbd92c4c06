"""Targets over finitely many states, whose answers are sums over all of them.

    p(y) = exp(-E(y)) / Z,        log Z = log Σ_y exp(-E(y)),        y ∈ {0, 1}^D, or D one-hot sites

What a sampler, a loss or an estimate of the partition function finds on a small target is held to this.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ebm.nodes import AllChoices
from ebm.rows import flat
from ebm.targets.target import Target

LIMIT = 2**20  # states that are worth a sum
CHUNK = 2**22  # numbers of states evaluated at once


class DiscreteTarget(Target):
    """An energy over `sites` variables with `values` values each, small enough to be listed or not.

    A state is (D,) of zeros and ones for two values, (D, K) one-hot for more (or for two, if so asked for).
    Answers come from the list of all states, and raise where there are more than 2²⁰.

    Args:
        sites: D.
        values: K, of each.
        one_hot: whether states are one-hot.
        like: as in `Target`.
    """

    def __init__(self, sites: int, values: int, one_hot: bool, like: Tensor | None = None):
        super().__init__(sites, like)
        self.values, self.one_hot = values, one_hot

    def hold(self, **settings: Tensor) -> None:
        """Keep tensors by name: an `nn.Parameter` as it is, to be learned; of any other a copy, a buffer."""
        for name, tensor in settings.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.clone())

    @abstractmethod
    def forward(self, y: Tensor) -> Tensor:
        """E(y), (B,), of states (B, *shape)."""

    @property
    def states(self) -> Tensor:
        """All states, (K^D, *shape); the last site changes fastest.

        Raises:
            ValueError: if there are more than 2²⁰.
        """
        if self.values**self.dim > LIMIT:
            raise ValueError(
                f"{type(self).__name__} has {self.values}^{self.dim} states, more than the 2^20 that are "
                f"worth listing; take fewer sites, or a sampler: Gibbs(), GibbsWithGradients()."
            )
        index = AllChoices(self.values, self.dim).values
        return (one_hot(index, self.values) if self.one_hot else index).to(self._anchor)

    @property
    def probabilities(self) -> Tensor:
        """p of all states, (K^D,)."""
        return torch.softmax(-self._energies(self.states), 0)

    @property
    def log_z(self) -> float:
        """log Σ_y exp(-E(y)), a sum over all states."""
        return float(torch.logsumexp(-self._energies(self.states), 0))

    @property
    def mean(self) -> Tensor:
        """⟨y⟩, shaped like a state."""
        return torch.tensordot(self.probabilities, self.states, 1)

    @property
    def covariance(self) -> Tensor:
        """The covariance of the entries of a state, laid out flat."""
        centered = flat(self.states - self.mean)
        return centered.T @ (self.probabilities.unsqueeze(1) * centered)

    @property
    def minima(self) -> Tensor:
        """All states of lowest energy, to rounding, (M, *shape)."""
        states = self.states
        energies = self._energies(states)
        reach = 10 * torch.finfo(energies.dtype).eps * (1 + float(energies.abs().max()))
        return states[energies <= energies.min() + reach]

    @property
    def minimum(self) -> float:
        return float(self._energies(self.states).min())

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Zero to one, and a margin."""
        return (-0.5, 1.5, -0.5, 1.5)

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the list of states, (n, *shape), by inverting the distribution function."""
        upto = self.probabilities.double().cumsum(0)
        chance = torch.rand(n, generator=generator, dtype=torch.float64, device=upto.device) * upto[-1]
        return self.states[torch.searchsorted(upto, chance, right=True).clamp(max=len(upto) - 1)]

    def distance_to_minima(self, y: Tensor) -> Tensor:
        """Euclidean distance of each row of y to the nearest state of lowest energy, (B,)."""
        return torch.linalg.vector_norm(flat(y).unsqueeze(1) - flat(self.minima).to(y), dim=2).amin(1)

    @torch.no_grad()
    def _energies(self, states: Tensor) -> Tensor:
        size = max(1, CHUNK // math.prod(states.shape[1:]))
        return torch.cat([self.forward(part) for part in states.split(size)])


def symmetric(who: str, coupling: Tensor) -> Tensor:
    """A coupling matrix, after a check: (D, D), finite, symmetric, with a diagonal of zeros.

    Raises:
        TypeError: if it holds integers.
        ValueError: if it is none of that.
    """
    if not coupling.is_floating_point():
        raise TypeError(f"{who} needs floating point couplings; got {coupling.dtype}. Pass coupling.float().")
    if coupling.ndim != 2 or coupling.shape[0] != coupling.shape[1]:
        raise ValueError(f"{who} needs couplings of shape (D, D); got {tuple(coupling.shape)}.")
    if not bool(coupling.isfinite().all()):
        raise ValueError(f"{who} needs finite couplings.")
    if not torch.equal(coupling, coupling.T) or bool(coupling.diagonal().any()):
        raise ValueError(
            f"{who} needs a symmetric coupling matrix with zeros on its diagonal, for a pair is a pair in "
            f"either order and no site couples to itself. Pass 0.5 * (J + J.T) and J.fill_diagonal_(0)."
        )
    return coupling

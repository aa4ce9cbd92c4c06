"""Targets: energies over y whose minima, partition function, moments and samples are known.

    p(y) = exp(-E(y)) / Z,        log Z = log ∫ exp(-E(y)) dy        (inverse temperature 1)

A minimizer is right if it finds `minima`; a sampler is right if its moments are `mean` and `covariance`; an
estimate of the partition function is right if it is `log_z`; and `exact_samples` need no Markov chain at all.
A target with latent variables besides y (the ellipse) answers for y with the latents integrated out.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.energy import Energy


class Target(Energy, ABC):
    """An energy over y (B, D) that knows its own answers.

    Subclasses give `forward`, `minima`, `minimum` and `extent`, and each further answer that they know; one
    that does not exist or has no closed form stays None (`log_z`, `mean`, `covariance`) or raises
    (`exact_samples`). Numbers of the constructor are kept as Python floats, so `.double()` loses nothing;
    tensors it answers with have the dtype and device of the module (`.to(...)` moves them along).

    Args:
        dim: D, the number of coordinates of y, at least 1.
        like: a tensor whose dtype and device the answers take; the default dtype on the CPU if None.

    Raises:
        ValueError: if `dim` is not a positive integer.
    """

    _anchor: Tensor  # empty; `.to()`, `.double()` and `.cuda()` move it, and the answers follow it

    def __init__(self, dim: int, like: Tensor | None = None):
        super().__init__()
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"{type(self).__name__} needs dim >= 1, an integer; got dim={dim!r}.")
        self.dim = dim
        anchor = torch.empty(0) if like is None else like.new_empty(0)
        self.register_buffer("_anchor", anchor, persistent=False)

    @property
    @abstractmethod
    def minima(self) -> Tensor:
        """All global minima, (M, D); where they form a curve, M points spread over it (the class says so)."""

    @property
    @abstractmethod
    def minimum(self) -> float:
        """The lowest energy, E at each of `minima`."""

    @property
    @abstractmethod
    def extent(self) -> tuple[float, float, float, float]:
        """(xmin, xmax, ymin, ymax), a range of the first two coordinates worth plotting."""

    @property
    def log_z(self) -> float | None:
        """log ∫ exp(-E(y)) dy, or None where the integral diverges or is not known."""
        return None

    @property
    def mean(self) -> Tensor | None:
        """⟨y⟩ under p, (D,), or None where it does not exist or is not known."""
        return None

    @property
    def covariance(self) -> Tensor | None:
        """⟨(y - ⟨y⟩)(y - ⟨y⟩)ᵀ⟩ under p, (D, D), or None where it does not exist or is not known."""
        return None

    def exact_samples(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n independent draws from p, (n, D), exact to rounding.

        Raises:
            ValueError: if no exact sampler is known for this target.
        """
        raise ValueError(
            f"{type(self).__name__}(dim={self.dim}) has no exact sampler; run a Markov chain instead: "
            f"sample(E, y0, method, num_samples=...)."
        )

    def distance_to_minima(self, y: Tensor) -> Tensor:
        """Euclidean distance of each row of y (B, D) to the nearest global minimum, (B,)."""
        return torch.linalg.vector_norm(y.unsqueeze(1) - self.minima.to(y), dim=2).amin(1)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def _normal(self, *shape: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=self._anchor.dtype, device=self._anchor.device)

    def _uniform(self, *shape: int, generator: torch.Generator | None) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=self._anchor.dtype, device=self._anchor.device)


def accept(n: int, propose: Callable[[int], tuple[Tensor, Tensor]]) -> Tensor:
    """n draws by rejection (von Neumann 1951): those of `propose`'s candidates whose accept mask is true.

    Args:
        n: number of draws to return.
        propose: maps a count m to m candidates (m, ...) and the mask (m,) of those accepted.
    """
    kept: list[Tensor] = []
    while not kept or sum(map(len, kept)) < n:
        candidates, accepted = propose(max(n, 64))
        kept.append(candidates[accepted])
    return torch.cat(kept)[:n]


def finite(who: str, name: str, tensor: Tensor) -> Tensor:
    """The tensor itself, checked to hold finite floating point numbers.

    Raises:
        TypeError: if it holds integers.
        ValueError: if an entry is NaN or infinite.
    """
    if not tensor.is_floating_point():
        raise TypeError(f"{who} needs floating point {name}; got {tensor.dtype}. Pass {name}.float().")
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{who} needs finite {name}; got {tensor.tolist()}.")
    return tensor


def positive(who: str, **numbers: float) -> list[float]:
    """The numbers as floats, each checked to be positive and finite.

    Raises:
        ValueError: naming the first number that is not.
    """
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{who} needs a positive, finite {name}; got {name}={value!r}.")
    return [float(value) for value in numbers.values()]

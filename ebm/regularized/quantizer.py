"""Quantizers: a vector is replaced by the nearest of finitely many codes, and gradients find a way around it.

    E(h, z) = Σ_cells |h - c_z|²,        z*(h) = argmin_z E(h, z),        q(h) = c_{z*(h)}

q is constant but for jumps, so its derivative says nothing to what made h. Two stand-ins for it:

    straight-through    q = h + sg[c - h]                    ∂q/∂h = I
    rotation            q = sg[(|c| / |h|) R] h              R turns h/|h| into c/|c| in their plane

With r = (ĥ + ĉ) / |ĥ + ĉ|, R = I - 2 r rᵀ + 2 ĉ ĥᵀ. The rotation keeps the angle between gradient and code,
so that vectors of one cell are no longer all pushed the same way.

Reference: Bengio, Léonard & Courville (2013), "Estimating or Propagating Gradients Through Stochastic
Neurons"; van den Oord, Vinyals & Kavukcuoglu (2017), "Neural Discrete Representation Learning"; Fifty et al.
(2024), "Restructuring Vector Quantization with the Rotation Trick", sect. 4.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.regularized.exact import exactly
from ebm.solution import Solution, Stop


class Quantized(NamedTuple):
    """What a quantizer makes of vectors h, (B, *cells, D).

    Attributes:
        code: c_z, (B, *cells, D), with the estimator's gradient to h.
        z: which code, int64, (B, *cells), or (B, *cells, S) of S stages.
    """

    code: Tensor
    z: Tensor


def straight_through(h: Tensor, code: Tensor) -> Tensor:
    """The code's value with h's gradient, (..., D): ∂/∂h = I and ∂/∂code = 0.

    Example:
        >>> h = torch.tensor([0.9, 0.2], requires_grad=True)
        >>> straight_through(h, torch.tensor([1.0, 0.0])).dot(torch.tensor([3.0, 4.0])).backward()
        >>> h.grad
        tensor([3., 4.])
    """
    return code.detach() + (h - h.detach())


def rotated(h: Tensor, code: Tensor) -> Tensor:
    """The code's value with the gradient of the rotation and scaling that bring h there, (..., D).

    ∂/∂h = (|c| / |h|) R, held fixed, and ∂/∂code = 0. Where h = 0 no rotation is defined, and the gradient
    goes straight through; where h and c are opposite, R is the reflection I - 2 ĥ ĥᵀ.

    Example:
        >>> h = torch.tensor([2.0, 0.0], requires_grad=True)  # R is a quarter turn, the scale ½
        >>> rotated(h, torch.tensor([0.0, 1.0])).dot(torch.tensor([3.0, 4.0])).backward()
        >>> h.grad
        tensor([ 2.0000, -1.5000])
    """
    with torch.no_grad():
        lengths = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
        tiny = torch.finfo(h.dtype).tiny
        scale = torch.linalg.vector_norm(code, dim=-1, keepdim=True) / lengths.clamp(min=tiny)
        here, there = (torch.nn.functional.normalize(v, dim=-1, eps=tiny) for v in (h, code))
        middle = torch.nn.functional.normalize(here + there, dim=-1, eps=tiny)
        known = lengths > 0
        scale = torch.where(known, scale, 0.0)
    turned = (
        h - 2 * (h * middle).sum(-1, keepdim=True) * middle + 2 * (h * here).sum(-1, keepdim=True) * there
    )
    gradient = torch.where(known, scale * turned, h)
    return code.detach() + (gradient - gradient.detach())


class Quantizer(Energy, ABC):
    """An energy E(h, z) of vectors h, (B, *cells, D), and codes z, whose minimum over z is known.

    Attributes:
        size: D.
        choices: each number in z lies in [0, choices).
        stages: how many numbers of z name the code of one cell; with one, z has no dimension for them.
        commitment: β, how much of E(f(y), z) belongs to the energy of a `VQVAE`.
    """

    size: int
    choices: int
    stages: int = 1
    commitment: float = 0.0

    @abstractmethod
    def assign(self, h: Tensor) -> Tensor:
        """z, int64, (B, *cells) or (B, *cells, S), of vectors (B, *cells, D); no gradient."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """c_z, (B, *cells, D)."""

    @abstractmethod
    def estimate(self, h: Tensor, z: Tensor) -> Tensor:
        """c_z, (B, *cells, D), with a gradient to h that stands for that of quantizing."""

    @abstractmethod
    def learning_cost(self, h: Tensor, z: Tensor) -> Tensor:
        """What is added to the energy of the data while encoder and codes are learned, (B,)."""

    @abstractmethod
    def update(self, h: Tensor, z: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Learn codes from a batch without gradients, in place; numbers worth watching."""

    def quantize(self, h: Tensor) -> Quantized:
        """Assign, and look up the code with the estimator's gradient."""
        z = self.assign(h)
        return Quantized(self.estimate(h, z), z)

    def infer(self, h: Tensor) -> Solution:
        """z* = argmin_z E(h, z): a `Solution` whose value is z and whose energy is (B,)."""
        with torch.no_grad():
            z = self.assign(h)
            energy = self(h=h, z=z)
        return exactly(z, energy, Stop.EXHAUSTED)

    def usage(self, z: Tensor) -> Usage:
        """How often each code was taken, of any number of z."""
        numbers = self.check_codes(z).reshape(-1, self.stages)
        offset = self.choices * torch.arange(self.stages, device=z.device)
        counts = torch.bincount((numbers + offset).flatten(), minlength=self.stages * self.choices)
        return Usage(counts.view(self.stages, self.choices), z[:1].numel() // self.stages)

    def check_vectors(self, h: Tensor) -> Tensor:
        """Refuse what is not (B, *cells, D)."""
        if h.ndim < 2 or h.shape[-1] != self.size:
            raise ValueError(
                f"codes have {self.size} numbers, so h is (B, *cells, {self.size}); got {tuple(h.shape)}."
            )
        return h

    def check_pair(self, h: Tensor, z: Tensor) -> Tensor:
        """z, after a check that it has a code for each vector of h.

        Raises:
            ValueError: if the shapes don't belong together.
        """
        cells = self.check_vectors(h).shape[:-1]
        expected = cells if self.stages == 1 and z.ndim == len(cells) else (*cells, self.stages)
        if z.shape != expected:
            raise ValueError(f"to h {tuple(h.shape)} belongs z {tuple(expected)}; got {tuple(z.shape)}.")
        return z

    def check_codes(self, z: Tensor) -> Tensor:
        """Refuse what is no code.

        Raises:
            TypeError: if z is not int64.
            ValueError: if an entry lies outside [0, choices).
        """
        if z.dtype != torch.int64:
            raise TypeError(f"codes are numbered, so z is int64 (.long()); got {z.dtype}.")
        if z.numel() and not 0 <= int(z.min()) <= int(z.max()) < self.choices:
            raise ValueError(f"codes lie in [0, {self.choices}); got {int(z.min())} to {int(z.max())}.")
        return z


@dataclass(frozen=True)
class Usage:
    """How often each code was taken.

    Attributes:
        counts: (S, n) int64, by stage and code.
        cells: how many codes stand for one y.

    Example:
        >>> print(Usage(torch.tensor([[2, 2, 4, 0]]), cells=3))
        3 of 4 codes used, perplexity 2.83; bits of one y: 4.50 by their entropy, 4.75 by their number
    """

    counts: Tensor
    cells: int = 1

    @property
    def entropy(self) -> Tensor:
        """H(p̂) of each stage in nats, (S,)."""
        p = self.counts.double() / self.counts.sum(1, keepdim=True).clamp(min=1)
        return -torch.xlogy(p, p).sum(1)

    @property
    def perplexity(self) -> float:
        """exp H(p̂), from 1 (one code for all) to n (all alike); of several stages the geometric mean."""
        return math.exp(float(self.entropy.mean()))

    @property
    def used(self) -> int:
        """How many codes were taken at all, over all stages."""
        return int((self.counts > 0).sum())

    @property
    def bits(self) -> float:
        """cells · Σ_s H_s / log 2: the mean length of one y's codes if each is written by its frequency."""
        return self.cells * float(self.entropy.sum()) / math.log(2)

    @property
    def fixed_bits(self) -> float:
        """cells · Σ_s log₂(used codes of stage s): their length if all are written with equally many bits."""
        return self.cells * float((self.counts > 0).sum(1).clamp(min=1).double().log2().sum())

    def __str__(self) -> str:
        return (
            f"{self.used} of {self.counts.numel()} codes used, perplexity {self.perplexity:.2f}; bits of one "
            f"y: {self.bits:.2f} by their entropy, {self.fixed_bits:.2f} by their number"
        )


def distance(h: Tensor, code: Tensor) -> Tensor:
    """|h - c|² of every row, (B, *cells, D) x (B, *cells, D) -> (B,)."""
    return (h - code).square().flatten(1).sum(1)

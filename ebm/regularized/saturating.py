"""The saturating auto-encoder: codes are drawn to where their nonlinearity is flat, and y can't move them.

    E(y) = |y - g(φ(a))|² + α Σ_i φ_c(a_i),   a = f(y),        φ_c(a) = min { |a - b| : φ'(b) = 0 }

φ_c, the complement of the nonlinearity φ, is how far a is from the nearest flat part of φ. Where all codes
are flat the reconstruction is constant: only where data is does it pay to leave the flat parts. It is the
contractive auto-encoder's aim by other means: φ'(a) = 0 makes ∂φ(a)/∂y = 0, without a Jacobian.

    φ                                  flat on              φ_c(a)
    Rectifier      max(a, 0)           a <= 0               max(a, 0)
    SaturatedLine  min(max(a, 0), 1)   a <= 0 or a >= 1     max(0, min(a, 1 - a))
    Shrink         a - clip(a, ±t)     |a| <= t             max(|a| - t, 0)

Reference: Goroshin & LeCun (2013), "Saturating Auto-Encoders", sect. 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.method import positive
from ebm.regularized.checks import check_decoded


class Saturating(nn.Module, ABC):
    """A nonlinearity φ with flat parts, for a of any shape."""

    @abstractmethod
    def forward(self, a: Tensor) -> Tensor:
        """φ(a), like a."""

    @abstractmethod
    def complement(self, a: Tensor) -> Tensor:
        """φ_c(a), how far each a is from the nearest flat part, like a."""


class Rectifier(Saturating):
    """φ(a) = max(a, 0). Its penalty is the L1 norm of the code."""

    def forward(self, a: Tensor) -> Tensor:
        return a.relu()

    def complement(self, a: Tensor) -> Tensor:
        return a.relu()


class SaturatedLine(Saturating):
    """φ(a) = min(max(a, 0), 1). Its penalty drives codes to 0 and 1: binary codes."""

    def forward(self, a: Tensor) -> Tensor:
        return a.clamp(0, 1)

    def complement(self, a: Tensor) -> Tensor:
        return torch.minimum(a, 1 - a).relu()


class Shrink(Saturating):
    """φ(a) = a - clip(a, ±t), 0 near 0. Its penalty is the L1 norm of the code.

    Args:
        threshold: t > 0.
    """

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = float(positive("threshold", threshold))

    def forward(self, a: Tensor) -> Tensor:
        return a - a.clamp(-self.threshold, self.threshold)

    def complement(self, a: Tensor) -> Tensor:
        return (a.abs() - self.threshold).relu()


class SaturatingAutoEncoder(Energy):
    """E(y) = |y - g(φ(f(y)))|² + α Σ_i φ_c(f(y)_i), trained by `AverageEnergy`.

    Args:
        encoder: f, a module (B, *shape) -> (B, *code).
        decoder: g, a module (B, *code) -> (B, *shape).
        nonlinearity: φ, between the two.
        saturation: α > 0.

    Raises:
        TypeError: if φ is no `Saturating` map.
        ValueError: if α isn't positive; on a call, if the decoder gives another shape than y has.

    Example:
        >>> model = SaturatingAutoEncoder(nn.Identity(), nn.Identity(), SaturatedLine(), 0.5)
        >>> model(y=torch.tensor([[1.0, 0.0], [0.25, 3.0]]))  # (1, 0) is flat in both: nothing to pay
        tensor([0.0000, 4.1250])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, nonlinearity: Saturating, saturation: float):
        super().__init__()
        positive("saturation", saturation)
        if not isinstance(nonlinearity, Saturating):
            raise TypeError(f"φ is a Saturating map, such as SaturatedLine(); got {nonlinearity!r}.")
        self.encoder, self.decoder, self.nonlinearity = encoder, decoder, nonlinearity
        self.saturation = float(saturation)

    def encode(self, y: Tensor) -> Tensor:
        """φ(f(y)), (B, *shape) -> (B, *code)."""
        code: Tensor = self.nonlinearity(self.encoder(y))
        return code

    def decode(self, z: Tensor) -> Tensor:
        """g(z), (B, *code) -> (B, *shape)."""
        decoded: Tensor = self.decoder(z)
        return decoded

    def forward(self, y: Tensor) -> Tensor:
        a = self.encoder(y)
        error = (y - check_decoded(y, self.decode(self.nonlinearity(a)))).square().flatten(1).sum(1)
        return error + self.saturation * self.nonlinearity.complement(a).flatten(1).sum(1)

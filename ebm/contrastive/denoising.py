"""Denoising: an energy that is the distance from y to its reconstruction, taught to undo what a loss spoils.

    E(y) = |y - G(y)|²,        L = ⟨ |y - G(ỹ)|² ⟩,  ỹ a corrupted y

The corruption belongs to the loss; the energy stays a function. Left alone, G learns the identity and E = 0
everywhere. A G that maps spoilt points back to the data has E(ỹ) ≈ |ỹ - y|²: the energy is pushed up exactly
where corruption leads. With Gaussian noise the best G is known, and E reads off the slope of the density:

    G(ỹ) - ỹ = σ² ∇ log p_σ(ỹ),    p_σ = p * N(0, σ²I);    for data N(0, S): G = S (S + σ²I)⁻¹

Reference: Vincent, Larochelle, Bengio, Manzagol (2008), "Extracting and Composing Robust Features with
Denoising Autoencoders", sect. 2.3; Alain & Bengio (2014), "What Regularized Auto-Encoders Learn from the
Data-Generating Distribution", theorem 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ebm.contrastive.corruption import Corruption
from ebm.energy import Energy
from ebm.loss import OFF_DATA, ON_DATA, Loss, LossOutput, energy_of


class AutoEncoder(Energy):
    """The squared distance of y from its reconstruction, E(y) = |y - G(y)|².

    The option `seen` is what the network gets to see in place of y: E(y, seen) = |y - G(seen)|².

    Args:
        network: G, a module (B, *shape) -> (B, *shape).

    Raises:
        ValueError: on a call, if the network's output is shaped otherwise than y.

    Example:
        >>> E = AutoEncoder(nn.Identity())  # the collapsed auto-encoder
        >>> E(y=torch.ones(1, 3)), E(y=torch.ones(1, 3), seen=torch.zeros(1, 3))
        (tensor([0.]), tensor([3.]))
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, y: Tensor, seen: Tensor | None = None) -> Tensor:
        reconstruction = self.network(y if seen is None else seen)
        if reconstruction.shape != y.shape:
            raise ValueError(
                f"the network must return the shape of y, {tuple(y.shape)}; it returned "
                f"{tuple(reconstruction.shape)}."
            )
        return (y - reconstruction).square().flatten(1).sum(1)


class Denoising(Loss):
    """The energy of the data when the network sees it corrupted, L = ⟨E(y, seen = ỹ)⟩.

    Args:
        corruption: makes ỹ, e.g. `Gaussian(0.3)`, `BlockMasking(2, 4).then(Gaussian(0.1))`.
        variable: the variable of the energy to corrupt.

    Raises:
        TypeError: if the corruption is none; on a call, if the energy has no option `seen`.

    Example:
        >>> from ebm.contrastive import Masking
        >>> loss = Denoising(Masking(1.0))
        >>> output = loss(AutoEncoder(nn.Identity()), y=torch.ones(2, 3))
        >>> output.loss, output.gap  # to hide everything costs |y|²; the identity has no energy gap
        (tensor(3.), tensor(0.))
    """

    def __init__(self, corruption: Corruption, variable: str = "y"):
        super().__init__()
        if not isinstance(corruption, Corruption):
            raise TypeError(f"Denoising takes a Corruption, Gaussian(0.3) for instance; got {corruption!r}.")
        self.corruption, self.variable = corruption, variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if "seen" not in energy.options:
            raise TypeError(
                f"Denoising needs an energy with the option `seen`, what its network sees in place of the "
                f"data, as AutoEncoder has; {energy.label} has {', '.join(energy.options) or 'none'}."
            )
        if self.variable not in data:
            raise TypeError(f"Denoising corrupts {self.variable!r}; got {', '.join(data) or 'nothing'}.")
        spoilt = self.corruption(data[self.variable], generator)
        loss = energy_of(energy, {**data, "seen": spoilt}, generator).mean()
        with torch.no_grad():
            on_data = energy_of(energy, data, generator).mean()
            off_data = energy_of(energy, {**data, self.variable: spoilt}, generator).mean()
        return LossOutput(loss, {ON_DATA: on_data, OFF_DATA: off_data})

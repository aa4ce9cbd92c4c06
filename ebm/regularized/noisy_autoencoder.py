"""An auto-encoder with a noisy code: what the code can tell is limited, and so is the space with low energy.

    E(y, z) = |y - g(z)|²,        z = μ(y) + s ε,   μ(y) = √D e(y) / |e(y)|,   ε ~ N(0, I)

e encodes into D numbers, g decodes. The code's power is fixed, one a number, and so the noise fixes how much
it can carry: at most C = ½ D log₂(1 + 1/s²) bits (Shannon). About 2^C points y can have low energy; without
noise, s = 0, all of them can, and the average energy of the data is smallest for g(e(y)) = y, everywhere.

For this q(z|y) = N(μ(y), s²I) the entropy is constant, so F(y) = ⟨E(y, z)⟩_q is, up to a constant, the
variational free energy, and its average over the data is all that there is to minimize.

Reference: Shannon (1949), "Communication in the Presence of Noise", theorem 2; Hinton & Zemel (1993),
"Autoencoders, Minimum Description Length and Helmholtz Free Energy", sect. 4; LeCun (2022), "A Path
Towards Autonomous Machine Intelligence", sect. 4.3 (noisy codes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ebm.binder import Binder
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.regularized.checks import check_decoded, check_width


class NoisyAutoEncoder(Energy):
    """E(y, z) = |y - g(z)|², whose free energy draws z with noise while it is trained.

    Args:
        encoder: e, a module (B, *shape) -> (B, size).
        decoder: g, a module (B, size) -> (B, *shape).
        size: D, numbers in a code.
        noise: s, the noise's standard deviation, at least 0; each number of a code has the mean square 1.

    Raises:
        ValueError: if the noise is negative or the size not positive.

    Example:
        >>> model = NoisyAutoEncoder(nn.Linear(8, 4), nn.Linear(4, 8), size=4, noise=1.0)
        >>> model.capacity  # bits
        2.0
        >>> z = model.encode(torch.ones(2, 8))
        >>> bool((z.square().sum(1) - 4).abs().max() < 1e-5)  # on the sphere of radius √D
        True
        >>> model.free_energy.variables
        ('y',)
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, size: int, noise: float):
        super().__init__()
        positive("noise", noise, zero=True)
        self.encoder, self.decoder = encoder, decoder
        self.size, self.noise = count("size", size), float(noise)

    @property
    def capacity(self) -> float:
        """C = ½ D log₂(1 + 1/s²): no code tells more bits than this about its y."""
        return 0.5 * self.size * math.log2(1 + 1 / self.noise**2) if self.noise else math.inf

    def encode(self, y: Tensor) -> Tensor:
        """μ(y), the code without noise, (B, *shape) -> (B, D)."""
        numbers: Tensor = self.encoder(y)
        return functional.rms_norm(check_width("what the encoder gives", numbers, self.size), (self.size,))

    def decode(self, z: Tensor) -> Tensor:
        """g(z), what a code stands for, (B, D) -> (B, *shape)."""
        decoded: Tensor = self.decoder(check_width("z", z, self.size))
        return decoded

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (y - check_decoded(y, self.decode(z))).square().flatten(1).sum(1)

    @property
    def free_energy(self) -> NoisyFreeEnergy:
        """F(y), the energy of y with its code: an energy of y, to be trained with `AverageEnergy`."""
        return NoisyFreeEnergy(self)


class NoisyFreeEnergy(Energy):
    """F(y) = E(y, μ(y) + s ε): one draw of ε a bind in training mode, ε = 0 in evaluation mode.

    The option `seen` is what the encoder gets to see in place of y.
    """

    def __init__(self, model: NoisyAutoEncoder):
        super().__init__()
        self.model = model

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Draw ε, (B, D), if training."""
        if not self.training or self.model.noise == 0:
            return {}
        shape = (binder.need_batch("NoisyFreeEnergy"), self.model.size)
        noise = torch.randn(shape, generator=binder.generator, dtype=binder.dtype, device=binder.device)
        return {"noise": noise}

    def forward(self, y: Tensor, seen: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        z = self.model.encode(y if seen is None else seen)
        return self.model(y=y, z=z if noise is None else z + self.model.noise * noise)

"""The list of samplers: every one of this package, with the targets whose moments it has to reach.

A new sampler is put on it, one line, and inherits the whole contract, in the project's tests and on CUDA
(`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ebm.infer.hmc import HMC
from ebm.infer.langevin import Langevin
from ebm.infer.mala import MALA
from ebm.infer.sampler import Sampler
from ebm.targets.double_well import DoubleWell
from ebm.targets.gaussian import Gaussian
from ebm.targets.mixture import Mixture
from ebm.targets.target import Target


@dataclass(frozen=True)
class SamplerMember:
    """A sampler with its targets.

    Attributes:
        sampler: the sampler.
        targets: whose moments and detailed balance it is held to; none if it is not exact.
        steps: after which a chain has forgotten where it began.
        any_shape: whether it takes variables of any shape (a setting for each coordinate fits one shape
            alone).
    """

    sampler: Sampler
    targets: Sequence[Target] = field(default_factory=list)
    steps: int = 100
    any_shape: bool = True


def samplers() -> dict[str, SamplerMember]:
    """Every sampler of the package."""
    center = torch.tensor([1.0, -1.0], dtype=torch.float64)
    gaussian = Gaussian(center, torch.tensor([[2.0, 0.5], [0.5, 0.5]], dtype=torch.float64))
    wells = DoubleWell(dim=1).double()
    three = Mixture.on_circle(modes=3, radius=1.0, width=0.7, dtype=torch.float64)
    mass = torch.tensor([0.7, 2.0], dtype=torch.float64)
    return {
        "Langevin": SamplerMember(Langevin(0.1)),
        "MALA": SamplerMember(MALA(0.2), [gaussian, three]),
        "MALA, small": SamplerMember(MALA(0.08), [wells], steps=300),
        "HMC": SamplerMember(HMC(0.3, 5), [gaussian, wells, three]),
        "HMC, one leapfrog": SamplerMember(HMC(0.4, 1), [gaussian]),
        "HMC, a mass for each coordinate": SamplerMember(HMC(0.5, 4, mass), [gaussian], any_shape=False),
    }

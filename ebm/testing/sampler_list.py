"""The list of samplers: every one of this package, with the targets whose moments it has to reach.

A new sampler is put on it, one line, and inherits the whole contract, in the project's tests and on CUDA
(`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ebm.infer.block_gibbs import BlockGibbs
from ebm.infer.gibbs import Gibbs
from ebm.infer.gibbs_with_gradients import GibbsWithGradients
from ebm.infer.hmc import HMC
from ebm.infer.langevin import Langevin
from ebm.infer.mala import MALA
from ebm.infer.nuts import NUTS
from ebm.infer.sampler import Sampler
from ebm.infer.tempering import ParallelTempering
from ebm.infer.underdamped import UnderdampedLangevin
from ebm.targets.double_well import DoubleWell
from ebm.targets.gaussian import Gaussian
from ebm.targets.ising import Ising
from ebm.targets.lattice import chessboard
from ebm.targets.mixture import Mixture
from ebm.targets.potts import Potts
from ebm.targets.target import Target
from ebm.testing.discrete import bits, colors, two_sides
from ebm.testing.examples import randn
from ebm.testing.posed import Posed, bowl, springs


@dataclass(frozen=True)
class SamplerMember:
    """A sampler with its targets.

    Attributes:
        sampler: the sampler.
        targets: whose moments and detailed balance it is held to; none if it is not exact.
        steps: after which a chain has forgotten where it began.
        any_shape: whether it takes variables of any shape (a setting for each coordinate fits one shape
            alone).
        problems: on which its chains are looked at; those of a discrete sampler, bowls and springs if none.
        reversible: whether its steps are in detailed balance.
    """

    sampler: Sampler
    targets: Sequence[Target] = field(default_factory=list)
    steps: int = 100
    any_shape: bool = True
    problems: Sequence[Posed] = field(default_factory=list)
    reversible: bool = True

    def walks(self) -> Sequence[Posed]:
        """The problems on which its chains are looked at."""
        if self.problems:
            return self.problems
        return (bowl(), bowl(2), bowl(2, 3), springs()) if self.any_shape else (bowl(2),)

    def pierced(self) -> Sequence[Posed]:
        """Those of them that can be NaN away from a start."""
        return [problem for problem in self.problems if "hole" in problem.energy.options]


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
        "MALA, a mass for each coordinate": SamplerMember(MALA(0.3, mass), [gaussian], any_shape=False),
        "UnderdampedLangevin": SamplerMember(UnderdampedLangevin(0.3)),
        "NUTS": SamplerMember(NUTS(0.4), [gaussian, wells, three], steps=20, reversible=False),
        "ParallelTempering": SamplerMember(
            ParallelTempering(HMC(0.3, 5), [1.0, 0.5, 0.2]), [gaussian, wells], steps=40, reversible=False
        ),
        **_discrete(),
    }


def _discrete() -> dict[str, SamplerMember]:
    coupling = randn(6, 6)
    dense = Ising((0.3 * (coupling + coupling.T)).fill_diagonal_(0), 0.3 * randn(6, seed=1))
    lattice = Ising.lattice(2, 3, 0.4, 0.2, periodic=False, dtype=torch.float64)
    between = torch.zeros(5, 5, dtype=torch.float64)
    between[:3, 3:] = 0.5 * randn(3, 2, seed=2)
    sides = Ising(between + between.T, 0.3 * randn(5, seed=3))
    potts = Potts((0.4 * (coupling + coupling.T)[:4, :4]).fill_diagonal_(0), 3, 0.3 * randn(4, 3, seed=4))
    free = [bits(), bits(5), bits(2, 3), two_sides()]
    every = [*free, colors(as_choices=True)]
    halves = BlockGibbs(torch.tensor([0, 0, 0, 1, 1]))
    return {
        "Gibbs": SamplerMember(Gibbs(), [dense], 30, problems=every, reversible=False),
        "Gibbs, random scan": SamplerMember(Gibbs("random"), [dense], 30, problems=every),
        "Gibbs of two colors": SamplerMember(
            Gibbs(colors=chessboard(2, 3)), [lattice], 30, problems=[bits(6)], reversible=False
        ),
        "BlockGibbs": SamplerMember(BlockGibbs(), problems=[two_sides()], reversible=False),
        "BlockGibbs of halves": SamplerMember(halves, [sides], 30, problems=[two_sides()], reversible=False),
        "GibbsWithGradients": SamplerMember(GibbsWithGradients(), [dense], problems=free),
        "GibbsWithGradients, one-hot": SamplerMember(
            GibbsWithGradients(one_hot=True), [potts], problems=[colors(as_choices=False)]
        ),
    }

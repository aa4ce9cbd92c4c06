"""The list of energies: every one of this package, with a value for each of its variables.

A new energy is put on it, one line, and inherits the whole contract, in the project's tests and on CUDA
(`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.function import energy
from ebm.infer.gradient import GradientDescent
from ebm.infer.starts import Zeros
from ebm.jepa.ijepa import IJEPA
from ebm.jepa.masked_jepa import MaskedJEPA
from ebm.jepa.vjepa import VJEPA
from ebm.joint.byol import BYOL
from ebm.joint.dino import DINO
from ebm.joint.moco import MoCo
from ebm.joint.pair import CosineDistance, CrossEntropy, SquaredDistance
from ebm.joint.siamese import Siamese
from ebm.joint.simsiam import SimSiam
from ebm.joint.swav import SwAV
from ebm.joint.target import EMA, Shared
from ebm.joint.vicregl import MatchedDistance
from ebm.latent import min_over
from ebm.marginal import marginal_over
from ebm.measure.linear_probe import SoftmaxRegression
from ebm.nets.patch_predictor import PatchPredictor
from ebm.nets.patch_vit import PatchViT
from ebm.nodes import Finite, Grid, Importance
from ebm.plan.risk import CVaR
from ebm.regularized.noisy_autoencoder import NoisyAutoEncoder, NoisyFreeEnergy
from ebm.regularized.reconstruction import Reconstruction
from ebm.regularized.sparse_coding import SparseCoding
from ebm.regularizers.constraints import Ball, Box, NonNegative, Simplex, Sphere
from ebm.regularizers.counts import OneHot, TopK
from ebm.regularizers.norms import L1, L2, GroupL1, NonNegativeL1
from ebm.regularizers.probabilities import KL, Entropy
from ebm.targets.ackley import Ackley
from ebm.targets.banana import Banana
from ebm.targets.double_well import DoubleWell
from ebm.targets.ellipse import Ellipse
from ebm.targets.funnel import Funnel
from ebm.targets.gaussian import Gaussian
from ebm.targets.himmelblau import Himmelblau
from ebm.targets.mixture import Mixture
from ebm.targets.rastrigin import Rastrigin
from ebm.targets.ring import Ring
from ebm.targets.rosenbrock import Rosenbrock
from ebm.testing.amortized_list import amortized_energies
from ebm.testing.architectural_list import architectural_energies
from ebm.testing.conditional_list import conditional_energies
from ebm.testing.contrastive_list import contrastive_energies
from ebm.testing.discrete_list import discrete_energies
from ebm.testing.encoder_list import encoder_energies
from ebm.testing.examples import Example, randn
from ebm.testing.planning_list import planning_energies
from ebm.testing.posed import Bowl, Springs


@dataclass(frozen=True)
class EnergyMember:
    """An energy with a value for each variable; `bitwise` as in `check_rows`."""

    energy: Energy
    example: Example
    bitwise: bool = True


def energies() -> dict[str, EnergyMember]:
    """Every energy of the package, and every way to make one of others."""
    return {
        **_targets(),
        **_regularizers(),
        **_models(),
        **_joint(),
        **_masked(),
        **_made_of_others(),
        **_free_energies(),
        **{name: EnergyMember(*pair) for name, pair in conditional_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in contrastive_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in discrete_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in encoder_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in planning_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in amortized_energies().items()},
        **{name: EnergyMember(*pair) for name, pair in architectural_energies().items()},
    }


def _targets() -> dict[str, EnergyMember]:
    y = randn(4, 2)
    spread = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    of_y: list[Energy] = [
        Ackley(),
        Banana(),
        DoubleWell(),
        Funnel(),
        Gaussian(y[0], spread),
        Himmelblau(),
        Mixture.on_circle(dtype=torch.float64),
        Rastrigin(),
        Ring(),
        Rosenbrock(),
    ]
    members = {type(e).__name__: EnergyMember(e.double(), {"y": y}) for e in of_y}
    members["Ellipse"] = EnergyMember(Ellipse().double(), {"y": y, "z": randn(4, 1, seed=1)})
    return members


def _regularizers() -> dict[str, EnergyMember]:
    z, deep = randn(4, 4), randn(4, 2, 4)
    bound = torch.tensor([0.1, 0.5, 1.0, torch.inf], dtype=torch.float64)
    members = {
        "L1": EnergyMember(L1("z"), {"z": z}),
        "L1 over (2, 4)": EnergyMember(L1("z"), {"z": deep}),
        "L1 over ()": EnergyMember(L1("z"), {"z": z[:, 0]}),
        "L2": EnergyMember(L2("z"), {"z": deep}),
        "GroupL1 of pairs": EnergyMember(GroupL1("z", 2), {"z": z}),
        "GroupL1": EnergyMember(GroupL1("z"), {"z": deep}),
        "NonNegativeL1": EnergyMember(NonNegativeL1("z"), {"z": z.abs()}),
        "TopK": EnergyMember(TopK("z", 2), {"z": z}),
        "OneHot": EnergyMember(OneHot("z"), {"z": z}),
        "Entropy": EnergyMember(Entropy("z"), {"z": z.softmax(1)}),
        "KL": EnergyMember(KL("z", torch.arange(1.0, 5.0)), {"z": deep.softmax(-1)}),
        "Box": EnergyMember(Box("z", -0.5, 0.8), {"z": z}),
        "Box of tensors": EnergyMember(Box("z", -bound, 0.5 * bound), {"z": z}),
        "NonNegative": EnergyMember(NonNegative("z"), {"z": z}),
        "Simplex": EnergyMember(Simplex("z"), {"z": z}),
        "Simplex of total 3": EnergyMember(Simplex("z", 3.0), {"z": deep}),
        "Ball": EnergyMember(Ball("z", 0.7), {"z": z}),
        "Sphere": EnergyMember(Sphere("z"), {"z": z}),
        "Sphere of radius 2": EnergyMember(Sphere("z", 2.0, dims=2), {"z": deep}),
    }
    return members


def _models() -> dict[str, EnergyMember]:
    dictionary, data = randn(5, 3, seed=8), {"y": randn(4, 3), "z": randn(4, 5, seed=1)}
    few, wide = dictionary.T.contiguous(), {"y": randn(4, 5), "z": randn(4, 3, seed=1)}
    noisy = NoisyAutoEncoder(_network(2, 3), _network(3, 2), size=3, noise=0.5)
    coded = {"y": randn(4, 2), "z": randn(4, 3, seed=1)}
    return {
        "Reconstruction": EnergyMember(Reconstruction(dictionary), data),
        "Reconstruction, few atoms": EnergyMember(Reconstruction(few), wide),
        "SoftmaxRegression": EnergyMember(
            SoftmaxRegression(randn(7, 3, seed=5), torch.arange(7) % 4, 0.3), {"w": randn(5, 4, 4, seed=6)}
        ),
        "SparseCoding": EnergyMember(SparseCoding(dictionary, 0.3), data),
        "NoisyAutoEncoder": EnergyMember(noisy, coded),
        "NoisyFreeEnergy": EnergyMember(NoisyFreeEnergy(noisy), {"y": randn(4, 2)}),
        "NoisyFreeEnergy, not training": EnergyMember(NoisyFreeEnergy(noisy).eval(), {"y": randn(4, 2)}),
    }


def _joint() -> dict[str, EnergyMember]:
    codes = {"s_x": randn(4, 3), "s_y": randn(4, 3, seed=1)}
    views = {"x": randn(4, 2), "y": randn(4, 2, seed=1)}
    maps = {"m_x": randn(4, 5, 3), "m_y": randn(4, 6, 3, seed=1)}
    maps |= {"at_x": randn(4, 5, 2, seed=2), "at_y": randn(4, 6, 2, seed=3)}
    encoder, predictor = _network(2, 3), _network(3, 3)
    learned = SquaredDistance().compose(s_x=(encoder, "x"), s_y=(EMA(encoder, 0.9), "y"))
    made: list[Energy] = [
        BYOL(encoder, predictor),
        DINO(encoder, 3, EMA(encoder, 0.9)).double(),
        MoCo(encoder, 3, queue_size=5, generator=torch.Generator().manual_seed(0)).double(),
        SimSiam(encoder, predictor),
        Siamese(SquaredDistance(), encoder, predictor, Shared(encoder)),
    ]
    swav = SwAV(3, prototypes=4, generator=torch.Generator().manual_seed(0)).double()
    pairs: list[Energy] = [CosineDistance(), CrossEntropy(0.5), SquaredDistance(), swav.energy]
    return {
        **{type(e).__name__: EnergyMember(e, codes) for e in pairs},
        "SquaredDistance of codes": EnergyMember(learned, views),
        "MatchedDistance": EnergyMember(MatchedDistance(), maps),
        **{type(e).__name__: EnergyMember(e, views) for e in made},
    }


def _masked() -> dict[str, EnergyMember]:
    generator = torch.Generator().manual_seed(0)
    f = PatchViT((8, 12), 4, channels=1, width=8, depth=1, heads=2, generator=generator)
    h = PatchPredictor(f.grid, 8, width=8, depth=1, heads=2, generator=generator)
    x, context = randn(2, 1, 8, 12), torch.tensor([[0, 2, 5], [1, 3, 4]])
    targets = torch.tensor([[[1, 3], [3, 4]], [[0, 2], [2, 5]]])
    one = {"x": x, "context": context, "targets": targets}
    several = {"x": x, "context": (context, context[:, :1]), "targets": (targets, targets[:, :1])}
    energy = MaskedJEPA(f, h, EMA(f, 0.9), "squared").double()
    return {
        "IJEPA": EnergyMember(IJEPA(f, h).double(), one),
        "MaskedJEPA": EnergyMember(energy, one),
        "MaskedJEPA of two masks": EnergyMember(energy, several),
        "VJEPA": EnergyMember(VJEPA(f, h).double(), several),
    }


def _made_of_others() -> dict[str, EnergyMember]:
    y, z, center = randn(4, 2), randn(4, 3, seed=1), randn(4, 2, seed=2)
    encoded = Springs().compose(center=(_network(2, 2), "x"))
    total = 0.5 * DoubleWell().double() + encoded.named("code") - 0.1 * Gaussian(y[0])
    members = {
        "Springs": EnergyMember(Springs(), {"y": y, "z": z, "center": center}),
        "composed": EnergyMember(encoded, {"y": y, "z": z, "x": center}),
        "sum": EnergyMember(total, {"y": y, "z": z, "x": center}),
        "given early": EnergyMember(Springs().given(center=center), {"y": y, "z": z}),
        "integers and pairs": EnergyMember(
            picked, {"y": y, "which": torch.tensor([0, 1, 0, 1]), "pair": (z, z.abs())}
        ),
    }
    for shape in ((), (3,), (2, 3)):
        example = {n: randn(4, *shape, seed=i).abs() for i, n in enumerate(("y", "center", "depth"))}
        members[f"Bowl over {shape}"] = EnergyMember(Bowl(), example)
    return members


def _free_energies() -> dict[str, EnergyMember]:
    rest = {"y": randn(4, 2), "center": randn(4, 2, seed=2)}
    members = {}
    for how in ("no", "implicit", "unroll"):
        free = min_over(Springs(), "z", GradientDescent(0.9), Zeros(3), tol=1e-12, differentiate=how)
        members[f"min_over, {how}"] = EnergyMember(free, rest, bitwise=False)
    one = torch.ones(1, dtype=torch.float64)
    for nodes in (Finite(randn(5, 1, seed=4)), Grid(-3.0, 3.0, 20), Importance(6, 0 * one, one)):
        name = f"marginal_over {type(nodes).__name__}"
        members[name] = EnergyMember(marginal_over(Springs(), "z", 1.5, nodes), rest)
    for cases in (Finite(randn(5, 1, seed=4)), Importance(6, 0 * one, one, normalized=True)):
        name = f"CVaR by {type(cases).__name__}"
        members[name] = EnergyMember(CVaR(Springs(), "z", 0.7, cases), rest)
    return members


@energy
def picked(y: Tensor, which: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
    """An energy that is given integers, and a tuple of tensors."""
    chosen = y.gather(1, which.unsqueeze(1)).squeeze(1)
    return (chosen - pair[0].sum(1)).square() + (pair[1] * chosen.unsqueeze(1)).square().sum(1)


def _network(inputs: int, outputs: int) -> nn.Module:
    """A small smooth network (B, inputs) -> (B, outputs) in float64, the same for everyone."""
    layers = nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layers.parameters()):
            parameter.copy_(0.5 * randn(*parameter.shape, seed=seed))
    return layers

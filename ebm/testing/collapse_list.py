"""Collapse on demand: every joint embedding as it is, and without each of the safeguards that keep it alive.

    as it is                                   alive
    without what keeps codes apart             complete collapse
    without what keeps dimensions apart        dimensional collapse

All learn one small network on views of the digits, images with noise, and are judged by `code_report` on
images that they haven't seen. A test holds every verdict to what theory says, and a figure draws them.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.3, for how joint embeddings
collapse; Jing, Vincent, LeCun, Tian (2022), "Understanding Dimensional Collapse", for the second kind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ebm.data.digits import digits
from ebm.energy import Energy
from ebm.joint.barlow_twins import BarlowTwins
from ebm.joint.byol import BYOL
from ebm.joint.criterion import Criterion
from ebm.joint.dcl import DCL
from ebm.joint.dino import DINO
from ebm.joint.info_nce import InfoNCE
from ebm.joint.margin import MarginContrastive
from ebm.joint.mcr2 import MCR2
from ebm.joint.moco import MoCo
from ebm.joint.nt_xent import NTXent
from ebm.joint.on_codes import OnCodes
from ebm.joint.on_views import OnViews
from ebm.joint.pair import SquaredDistance
from ebm.joint.sigreg import SIGReg
from ebm.joint.simsiam import SimSiam
from ebm.joint.swav import SwAV
from ebm.joint.target import EMA, Scheduled, Shared, update_targets
from ebm.joint.uniformity import AlignmentUniformity
from ebm.joint.vicreg import VICReg
from ebm.joint.vicreg_variants import VICRegCtr, VICRegExp
from ebm.joint.visreg import VISReg
from ebm.joint.w_mse import WMSE
from ebm.loss import AverageEnergy, Loss
from ebm.measure.codes import ALIVE, COMPLETE, DIMENSIONAL
from ebm.measure.encoded import encoded
from ebm.train import fit
from ebm.views import GaussianNoise, Views

INPUTS, CODE, HIDDEN = 64, 16, 128
NOISE = 0.5  # of a view, where ink is 1
STEPS, BATCH = 400, 128


class Learned(NamedTuple):
    """An energy of views x and y, the loss that shapes it, and what of a code it looks at.

    Attributes:
        energy, loss: what `fit` takes.
        see: from codes (N, D) to that of them on which the energy depends: all, direction, probabilities.
    """

    energy: Energy
    loss: Loss
    see: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A method without one of its safeguards.

    Attributes:
        method: its name.
        without: the safeguard that is missing; "" for the method as it is.
        verdict: what `code_report` has to find.
        make: from the encoder to what is learned.
    """

    method: str
    without: str
    verdict: str
    make: Callable[[nn.Module], Learned]


def cases() -> list[Case]:
    """Every method as it is, followed by the same without its safeguards."""
    return [
        *_weighed("VICReg", VICReg, variance=COMPLETE, covariance=DIMENSIONAL),
        *_weighed("VICReg-exp", VICRegExp, variance=COMPLETE, covariance=DIMENSIONAL),
        *_weighed("VICReg-ctr", VICRegCtr, variance=COMPLETE),  # its covariances are those of examples
        *_weighed("Barlow Twins", BarlowTwins, redundancy=DIMENSIONAL, named={"redundancy": "decorrelation"}),
        *_weighed("SIGReg", partial(SIGReg, slices=64), weight=COMPLETE, named={"weight": "normality"}),
        *_weighed("VISReg", partial(VISReg, slices=64), weight=COMPLETE, named={"weight": "scale and shape"}),
        *_pulled("W-MSE", WMSE, "whitening"),
        *_pulled("MCR²", MCR2, "expansion"),
        *_pulled("NT-Xent", partial(NTXent, 0.2), "repulsion"),
        *_pulled("InfoNCE", partial(InfoNCE, 0.2), "repulsion"),
        *_pulled("DCL", partial(DCL, 0.2), "repulsion"),
        *_weighed("margin", MarginContrastive, weight=COMPLETE, named={"weight": "repulsion"}),
        *_weighed("uniformity", AlignmentUniformity, weight=COMPLETE, named={"weight": "uniformity"}),
        *_pulled("SwAV", _swav, "balance"),
        Case("BYOL", "", ALIVE, _byol),
        Case("BYOL", "predictor", COMPLETE, partial(_byol, predicts=False)),
        Case("SimSiam", "", ALIVE, _simsiam),
        Case("SimSiam", "predictor", COMPLETE, partial(_simsiam, predicts=False)),
        Case("SimSiam", "stop-gradient", COMPLETE, partial(_simsiam, stops=False)),
        Case("MoCo", "", ALIVE, _moco),
        Case("MoCo", "queue", COMPLETE, partial(_moco, queued=False)),
        Case("DINO", "", ALIVE, _dino),
        Case("DINO", "centering", COMPLETE, partial(_dino, centering=False)),
        Case("DINO", "sharpening", COMPLETE, partial(_dino, target_temperature=0.1)),
    ]


def learned_codes(case: Case, seed: int = 0) -> Tensor:
    """The codes (N, 16) of images that were not learned from, after 400 steps of this case."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _network(INPUTS, CODE)
        energy, loss, see = case.make(encoder)
        moving = any(isinstance(module, Scheduled) for module in energy.modules())
        noisy = GaussianNoise(NOISE)
        fit(
            energy,
            OnViews(loss, Views(noisy, noisy)),
            {"image": digits().images.flatten(1)},
            optimizer=partial(torch.optim.AdamW, lr=5e-3),
            steps=STEPS,
            batch_size=BATCH,
            callbacks=[update_targets(energy, STEPS)] if moving else [],
            generator=generator,
            progress=False,
        )
        with torch.no_grad():
            return see(encoded(encoder, digits("test").images.flatten(1)))


def _network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
    )


# --- criteria: without the weight of a term, or with nothing but the energy of a pair -----------------------


def _weighed(
    method: str, make: Callable[..., Criterion], named: Mapping[str, str] | None = None, **verdicts: str
) -> list[Case]:
    """A criterion whose settings are weights of its safeguards, each of them set to 0 in turn."""
    names = named or {}
    return [
        Case(method, "", ALIVE, partial(_shaped, make())),
        *(Case(method, names.get(n, n), v, partial(_shaped, make(**{n: 0.0}))) for n, v in verdicts.items()),
    ]


def _pulled(method: str, make: Callable[..., Criterion], safeguard: str) -> list[Case]:
    """A criterion, and the mean of the energy that it shapes, which only pulls views together."""
    return [
        Case(method, "", ALIVE, partial(_shaped, make())),
        Case(method, safeguard, COMPLETE, partial(_averaged, make())),
    ]


def _swav() -> SwAV:
    return SwAV(CODE, prototypes=32, generator=torch.Generator().manual_seed(0))


def _shaped(criterion: Criterion, encoder: nn.Module) -> Learned:
    criterion = copy.deepcopy(criterion)  # its parameters, where it has any, are learned
    return Learned(_joint(criterion, encoder), OnCodes(criterion), _seen(criterion))


def _averaged(criterion: Criterion, encoder: nn.Module) -> Learned:
    criterion = copy.deepcopy(criterion)
    return Learned(_joint(criterion, encoder), AverageEnergy(), _seen(criterion))


def _joint(criterion: Criterion, encoder: nn.Module) -> Energy:
    return criterion.energy.compose(s_x=(encoder, "x"), s_y=(encoder, "y"))


def _seen(criterion: Criterion) -> Callable[[Tensor], Tensor]:
    if isinstance(criterion, SwAV):
        return lambda z: torch.softmax(criterion.prototypes(z) / criterion.temperature, 1)
    return nn.Identity() if isinstance(criterion.energy, SquaredDistance) else normalize


# --- targets: without a predictor, the stop of the gradient, a queue, centering, sharpening -----------------


def _byol(encoder: nn.Module, predicts: bool = True) -> Learned:
    slow = EMA(encoder, 0.9)
    energy = BYOL(encoder, _network(CODE, CODE) if predicts else None, slow)
    return Learned(energy, AverageEnergy(), normalize)


def _simsiam(encoder: nn.Module, predicts: bool = True, stops: bool = True) -> Learned:
    target = None if stops else Shared(encoder)
    energy = SimSiam(encoder, _network(CODE, CODE) if predicts else None, target)
    return Learned(energy, AverageEnergy(), normalize)


def _moco(encoder: nn.Module, queued: bool = True) -> Learned:
    slow = EMA(encoder, 0.9)
    full = MoCo(encoder, CODE, slow, queue_size=512, temperature=0.2)
    return Learned(full if queued else BYOL(encoder, None, slow), AverageEnergy(), normalize)


def _dino(encoder: nn.Module, centering: bool = True, target_temperature: float = 0.04) -> Learned:
    energy = DINO(
        encoder, CODE, EMA(encoder, 0.9), centering=centering, target_temperature=target_temperature
    )
    return Learned(energy, AverageEnergy(), lambda z: torch.softmax(z / 0.1, 1))

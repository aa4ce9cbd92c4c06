"""The list of criteria: every one of this package, with an example of codes.

A new criterion is put on it, one line, and inherits the whole contract.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.joint.barlow_twins import BarlowTwins
from ebm.joint.dcl import DCL, DCLW
from ebm.joint.info_nce import InfoNCE
from ebm.joint.margin import MarginContrastive
from ebm.joint.mcr2 import MCR2
from ebm.joint.nt_xent import NTXent
from ebm.joint.sigreg import SIGReg
from ebm.joint.swav import SwAV
from ebm.joint.uniformity import AlignmentUniformity
from ebm.joint.univariate import CramerVonMises, Moments, Quantiles
from ebm.joint.vicreg import VICReg
from ebm.joint.vicreg_variants import VICRegCtr, VICRegExp
from ebm.joint.vicregl import VICRegL
from ebm.joint.visreg import VISReg
from ebm.joint.w_mse import WMSE
from ebm.testing.criterion import CriterionMember

ROWS, DIMS = 8, 4


def criteria() -> dict[str, CriterionMember]:
    """Every criterion of the package; codes of two views that agree in part, of three where it takes more."""
    two, three = views(2), views(3)
    swav = SwAV(DIMS, prototypes=5, generator=torch.Generator().manual_seed(3))
    return {
        "AlignmentUniformity": CriterionMember(AlignmentUniformity(), two),
        "BarlowTwins": CriterionMember(BarlowTwins(), two),
        "DCL": CriterionMember(DCL(), two),
        "DCLW": CriterionMember(DCLW(), two),
        "InfoNCE": CriterionMember(InfoNCE(), two),
        "InfoNCE, one way": CriterionMember(InfoNCE(two_way=False), two),
        "MCR2": CriterionMember(MCR2(), two),
        "MarginContrastive": CriterionMember(MarginContrastive(), two),
        "NTXent": CriterionMember(NTXent(), two),
        "SIGReg": CriterionMember(SIGReg(slices=16), three),
        "SIGReg, Cramér and von Mises": CriterionMember(SIGReg(CramerVonMises(), slices=16), two),
        "SIGReg, moments": CriterionMember(SIGReg(Moments(), slices=16), two),
        "SIGReg, quantiles": CriterionMember(SIGReg(Quantiles(), slices=16), two),
        "SwAV": CriterionMember(swav, three, gradient=False),
        "VICReg": CriterionMember(VICReg(), two),
        "VICRegCtr": CriterionMember(VICRegCtr(), two),
        "VICRegExp": CriterionMember(VICRegExp(), two),
        "VICRegL": CriterionMember(VICRegL(matches=(3, 2)), (*two, *maps()), views=2),
        "VISReg": CriterionMember(VISReg(slices=16), three, gradient=False),
        "WMSE": CriterionMember(WMSE(sub_batch=None), three, constant=False, single=1e-3),
        "WMSE, sub-batches": CriterionMember(
            WMSE(sub_batch=4), tuple(z[:, :3] for z in two), order=False, constant=False, single=1e-2
        ),
    }


def views(number: int) -> tuple[Tensor, ...]:
    """Codes of views of the same examples, (N, D) each."""
    return tuple(_randn(ROWS, DIMS) + 0.5 * _randn(ROWS, DIMS, seed=1 + v) for v in range(number))


def maps() -> tuple[Tensor, ...]:
    """Maps of five and four positions, and their locations."""
    return (
        _randn(ROWS, 5, DIMS, seed=11),
        _randn(ROWS, 4, DIMS, seed=12),
        _randn(ROWS, 5, 2, seed=13),
        _randn(ROWS, 4, 2, seed=14),
    )


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

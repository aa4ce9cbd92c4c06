"""Joint embedding: predict in the space of codes, and keep the codes alive; one criterion a file."""

from __future__ import annotations

from ebm.joint.barlow_twins import BarlowTwins
from ebm.joint.byol import BYOL
from ebm.joint.criterion import Criterion
from ebm.joint.dcl import DCL, DCLW
from ebm.joint.dino import DINO, CenteredCrossEntropy
from ebm.joint.dino_head import DINOHead
from ebm.joint.duality import dimension_contrast, sample_contrast
from ebm.joint.info_nce import InfoNCE
from ebm.joint.margin import MarginContrastive, pair_loss
from ebm.joint.mcr2 import MCR2, coding_rate, rate_reduction
from ebm.joint.moco import AgainstQueue, MoCo
from ebm.joint.nt_xent import NTXent
from ebm.joint.on_codes import OnCodes
from ebm.joint.on_views import OnViews
from ebm.joint.pair import CosineDistance, CrossEntropy, SquaredDistance
from ebm.joint.schedules import constant, cosine, linear, ramp
from ebm.joint.siamese import Siamese
from ebm.joint.sigreg import SIGReg
from ebm.joint.simsiam import SimSiam
from ebm.joint.sinkhorn import sinkhorn
from ebm.joint.swav import SwAV
from ebm.joint.target import EMA, Branch, Shared, StopGradient, update_targets
from ebm.joint.uniformity import AlignmentUniformity
from ebm.joint.univariate import CramerVonMises, EppsPulley, Moments, Quantiles, UnivariateTest
from ebm.joint.vicreg import VICReg
from ebm.joint.vicreg_variants import VICRegCtr, VICRegExp
from ebm.joint.vicregl import VICRegL
from ebm.joint.visreg import VISReg
from ebm.joint.w_mse import WMSE

__all__ = [
    "BYOL",
    "DCL",
    "DCLW",
    "DINO",
    "EMA",
    "MCR2",
    "WMSE",
    "AgainstQueue",
    "AlignmentUniformity",
    "BarlowTwins",
    "Branch",
    "CenteredCrossEntropy",
    "CosineDistance",
    "CramerVonMises",
    "Criterion",
    "CrossEntropy",
    "DINOHead",
    "EppsPulley",
    "InfoNCE",
    "MarginContrastive",
    "MoCo",
    "Moments",
    "NTXent",
    "OnCodes",
    "OnViews",
    "Quantiles",
    "SIGReg",
    "Shared",
    "Siamese",
    "SimSiam",
    "SquaredDistance",
    "StopGradient",
    "SwAV",
    "UnivariateTest",
    "VICReg",
    "VICRegCtr",
    "VICRegExp",
    "VICRegL",
    "VISReg",
    "coding_rate",
    "constant",
    "cosine",
    "dimension_contrast",
    "linear",
    "pair_loss",
    "ramp",
    "rate_reduction",
    "sample_contrast",
    "sinkhorn",
    "update_targets",
]

"""Joint-embedding predictive architectures: predict codes, not pixels."""

from __future__ import annotations

from ebm.jepa.decoder import Decoding, dot_decoder
from ebm.jepa.ijepa import IJEPA
from ebm.jepa.inverse_dynamics import InverseDynamics
from ebm.jepa.jepa import JEPA
from ebm.jepa.masked import Masked
from ebm.jepa.masked_jepa import MaskedJEPA, MaskedPrediction
from ebm.jepa.masks import Drawn, Masks, RandomPatches, SeveralMasks
from ebm.jepa.multi_block import MultiBlock
from ebm.jepa.prediction import Prediction
from ebm.jepa.quasimetric import Quasimetric, TemporalDistance
from ebm.jepa.regularizer import CodeRegularizer, Regularized, Sequence
from ebm.jepa.spread import Covariance, OnFrames, Variance
from ebm.jepa.temporal import Straightening, TimeSimilarity
from ebm.jepa.tube_blocks import TubeBlocks, vjepa_masks
from ebm.jepa.unrolled import UnrolledPrediction
from ebm.jepa.vjepa import VJEPA

__all__ = [
    "IJEPA",
    "JEPA",
    "VJEPA",
    "CodeRegularizer",
    "Covariance",
    "Decoding",
    "Drawn",
    "InverseDynamics",
    "Masked",
    "MaskedJEPA",
    "MaskedPrediction",
    "Masks",
    "MultiBlock",
    "OnFrames",
    "Prediction",
    "Quasimetric",
    "RandomPatches",
    "Regularized",
    "Sequence",
    "SeveralMasks",
    "Straightening",
    "TemporalDistance",
    "TimeSimilarity",
    "TubeBlocks",
    "UnrolledPrediction",
    "Variance",
    "dot_decoder",
    "vjepa_masks",
]

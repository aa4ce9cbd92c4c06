"""Plain modules: networks without an energy of their own."""

from __future__ import annotations

from ebm.nets.affine_coupling import AffineCoupling
from ebm.nets.convnet import convnet
from ebm.nets.coupling import checkerboard
from ebm.nets.expander import byol_head, expander, simsiam_predictor, simsiam_projector
from ebm.nets.invertible import LULinear, Permutation, Standardize
from ebm.nets.mlp import mlp
from ebm.nets.patch_predictor import PatchPredictor
from ebm.nets.patch_vit import PatchViT
from ebm.nets.patchify import Patchify
from ebm.nets.resnet import ResNet, resnet18, resnet50
from ebm.nets.spline_coupling import SplineCoupling
from ebm.nets.token_transformer import TokenTransformer
from ebm.nets.vit import ViT

__all__ = [
    "AffineCoupling",
    "LULinear",
    "PatchPredictor",
    "PatchViT",
    "Patchify",
    "Permutation",
    "ResNet",
    "SplineCoupling",
    "Standardize",
    "TokenTransformer",
    "ViT",
    "byol_head",
    "checkerboard",
    "convnet",
    "expander",
    "mlp",
    "resnet18",
    "resnet50",
    "simsiam_predictor",
    "simsiam_projector",
]

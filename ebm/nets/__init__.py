"""Plain modules: networks without an energy of their own."""

from __future__ import annotations

from ebm.nets.convnet import convnet
from ebm.nets.expander import byol_head, expander, simsiam_predictor, simsiam_projector
from ebm.nets.mlp import mlp
from ebm.nets.patch_predictor import PatchPredictor
from ebm.nets.patch_vit import PatchViT
from ebm.nets.patchify import Patchify
from ebm.nets.resnet import ResNet, resnet18, resnet50
from ebm.nets.vit import ViT

__all__ = [
    "PatchPredictor",
    "PatchViT",
    "Patchify",
    "ResNet",
    "ViT",
    "byol_head",
    "convnet",
    "expander",
    "mlp",
    "resnet18",
    "resnet50",
    "simsiam_predictor",
    "simsiam_projector",
]

"""Random views of arrays and images, and what was drawn for them: the data of joint embeddings."""

from __future__ import annotations

from ebm.views.blur import Blur, GaussianBlur
from ebm.views.color import ColorJitter, Grayscale, Jitter, Solarize
from ebm.views.compose import Chosen, Compose, Maybe, Views
from ebm.views.crop import Box, RandomResizedCrop
from ebm.views.flip import Flip, HorizontalFlip
from ebm.views.masking import Hidden, MaskEntries, MaskPatches
from ebm.views.noise import GaussianNoise, Noise, Scale, Scaling
from ebm.views.parameters import vector
from ebm.views.recipes import byol_views, multicrop_views, simclr_views, simsiam_views
from ebm.views.transform import Nothing, Transform, View, locations

__all__ = [
    "Blur",
    "Box",
    "Chosen",
    "ColorJitter",
    "Compose",
    "Flip",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "Hidden",
    "HorizontalFlip",
    "Jitter",
    "MaskEntries",
    "MaskPatches",
    "Maybe",
    "Noise",
    "Nothing",
    "RandomResizedCrop",
    "Scale",
    "Scaling",
    "Solarize",
    "Transform",
    "View",
    "Views",
    "byol_views",
    "locations",
    "multicrop_views",
    "simclr_views",
    "simsiam_views",
    "vector",
]

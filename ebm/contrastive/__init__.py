"""Contrastive methods: push the energy of the data down and that of other points up; one loss a file."""

from __future__ import annotations

from ebm.contrastive.corruption import (
    BlockMasking,
    BlockSwap,
    Corruption,
    Gaussian,
    Masking,
    SaltAndPepper,
)
from ebm.contrastive.denoising import AutoEncoder, Denoising

__all__ = [
    "AutoEncoder",
    "BlockMasking",
    "BlockSwap",
    "Corruption",
    "Denoising",
    "Gaussian",
    "Masking",
    "SaltAndPepper",
]

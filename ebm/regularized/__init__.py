"""Regularized methods: models that limit how much space can have low energy."""

from __future__ import annotations

from ebm.regularized.noisy_autoencoder import NoisyAutoEncoder
from ebm.regularized.reconstruction import Reconstruction
from ebm.regularized.sparse_coding import SparseCoding

__all__ = ["NoisyAutoEncoder", "Reconstruction", "SparseCoding"]

"""Plain modules: networks without an energy of their own."""

from __future__ import annotations

from ebm.nets.mlp import mlp

__all__ = ["mlp"]

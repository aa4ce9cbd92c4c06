"""The demo: energies learned from real data, as a folder of pictures and a page that explains them."""

from __future__ import annotations

from ebm.demo.run import PARTS, run

__all__ = ["PARTS", "run"]

"""What `ebm.train.fit` is made of: batches, a step and its health, the state and its archive; and LARS."""

from __future__ import annotations

from ebm.training.archive import ArchiveError, read, write
from ebm.training.batches import Batches
from ebm.training.health import DivergedError
from ebm.training.lars import LARS
from ebm.training.state import Training

__all__ = [
    "LARS",
    "ArchiveError",
    "Batches",
    "DivergedError",
    "Training",
    "read",
    "write",
]

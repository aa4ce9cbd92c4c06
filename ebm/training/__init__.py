"""What `ebm.train.fit` is made of: batches, the gradient of a step, its health, the state and its archive."""

from __future__ import annotations

from ebm.training.archive import ArchiveError, read, write
from ebm.training.batches import Batches
from ebm.training.health import DivergedError
from ebm.training.interrupt import Interrupt
from ebm.training.state import Training

__all__ = ["ArchiveError", "Batches", "DivergedError", "Interrupt", "Training", "read", "write"]

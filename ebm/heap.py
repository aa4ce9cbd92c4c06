"""The C library's heap, told once to keep the memory that a training step frees until the next one.

glibc gives free memory at the end of its heap back to the system once it exceeds a limit, and the next step
then pays for each page anew, which shows in score matching on a small network. The limit follows the largest
block that was allocated on its own and freed: twice its size, at most 64 MiB. Most programs free such a block
sooner or later. Here it is done first thing, so that speed doesn't hang on what ran before.

Reference: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, "dynamic adjustment".
"""

from __future__ import annotations

import torch

LARGEST = 31 * 2**20  # bytes: blocks of 32 MiB and more don't count


def keep_freed_memory() -> None:
    """Allocate a block and free it, untouched; without effect on other systems and allocators."""
    torch.empty(LARGEST, dtype=torch.uint8, device="cpu")

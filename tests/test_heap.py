"""Freed memory is kept: a large block comes from the heap once ebm is imported, before from the system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ebm.heap import LARGEST

MAPPED = 2  # the bit of glibc's chunk header (malloc/malloc.c, IS_MMAPPED): the block is the system's own
LOOK = f"""
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
block = libc.malloc(ctypes.c_size_t({LARGEST} - 2**20))
header = ctypes.c_size_t.from_address(block - ctypes.sizeof(ctypes.c_size_t)).value
print(bool(header & {MAPPED}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is told anything")
@pytest.mark.parametrize(("module", "mapped"), [("torch", "True"), ("ebm", "False")])
def test_a_large_block_is_the_heaps_own_once_ebm_is_imported(module: str, mapped: str) -> None:
    command = [sys.executable, "-c", f"import {module}\n{LOOK}"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    assert found.stdout.split() == [mapped]

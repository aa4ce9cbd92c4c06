"""What a timing was taken on: the machine, the versions, the commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory and the GPUs of this machine."""
    return {
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
    }


def versions(distributions: Sequence[str]) -> dict[str, str | None]:
    """The version of Python and of each distribution; None for one that isn't installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit(folder: Path) -> dict[str, Any]:
    """The git commit of a folder, and whether files have changed since (`dirty`); None without git."""
    head = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(folder), "status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {"commit": head, "dirty": None if changes is None else bool(changes)}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    listed = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return (listed or "").splitlines()


def _output(*command: str) -> str | None:
    """What a program prints, or None if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() if done.returncode == 0 else None

"""Running the demo: one part after the other, and after each the page and the numbers as far as they are."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ebm.demo.digits import digits_part
from ebm.demo.page import page
from ebm.demo.part import Part
from ebm.demo.rooms import rooms_part
from ebm.demo.samplers import samplers_part
from ebm.demo.sparse_coding import sparse_coding_part

MAKERS: dict[str, Callable[[Part], None]] = {
    "sparse-coding": sparse_coding_part,
    "digits": digits_part,
    "samplers": samplers_part,
    "rooms": rooms_part,
}
PARTS = tuple(MAKERS)


def run(out: Path, parts: Sequence[str] = (), seed: int = 0, quick: bool = False) -> Path:
    """Make the parts, and write pictures, numbers.json and index.html into a folder.

    Ctrl-C passes through, and leaves a page of everything that was finished, half a part included.

    Args:
        out: the folder; made if it is not there.
        parts: some of "sparse-coding", "digits", "samplers", "rooms"; all if empty.
        seed: of all randomness.
        quick: less data and fewer steps.

    Returns:
        The path of index.html.

    Raises:
        ValueError: if there is no part of that name.

    Example:
        page = run(Path("ebm-demo"), ["samplers"], seed=0, quick=True)
    """
    unknown = [name for name in parts if name not in MAKERS]
    if unknown:
        raise ValueError(f"the demo has the parts {', '.join(PARTS)}; there is no {unknown[0]!r}.")
    out.mkdir(parents=True, exist_ok=True)
    made: list[Part] = []
    about = _about(seed, quick)
    for number, name in enumerate(parts or PARTS, 1):
        print(f"{number}/{len(parts or PARTS)} {name.replace('-', ' ')}", flush=True)
        part = Part(name, out, seed, quick)
        made.append(part)
        began = time.perf_counter()
        try:
            MAKERS[name](part)
            part.finished = True
        finally:
            part.seconds = time.perf_counter() - began
            _publish(out, made, about)
        print(f"    {part.seconds:.0f} s; {len(part.shown)} pictures and tables", flush=True)
    return out / "index.html"


def _about(seed: int, quick: bool) -> dict[str, Any]:
    packages = ("torch", "numpy", "matplotlib", "scikit-learn")
    threads = torch.get_num_threads()
    return {
        "seed": seed,
        "quick": quick,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "threads": threads},
    }


def _publish(out: Path, made: Sequence[Part], about: dict[str, Any]) -> None:
    shown = [part for part in made if part.shown or part.finished]
    numbers = {part.name: {"finished": part.finished, **part.numbers} for part in shown}
    seconds = {part.name: round(part.seconds, 2) for part in shown}
    everything = {**about, "seconds": seconds, "parts": numbers}
    _write(out / "numbers.json", json.dumps(everything, indent=1, allow_nan=False) + "\n")
    _write(out / "index.html", page(shown, about))


def _write(path: Path, text: str) -> None:
    """The whole file or none of it, whatever happens meanwhile."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as partial:
        partial.write(text)
    os.chmod(partial.name, 0o644)  # as any file; temporary ones are private
    os.replace(partial.name, path)

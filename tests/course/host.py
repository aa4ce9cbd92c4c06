"""Runs chapters one after the other in this one process without a network: `python tests/course/host.py 01`.

Without numbers, all of them. Each begins with nothing defined and the default dtype, as a fresh kernel does;
with `--blank` the exercises stay blank, as a student finds them. `--out FOLDER` keeps the pictures that are
shown. Prints a line of JSON a chapter: chapter, seconds, passed (the score), error ("" if it ran to its end).
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import linecache
import os
import random
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "agg"

import matplotlib.pyplot as plt
import numpy as np
import torch

TUTORIALS = Path(__file__).resolve().parents[2] / "tutorials"
FLOAT = torch.get_default_dtype()


def load_build() -> Any:
    """tutorials/build.py, as a module."""
    spec = importlib.util.spec_from_file_location("tutorials_build", TUTORIALS / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def no_network(self: socket.socket, address: Any) -> None:
    """In place of `connect`."""
    raise OSError(f"a chapter must run without a network; it asked for {address}.")


def run(source: Path, blank: bool, out: Path | None) -> dict[str, Any]:
    """Run one chapter."""
    build = load_build()
    made = build.notebook(source) if blank else build.solved(source)
    scope: dict[str, Any] = {"__name__": "__main__"}
    torch.set_default_dtype(FLOAT)
    random.seed()  # a chapter shows its own seed
    np.random.seed(None)
    torch.seed()
    shown = 0

    def show(*args: Any, **options: Any) -> None:
        nonlocal shown
        for number in plt.get_fignums():
            shown += 1
            if out is not None:
                plt.figure(number).savefig(out / f"{source.name[:2]}_{shown}.png", dpi=80)
        plt.close("all")

    plt.show = show
    started, error = time.perf_counter(), ""
    for number, cell in enumerate(made.cells):
        if cell.cell_type != "code":
            continue
        name = f"<{source.stem}, cell {number}>"
        linecache.cache[name] = (len(cell.source), None, cell.source.splitlines(keepends=True), name)
        try:
            exec(compile(cell.source, name, "exec"), scope)
        except BaseException:
            error = "".join(traceback.format_exc(chain=False).splitlines(keepends=True)[3:])
            break
        show()
    seconds = time.perf_counter() - started
    score = scope.get("score")
    torch.set_default_dtype(FLOAT)
    scope.clear()
    gc.collect()
    return {
        "chapter": source.name[:2],
        "seconds": round(seconds, 1),
        "pictures": shown,
        "passed": bool(score is not None and score.passed),
        "error": error,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--blank", action="store_true")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    if words.out:
        words.out.mkdir(parents=True, exist_ok=True)
        words.out = words.out.resolve()
    os.chdir(TUTORIALS)
    sys.path[:0] = [str(TUTORIALS), str(TUTORIALS.parent)]
    socket.socket.connect = no_network  # type: ignore[method-assign, assignment]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a chapter prints is no result
    for path in load_build().sources():
        if not words.chapters or path.name[:2] in words.chapters:
            print(json.dumps(run(path, words.blank, words.out)), file=answers, flush=True)

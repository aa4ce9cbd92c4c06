"""One side of one case, timed: the program that runs in a fresh process for every timing.

    python -m benchmarks.side MODULE CASE ours|theirs --threads 1 --repeats 5 --warmup 1

It says when it is ready for a timed call, and waits for a line of input. What it says to its runner begins
with `MARK`; the last of it is a JSON object: the times of each repetition, the memory, the check.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.machine import versions

MARK = "benchmarks.side: "


def main() -> None:
    """Time one side and print what was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("case")
    parser.add_argument("side", choices=["ours", "theirs"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    args = parser.parse_args()
    case = next(case for case in importlib.import_module(args.module).CASES if case.name == args.case)
    report = timed(case, args.side, args.threads, args.repeats, args.warmup, await_turn)
    print(MARK + json.dumps(report), flush=True)


def await_turn() -> None:
    """Say that this side is ready, and wait to be told to go on."""
    print(f"{MARK}ready", flush=True)
    if not sys.stdin.readline():
        sys.exit("the runner is gone")


def timed(
    case: Case, side: str, threads: int, repeats: int, warmup: int, turn: Callable[[], None]
) -> dict[str, Any]:
    """Run one side of a case in this process.

    Args:
        case: the comparison.
        side: "ours" or "theirs".
        threads: how many threads torch may use.
        repeats: timed calls, at least 1.
        warmup: calls before them that are not timed, at least 0.
        turn: called before each of the timed ones, and once after the last, so that no side's end falls into
            a call of the other.

    Returns:
        seconds and cpu_seconds (one per repetition), peak_mib (of the process), extra_mib (what the calls
        took beyond what was held after setup and warm-up), check; versions, if this Python is the peer's own.
    """
    peer = importlib.import_module(case.peer) if case.peer and side == "theirs" else None
    torch = sys.modules.get("torch")  # not every peer needs it
    if torch is not None:
        torch.set_num_threads(threads)
    state = case.setup()

    def call() -> Any:
        result = case.ours(state) if side == "ours" else case.theirs(state, peer)
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return result

    for _ in range(warmup):
        call()
    _forget_peak()
    held = _peak_mib()
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        turn()
        result = None  # the last result must not count as memory of this call
        start, cpu_start = time.perf_counter(), time.process_time()
        result = call()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    peak = _peak_mib()
    turn()
    elsewhere = case.python is not None and side == "theirs"
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": peak,
        "extra_mib": peak - held,
        "check": {name: float(value) for name, value in case.check(state, result).items()},
        **({"versions": versions([case.distribution or str(case.peer), "torch"])} if elsewhere else {}),
    }


def _forget_peak() -> None:
    """Give back what the warm-up left, and set the peak to what is held now, where the system can (Linux)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; else freed memory stays
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mib() -> float:
    """The most memory this process has held.

    Linux's `ru_maxrss` starts at what the parent held when it started this process, and cannot be set back;
    so the kernel's count for this address space is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") is None:
        sys.exit("benchmarks.side is started by benchmarks.runner, which pins the threads in its environment")
    main()

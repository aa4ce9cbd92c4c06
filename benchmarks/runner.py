"""Runs cases: both sides in one run, in fresh processes that take turns, threads pinned.

A round is one process for each side. Each process gives the median of its repetitions, each round gives the
ratio of the two, and the ratios' median with their least and greatest is what a benchmark says. A target that
the median misses by less than twice the standard error of many rounds is neither met nor missed: "EVEN".
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.machine import commit, machine, versions
from benchmarks.turns import SideError, take_turns

ENOUGH = 8  # rounds, for their standard error to mean something
ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Plan:
    """How to run.

    Args:
        rounds: processes for each side, at least 1.
        repeats: timed calls in each process, at least 1.
        warmup: untimed calls before them, at least 0.
        threads: of torch and of the numerical libraries, at least 1.
        timeout: seconds after which a process that does not answer is given up, positive.

    Raises:
        ValueError: if one is out of its range.
    """

    rounds: int = 5
    repeats: int = 3
    warmup: int = 1
    threads: int = 1
    timeout: float = 1800.0

    def __post_init__(self) -> None:
        for name, least in {"rounds": 1, "repeats": 1, "warmup": 0, "threads": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")


def run_module(
    name: str,
    module: str,
    cases: Sequence[Case],
    plan: Plan,
    *,
    results: Path | None = RESULTS,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Run the cases of one benchmark and write them all to NAME.json.

    Args:
        name: the benchmark's name, which names the file.
        module: the module that holds `cases` in `CASES`, as Python finds it from the repository's root.
        cases: the cases to run.
        plan: how.
        results: the folder to write to; None writes nothing.
        say: gets one line of progress at a time.

    Returns:
        One record per case, as in the file.
    """
    records = []
    for case in cases:
        say(f"{name}: {case.name}")
        records.append(run_case(case, module, plan, say))
    if results is None:
        return records
    peers = [each.distribution or (each.peer or "").split(".")[0] for each in cases if not each.python]
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(ROOT),
        "plan": vars(plan),
        "machine": machine(),
        "versions": versions(["ebm-lab", "torch", "numpy", *sorted({peer for peer in peers if peer})]),
        "cases": records,
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return records


def run_case(case: Case, module: str, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run one case.

    Args:
        case: the comparison.
        module: the module that holds it.
        plan: how.
        say: gets one line of progress at a time.

    Returns:
        A record: status ("PASS", "EVEN", "FAIL", "done" where nothing is required, "skipped" or "error"), and
        what was measured or why not.
    """
    record: dict[str, Any] = {"name": case.name, "peer": case.peer, "unit": case.unit, "target": case.target}
    missing = _missing(case)
    if missing:
        say(f"  SKIPPED: {missing}")
        return {**record, "status": "skipped", "reason": missing}
    seen: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    try:
        for number in range(plan.rounds):
            runs = take_turns(case, module, plan.threads, plan.repeats, plan.warmup, plan.timeout, number)
            for side, run in runs.items():
                seen[side].append(run)
            figures = {side: _figure(case, runs[-1]) for side, runs in seen.items()}
            ratio = case.ratio(figures["ours"], figures["theirs"])
            text = ", ".join(f"{side} {figure:.4g} {case.unit}" for side, figure in figures.items())
            say(f"  round {number + 1} of {plan.rounds}: {text}, ratio {ratio:.3g}")
    except SideError as error:
        say(f"  ERROR: {error}")
        return {**record, "status": "error", "reason": str(error)}
    return {**record, **_summary(case, seen)}


def _summary(case: Case, seen: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    figures = {side: [_figure(case, each) for each in runs] for side, runs in seen.items()}
    pairs = zip(figures["ours"], figures["theirs"], strict=True)
    ratio = _spread([case.ratio(ours, theirs) for ours, theirs in pairs])
    checks = {side: runs[-1]["check"] for side, runs in seen.items()}
    objection = case.objection(checks["ours"], checks["theirs"])
    status = "FAIL" if objection else _verdict(case, ratio, len(figures["ours"]))
    sides = {
        side: {
            **_spread(figures[side]),
            "check": checks[side],
            "seconds": _spread([statistics.median(each["seconds"]) for each in runs]),
            "cpu_seconds": _spread([statistics.median(each["cpu_seconds"]) for each in runs]),
            "peak_mib": max(each["peak_mib"] for each in runs),
            "extra_mib": max(each["extra_mib"] for each in runs),
            **({"versions": runs[-1]["versions"]} if "versions" in runs[-1] else {}),
        }
        for side, runs in seen.items()
    }
    kind = "ours / theirs" if case.at_most is not None else "theirs / ours"
    return {"status": status, "ratio_is": kind, "ratio": ratio, "objection": objection, **sides}


def _figure(case: Case, run: dict[str, Any]) -> float:
    """The one number of a process. Memory counts from 1 MiB up: below, a ratio would be one of page sizes."""
    if case.unit == "MiB":
        return max(1.0, float(run["extra_mib"]))
    return statistics.median(run["seconds" if case.unit == "s" else "cpu_seconds"])


def _verdict(case: Case, ratio: dict[str, float], rounds: int) -> str:
    met = case.met(ratio["median"])
    if met is None:
        return "done"
    error = 2 * ratio["standard_error"]
    near = any(case.met(ratio["median"] + shift) for shift in (-error, error))
    return "PASS" if met else "EVEN" if near and rounds >= ENOUGH else "FAIL"


def _spread(values: Sequence[float]) -> dict[str, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "standard_error": error,  # of the mean
    }


def _missing(case: Case) -> str:
    """Why a peer can't be compared with, or "". Only its top package is imported here, if anything is."""
    if case.peer is None:
        return ""
    if case.python is not None:
        return _missing_elsewhere(case.distribution or case.peer.split(".")[0], case.python)
    try:
        found = importlib.util.find_spec(case.peer) is not None
    except ImportError:
        found = False
    return "" if found else f"{case.peer} is not installed (make bench installs the peers that pip can)"


def _missing_elsewhere(distribution: str, variable: str) -> str:
    """The same of a peer that has a Python of its own."""
    cure = f"has no {distribution} (benchmarks/README.md says how to make a Python for it)"
    interpreter = os.environ.get(variable)
    if not interpreter:
        return f"{variable} is not set: this Python {cure}"
    look = f"import importlib.metadata as m; m.version({distribution!r})"
    try:
        found = subprocess.run([interpreter, "-I", "-c", look], capture_output=True, check=False)
    except OSError as error:
        return f"{variable} is {interpreter}, which does not run: {error.strerror}"
    return "" if found.returncode == 0 else f"{variable} is {interpreter}, which {cure}"

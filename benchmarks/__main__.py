"""`python -m benchmarks [NAME ...]`: run all benchmarks, or those named, and print ratios beside targets."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.runner import RESULTS, Plan, run_module

HERE = Path(__file__).parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run benchmarks.

    Args:
        argv: the words after the program's name; those of this process if None.

    Returns:
        The exit status: 0 if all ran or were skipped, whatever they showed; 1 if one broke; 2 for a wrong
        name; 130 if interrupted.
    """
    plan = Plan()
    parser = argparse.ArgumentParser("python -m benchmarks", description="This package beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks to run (default: all)")
    parser.add_argument("--list", action="store_true", help="name them with their cases, and run nothing")
    parser.add_argument("--case", default="", metavar="TEXT", help="only cases named so; writes no results")
    for name in ("rounds", "repeats", "warmup", "threads"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plan, name), help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=plan.timeout, help="default: %(default)g s")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where to write")
    args = parser.parse_args(argv)

    known = find()
    for name in args.names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
            print(f"benchmarks: there is no benchmark {name!r}; {hint}", file=sys.stderr)
            return 2
    try:
        plan = Plan(args.rounds, args.repeats, args.warmup, args.threads, args.timeout)
    except ValueError as error:
        parser.error(str(error))
    names = args.names or list(known)
    chosen = {name: [case for case in load(known[name]) if args.case in case.name] for name in names}
    if args.list:
        for name, cases in chosen.items():
            print(name, *(f"  {case.name}  {case.target}" for case in cases), sep="\n")
        return 0
    results = None if args.case else args.results  # a file always holds all cases of its benchmark
    records: dict[str, list[dict[str, Any]]] = {}
    interrupted = False
    try:
        for name, cases in chosen.items():
            records[name] = run_module(name, known[name], cases, plan, results=results)
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted; finished before:", file=sys.stderr)
    print(table(records))
    print(f"written to {results}" if results else "not written, as --case left some out")
    if interrupted:
        return 130
    return int(any(record["status"] == "error" for each in records.values() for record in each))


def find(folder: Path = HERE) -> dict[str, str]:
    """The benchmarks of a folder: the name NAME of each bench_NAME.py, and its module."""
    paths = sorted(folder.glob("bench_*.py"))
    return {path.stem.removeprefix("bench_"): f"{folder.name}.{path.stem}" for path in paths}


def load(module: str) -> Sequence[Case]:
    """The cases of a benchmark.

    Raises:
        ValueError: if two have the same name.
    """
    cases: Sequence[Case] = importlib.import_module(module).CASES
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise ValueError(f"{module}: two cases have one name, of {names}: give each its own")
    return cases


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """What was measured, one line a case."""
    rows = [("benchmark", "case", "ours", "theirs", "ratio (least to greatest)", "required", "")]
    for name, each in records.items():
        for record in each:
            if "ratio" not in record:
                verdict = f"{record['status']}: {record['reason'].splitlines()[0]}"
                rows.append((name, record["name"], "", "", "", record["target"], verdict))
                continue
            ours, theirs = (f"{record[side]['median']:.4g} {record['unit']}" for side in ("ours", "theirs"))
            ratio = "{median:.3g} ({min:.3g} to {max:.3g})".format(**record["ratio"])
            verdict = record["status"] + (f": {record['objection']}" if record["objection"] else "")
            rows.append((name, record["name"], ours, theirs, ratio, record["target"], verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main())

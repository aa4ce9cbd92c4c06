"""`ebm course check NOTEBOOK ...`: the words, and what is printed."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from ebm.course.grading import SECONDS, grade
from ebm.course.score import Score


def add_course(commands: argparse._SubParsersAction) -> None:
    """Add the command `course` to those of a parser."""
    course = commands.add_parser(
        "course",
        help="check the exercises of the course's notebooks",
        description="The course in the repository's folder tutorials/.",
    )
    inner = course.add_subparsers(dest="course", metavar="COMMAND", title="commands", required=True)
    check = inner.add_parser(
        "check",
        help="run the checks of notebooks and print their scores",
        description=(
            "Run the exercises of notebooks against their chapters' checks and print a score for each. "
            "The exercises' cells are EXECUTED, with your rights and no walls around them: grade the work "
            "of people you don't know in a container. No other cell is run. Exit status: 0 if every exercise "
            "passed, 1 if one did not, 2 if a file could not be graded."
        ),
    )
    check.add_argument(
        "notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help="an .ipynb file of the course"
    )
    check.add_argument(
        "--checks",
        type=Path,
        metavar="FOLDER",
        help="the folder of the checks (default: checks/ beside the notebook, or above it)",
    )
    check.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="S",
        help=f"time limit of an exercise (default: {SECONDS:g})",
    )
    check.add_argument("--csv", type=Path, metavar="FILE", help="write all results into a table, too")


def run_course(args: argparse.Namespace) -> int:
    """Grade the notebooks that the words name.

    Returns:
        0 if every exercise of every notebook passed, 1 if one did not, 2 if a file could not be graded, 130
        if it was interrupted.
    """
    scores: dict[Path, Score] = {}
    failures = 0
    for path in args.notebooks:
        try:
            scores[path] = grade(path, args.checks, args.seconds)
        except (ValueError, RuntimeError) as error:
            failures += 1
            print(f"ebm course check: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print(f"\nInterrupted while checking {path}.", file=sys.stderr)
            return 130
        else:
            print(f"{path}\n{scores[path]}\n", flush=True)
    if args.csv:
        try:
            _write(args.csv, scores)
        except OSError as error:
            failures += 1
            print(f"ebm course check: cannot write {args.csv}: {error.strerror}.", file=sys.stderr)
    return 2 if failures else int(not all(score.passed for score in scores.values()))


def _write(path: Path, scores: dict[Path, Score]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["notebook", "exercise", "status", "message"])
        for notebook, score in scores.items():
            table.writerows([notebook, each.exercise, each.status, each.message] for each in score.results)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text!r}")
    return seconds

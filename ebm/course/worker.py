"""The process in which a student's code runs: `grade` starts it, and ends it where it hangs.

It reads one JSON line, {"checks": file, "answers": {exercise: code}, "exercises": [to check]}, and writes one
line of JSON when it is ready and one for each exercise, in order. What the student prints goes nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ebm.course.answers import load_checks
from ebm.course.exercises import define, run_check
from ebm.course.score import Result, result_of


def work(task: dict[str, Any], out: TextIO) -> None:
    """Define the answers one after the other; check each one that is asked for, and write its result."""
    checks = load_checks(Path(task["checks"]))
    print(json.dumps("ready"), file=out, flush=True)
    scope = define({})
    for name, check in checks.items():
        found = Result(name, "passed")
        if name in task["answers"]:
            found = result_of(name, define, {name: task["answers"][name]}, scope)
        if name in task["exercises"]:
            if found.status == "passed":
                found = result_of(name, run_check, check, scope)
            print(json.dumps(asdict(found)), file=out, flush=True)


if __name__ == "__main__":
    answers = json.loads(sys.stdin.readline())
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    work(answers, private)

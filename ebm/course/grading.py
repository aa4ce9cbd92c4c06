"""Grading: a notebook's exercises are run in a process of their own, with a time limit for each.

The process does not wall the code off: it has the rights of whoever grades. The limit holds for endless loops
too, since the process is ended; what had not been checked goes on in a new one, without the answer that hung.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from ebm.course.answers import find_checks, load_checks, read_notebook
from ebm.course.score import Result, Score

START_SECONDS = 120.0  # to import torch on a busy machine
SECONDS = 20.0  # for one exercise
PACKAGES = str(Path(__file__).parents[2])  # where this package lies, for a process that begins elsewhere


def grade(path: Path, checks: Path | None = None, seconds: float = SECONDS) -> Score:
    """Run a notebook's exercises against its chapter's checks; no other cell is run.

    Args:
        path: the notebook.
        checks: the folder of the checks; the one beside the notebook or above it if None.
        seconds: the time limit of an exercise.

    Returns:
        The score, exercises in the chapter's order.

    Raises:
        ValueError: if the file is no notebook of the course, its checks are not found, or `seconds` is not
            positive.

    Example: `grade(Path("tutorials/01_energies_and_latent_variables.ipynb")).passed`
    """
    if not seconds > 0:
        raise ValueError(f"the time limit must be positive; got {seconds} seconds.")
    notebook = read_notebook(path)
    file = find_checks(notebook, checks)
    names = load_checks(file)
    answers = notebook.answers(names)
    if not answers:
        raise ValueError(
            f"{path} has no exercise of chapter {notebook.chapter} ({', '.join(names)}): their cells have "
            f"the tags 'exercise' and that name. Start from the chapter's notebook, and write into its cells."
        )
    results = {
        name: Result(name, "not done", f"The cell of this exercise is missing (tags: exercise, {name}).")
        for name in names
        if name not in answers
    }
    while left := [name for name in names if name not in results]:
        found = _one_process({"checks": str(file.resolve()), "answers": answers, "exercises": left}, seconds)
        results |= {each.exercise: each for each in found}
        answers.pop(found[-1].exercise)  # if others are left, that one hung
    return Score(tuple(results[name] for name in names))


def _one_process(task: dict[str, Any], seconds: float) -> list[Result]:
    """The results of the exercises up to the first that hangs or ends the process, that one included."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "ebm.course.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([PACKAGES, os.environ.get("PYTHONPATH", "")])},
        )
        try:
            return _converse(process, task, seconds)
        finally:
            process.kill()
            process.communicate()


def _converse(process: subprocess.Popen[str], task: dict[str, Any], seconds: float) -> list[Result]:
    lines: queue.Queue[str] = queue.Queue()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes.")
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    if not _line(lines, START_SECONDS):
        raise RuntimeError(f"no answer from a new Python process ({sys.executable}): is ebm installed in it?")
    results: list[Result] = []
    for name in task["exercises"]:
        said = _line(lines, seconds)
        if said:
            results.append(Result(**json.loads(said)))
            continue
        slow = said is None
        what = (
            f"Stopped after {seconds:g} s: is there an endless loop?" if slow else "The process ended here."
        )
        return [*results, Result(name, "too slow" if slow else "error", what)]
    return results


def _read(pipe: IO[str], lines: queue.Queue[str]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put("")


def _line(lines: queue.Queue[str], seconds: float) -> str | None:
    """The next line; "" at the end of the process, None when the time is over."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None

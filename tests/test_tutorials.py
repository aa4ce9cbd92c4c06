"""Every chapter runs with its solutions, in step with its notebook; blanks and wrong answers fail.

A chapter NN is tutorials/NN_name.py, its solutions, tutorials/checks/chNN.py and tests/course/wrong_NN.py:
these tests take every chapter that they find.
"""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ebm.course import define, load_checks, run_check

TESTS = Path(__file__).parent / "course"
TUTORIALS = Path(__file__).parents[1] / "tutorials"
SECONDS, TOGETHER = 60, 300

build = runpy.run_path(str(TESTS / "host.py"))["load_build"]()
CHAPTERS = {path.name[:2]: path for path in build.sources()}
EXERCISES = [(number, name) for number, path in CHAPTERS.items() for name in build.exercises(path)]
WRONG = {
    path.stem[-2:]: runpy.run_path(str(path))["WRONG"] for path in sorted(TESTS.glob("wrong_[0-9][0-9].py"))
}
SLIPS = [(number, *slip) for number in CHAPTERS for slip in WRONG.get(number, [])]
PARTS = (
    "Predict",
    "Play",
    "Derive",
    "Implement",
    "Check",
    "The same with the library",
    "Collapse",
    "Further",
)

each_chapter = pytest.mark.parametrize("number", CHAPTERS)


def solutions(number: str) -> dict[str, str]:
    return build.exercises(TUTORIALS / "solutions" / CHAPTERS[number].name)


def checks(number: str) -> dict[str, Any]:
    return load_checks(TUTORIALS / "checks" / f"ch{number}.py")


@each_chapter
def test_notebook_is_in_step_with_its_source(number):
    source = CHAPTERS[number]
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == build.text(build.notebook(source)), (
        "run `make notebooks`"
    )


def test_every_notebook_has_a_source():
    assert {path.stem for path in TUTORIALS.glob("*.ipynb")} == {path.stem for path in CHAPTERS.values()}


@each_chapter
def test_a_chapter_has_its_parts_in_order(number):
    text = "\n".join(cell.source for cell in build.notebook(CHAPTERS[number]).cells)
    places = [text.find(f"## {count} · {part}") for count, part in enumerate(PARTS, 1)]
    assert -1 not in places and places == sorted(places)
    assert "**You will be able to**" in text and "**You need**" in text and "**It takes**" in text
    assert "explore(" in text and "SEED = " in text and "real data" in text.lower()
    assert "pip install" not in text


@each_chapter
def test_every_exercise_has_a_solution_a_check_and_two_wrong_answers(number):
    blanks, answers = build.exercises(CHAPTERS[number]), solutions(number)
    assert list(blanks) == list(answers) == list(checks(number)) and len(blanks) >= 2
    assert all("raise NotImplementedError" in code for code in blanks.values())
    for name, code in answers.items():  # ten lines or fewer, the signature apart
        (function,) = ast.parse(code).body
        assert function.name == name and function.end_lineno - function.body[0].lineno + 1 <= 10
    slips = Counter(exercise for exercise, *_ in WRONG.get(number, []))
    assert slips.keys() == answers.keys() and min(slips.values()) >= 2


def outcome(number: str, exercise: str, code: str) -> None:
    """Check one exercise, all others solved; raises as the check does."""
    run_check(checks(number)[exercise], define(solutions(number) | {exercise: code}))


@pytest.mark.parametrize(("number", "exercise"), EXERCISES)
def test_a_solution_passes_and_a_blank_fails(number, exercise):
    outcome(number, exercise, solutions(number)[exercise])
    with pytest.raises(NotImplementedError, match="Exercise"):
        outcome(number, exercise, build.exercises(CHAPTERS[number])[exercise])


@pytest.mark.parametrize(
    ("number", "exercise", "right", "wrong", "message"), SLIPS, ids=lambda v: str(v)[:24]
)
def test_a_wrong_answer_is_told_its_slip(number, exercise, right, wrong, message):
    code = solutions(number)[exercise]
    assert right in code
    with pytest.raises(AssertionError, match=message):
        outcome(number, exercise, code.replace(right, wrong))


def run_all(*words: str) -> dict[str, dict[str, Any]]:
    """What became of every chapter, all run in one process."""
    command = [sys.executable, str(TESTS / "host.py"), *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=3 * TOGETHER)
    results = {line["chapter"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert results.keys() == CHAPTERS.keys(), done.stderr[-3000:]
    assert not any(each["error"] for each in results.values()), "\n".join(
        f"{number}: {each['error']}" for number, each in results.items() if each["error"]
    )
    return results


def test_every_chapter_runs_with_its_solutions_in_one_process_without_a_network():
    results = run_all()
    assert all(each["passed"] for each in results.values()), results
    seconds = {number: each["seconds"] for number, each in results.items()}
    assert max(seconds.values()) <= SECONDS and sum(seconds.values()) <= TOGETHER, seconds


@pytest.mark.slow
def test_every_chapter_runs_to_its_end_with_its_exercises_blank():
    assert not any(each["passed"] for each in run_all("--blank").values())

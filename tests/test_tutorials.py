"""Every chapter runs with its solutions, in step with its notebook; blanks and wrong answers fail."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import nbclient
import pytest
import torch

TUTORIALS = Path(__file__).parent.parent / "tutorials"
sys.path.insert(0, str(TUTORIALS))  # the notebooks run in that folder, and import `checks` from it

spec = importlib.util.spec_from_file_location("tutorials_build", TUTORIALS / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

CHAPTERS = build.sources()
CHAPTER_01 = next(path for path in CHAPTERS if path.name.startswith("01"))


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda p: p.stem)
def test_notebook_is_in_step_with_its_source(source):
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == build.text(build.notebook(source)), (
        "run `make notebooks`"
    )


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda p: p.stem)
def test_every_exercise_has_a_solution_and_none_is_in_the_notebook(source):
    blanks, answers = build.exercises(source), build.exercises(TUTORIALS / "solutions" / source.name)
    assert blanks.keys() == answers.keys() and blanks
    assert all("raise NotImplementedError" in code for code in blanks.values())
    assert all(len(code.splitlines()) <= 11 for code in answers.values())


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs_with_its_solutions(source):
    client = nbclient.NotebookClient(
        build.solved(source),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(TUTORIALS)}},
    )
    client.execute()


def functions(codes: dict[str, str]) -> dict:
    scope = {"torch": torch, "math": math}
    for code in codes.values():
        exec(code, scope)
    return scope


def check_01(scope: dict) -> None:
    from checks import ch01

    ch01.check_energy_table(scope["energy_table"])
    ch01.check_free_energy(scope["free_energy"], scope["energy_table"])
    ch01.check_weight_slope(scope["weight_slope"])


def test_solutions_of_01_pass_their_checks():
    check_01(functions(build.exercises(TUTORIALS / "solutions" / CHAPTER_01.name)))


@pytest.mark.parametrize("name", ["energy_table", "free_energy", "weight_slope"])
def test_blanks_of_01_fail(name):
    answers = build.exercises(TUTORIALS / "solutions" / CHAPTER_01.name)
    answers[name] = build.exercises(CHAPTER_01)[name]
    with pytest.raises(NotImplementedError, match="Exercise"):
        check_01(functions(answers))


WRONG_01 = [
    ("energy_table", "return (", "return -(", "sign is turned"),
    ("energy_table", ".square().sum(2)", ".square().mean(2)", "mean over the two coordinates"),
    ("energy_table", ".square().sum(2)", ".square().sum(2).sqrt()", "its square"),
    ("energy_table", ".sum(2)", "", "must return shape"),
    ("free_energy", " - math.log(len(z))", "", "1/N_z is missing"),
    ("free_energy", "return -(torch", "return (torch", "sign is turned"),
    ("free_energy", ") / beta", ")", "1/β is missing"),
    ("free_energy", "table.min(1).values", "table.argmin(1)", "argmin"),
    ("free_energy", "-(torch.logsumexp(-beta * table, 1) - math.log(len(z))) / beta",
     "(torch.softmax(-beta * table, 1) * table).sum(1)", "entropy"),
    ("weight_slope", "-2 *", "2 *", "sign is turned"),
    ("weight_slope", "-2 *", "-1 *", "factor 2"),
    ("weight_slope", ".mean(0)", ".sum(0)", "1/N is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "message"), WRONG_01, ids=lambda v: str(v)[:24])
def test_wrong_answers_to_01_are_told_their_slip(name, right, wrong, message):
    answers = build.exercises(TUTORIALS / "solutions" / CHAPTER_01.name)
    assert right in answers[name]
    answers[name] = answers[name].replace(right, wrong)
    with pytest.raises(AssertionError, match=message):
        check_01(functions(answers))

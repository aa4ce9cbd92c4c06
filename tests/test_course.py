"""`ebm course check`: what it reads and runs of a notebook, how it scores, what it says of bad files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm import __main__ as cli
from ebm.course import (
    Result,
    Score,
    check,
    define,
    find_checks,
    grade,
    grading,
    load_checks,
    read_notebook,
    refuse,
    require_close,
    require_shape,
    run_check,
)
from ebm.course.worker import work

CHECKS = """
import torch
from ebm.course import refuse, require_close
def check_double(double):
    y = torch.randn(3)
    refuse(double(y), y * y, "That is the square.")
    require_close(double(y), 2 * y, "Not twice y.")
def check_quadruple(quadruple):
    require_close(quadruple(torch.ones(2)), 4 * torch.ones(2), "Not four times y.")
def check_dtype(dtype):
    require_close(dtype(), torch.tensor(0.5), "Not a half.")
CHECKS = {"double": check_double, "quadruple": check_quadruple, "dtype": check_dtype}
"""
RIGHT = {
    "double": "def double(y):\n    print('not a result')\n    return 2 * y",
    "quadruple": "def quadruple(y):\n    return double(double(y))",
    "dtype": "def dtype():\n    return torch.full((), 0.5)",
}


def notebook(
    folder: Path, answers: dict[str, str], name: str = "07_mine.ipynb", tags: bool = True, **meta
) -> Path:
    """A notebook with a set-up cell that must not be run, and its chapter's checks beside it."""
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "# hello"}]
    code = {"": "raise SystemExit('the set-up cell was run')"} | answers
    for exercise, source in code.items():
        metadata = {"tags": ["exercise", exercise]} if exercise and tags else {}
        lines = source.splitlines(keepends=True)
        cells.append({"cell_type": "code", "metadata": metadata, "source": lines, "outputs": []})
    (folder / "checks").mkdir(exist_ok=True)
    (folder / "checks" / "ch07.py").write_text(CHECKS)
    path = folder / name
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": meta, "cells": cells}))
    return path


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is done in this process, to save the seconds that a new one takes to start."""

    def one_process(task: dict[str, Any], seconds: float) -> list[Result]:
        out = io.StringIO()
        work(json.loads(json.dumps(task)), out)
        ready, *results = map(json.loads, out.getvalue().splitlines())
        assert ready == "ready"
        return [Result(**each) for each in results]

    monkeypatch.setattr(grading, "_one_process", one_process)


def statuses(score: Score) -> list[str]:
    return [each.status for each in score.results]


def test_right_answers_pass(tmp_path, capsys):
    path = notebook(tmp_path, RIGHT)
    assert cli.main(["course", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "double      passed" in said and "3 of 3 exercises passed" in said and "not a result" not in said


def test_each_kind_of_failure_is_told_apart(tmp_path, capsys, inside):
    answers = RIGHT | {
        "double": "def double(y):\n    return y * y",
        "quadruple": "def quadruple(y):\n    raise NotImplementedError('Exercise 2: four times y')",
        "dtype": "def dtype():\n    return torch.zeros(2) @ torch.zeros(3)",
    }
    path = notebook(tmp_path, answers)
    assert cli.main(["course", "check", str(path), "--csv", str(tmp_path / "all.csv")]) == 1
    said = capsys.readouterr().out
    assert "wrong      That is the square." in said and "not done   Exercise 2: four times y" in said
    assert "error      RuntimeError: " in said and "0 of 3 exercises passed" in said
    assert "(line 2: return torch.zeros(2) @ torch.zeros(3))" in " ".join(said.split())
    rows = list(csv.reader((tmp_path / "all.csv").open(encoding="utf-8")))
    assert rows[0] == ["notebook", "exercise", "status", "message"]
    assert rows[1] == [str(path), "double", "wrong", "That is the square."] and len(rows) == 4


def test_what_hangs_or_ends_its_process_is_stopped_and_the_rest_is_checked(tmp_path):
    answers = {
        "double": "while True:\n    pass",  # before there is anything to check
        "quadruple": "def quadruple(y):\n    return 4 * y",
        "dtype": "def dtype():\n    import os\n    os._exit(0)",
    }
    score = grade(notebook(tmp_path, answers), seconds=3.0)
    assert statuses(score) == ["too slow", "passed", "error"]
    assert "Stopped after 3 s" in score.results[0].message and "ended here" in score.results[2].message


def test_broken_missing_and_untagged_cells(tmp_path, inside):
    answers = {"double": "def double(y:\n    return", "dtype": "def other():\n    return 1"}
    score = grade(notebook(tmp_path, answers))
    assert statuses(score) == ["error", "not done", "error"]
    assert "SyntaxError" in score.results[0].message
    assert "missing (tags: exercise, quadruple)" in score.results[1].message
    assert "`dtype` is not defined" in score.results[2].message
    answers = {"quadruple": RIGHT["quadruple"]}
    assert "the exercises before it" in grade(notebook(tmp_path, answers)).results[1].message
    assert grade(notebook(tmp_path, RIGHT, tags=False)).passed  # an editor that drops tags


def test_the_chapter_is_told_by_the_metadata_or_by_the_name(tmp_path):
    assert read_notebook(notebook(tmp_path, RIGHT)).chapter == "07"
    assert read_notebook(notebook(tmp_path, RIGHT, "anna.ipynb", ebm_chapter="07")).chapter == "07"


def test_checks_are_found_beside_above_or_where_one_says(tmp_path):
    path = notebook(tmp_path, RIGHT)
    inner = tmp_path / "anna" / path.name
    inner.parent.mkdir()
    path.rename(inner)
    assert find_checks(read_notebook(inner)) == tmp_path / "checks" / "ch07.py"
    assert find_checks(read_notebook(inner), tmp_path / "checks") == tmp_path / "checks" / "ch07.py"


def test_bad_files_are_told_what_to_do_and_do_not_stop_the_others(tmp_path, capsys, inside):
    good = notebook(tmp_path, RIGHT)
    (tmp_path / "text.ipynb").write_text("print(1)")
    (tmp_path / "bytes.ipynb").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.ipynb").write_text("[1]")
    notebook(tmp_path, RIGHT, "nameless.ipynb")
    notebook(tmp_path, RIGHT, "08_other.ipynb")
    notebook(tmp_path, {}, "07_empty.ipynb")
    names = ("none", "text", "bytes", "list", "nameless", "08_other", "07_empty")
    words = [str(tmp_path / f"{name}.ipynb") for name in names]
    assert cli.main(["course", "check", *words, str(good)]) == 2
    out, err = capsys.readouterr()
    assert "3 of 3 exercises passed" in out
    messages = [line for line in err.splitlines() if line.startswith("ebm course check: ")]
    expected = [
        "No such file or directory. Give a chapter's notebook",
        "no Jupyter notebook",
        "it is not text",
        "no Jupyter notebook",
        "begin with the chapter's number",
        "there is no ch08.py",
        "has no exercise of chapter 07 (double, quadruple, dtype)",
    ]
    assert len(messages) == len(expected)
    assert all(part in message for part, message in zip(expected, messages, strict=True))
    with pytest.raises(ValueError, match="has no CHECKS"):
        (tmp_path / "checks" / "ch08.py").write_text("CHECKS = {}")
        load_checks(tmp_path / "checks" / "ch08.py")
    with pytest.raises(ValueError, match="must be positive; got 0"):
        grade(good, seconds=0)


def test_mistakes_in_the_words_and_the_help(tmp_path, capsys):
    for words, message in [
        (["course", "check"], "NOTEBOOK"),
        (["course"], "COMMAND"),
        (
            ["course", "check", "a.ipynb", "--seconds", "-1"],
            "expected a positive number of seconds, got '-1'",
        ),
    ]:
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2 and message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["course", "check", "--help"])
    assert "EXECUTED" in capsys.readouterr().out
    path = notebook(tmp_path, RIGHT)
    assert cli.main(["course", "check", str(path), "--csv", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err


FAILURES = [(KeyboardInterrupt(), 130, "Interrupted while"), (RuntimeError("no answer"), 2, "no answer")]


@pytest.mark.parametrize(("failure", "status", "message"), FAILURES)
def test_grading_that_is_interrupted_or_cannot_start(tmp_path, monkeypatch, capsys, failure, status, message):
    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(grading, "_one_process", fail)
    assert cli.main(["course", "check", str(notebook(tmp_path, RIGHT))]) == status
    assert message in capsys.readouterr().err


def test_a_check_runs_in_float64_from_one_seed_and_leaves_no_trace():
    seen = []
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for _ in range(2):
        run_check(lambda half: seen.append(torch.randn(2)), {"half": None})
    assert seen[0].dtype == torch.float64 and torch.equal(*seen)
    assert torch.get_default_dtype() == torch.float32 and torch.equal(torch.get_rng_state(), before)
    with pytest.raises(NameError, match="`half` is not defined"):
        run_check(lambda half: None, {})


def test_a_score_wraps_long_messages_under_themselves():
    lines = str(Score((Result("half", "wrong", "word " * 40),))).splitlines()
    assert len(lines) > 2 and all(len(line) <= 100 for line in lines)
    assert lines[1].startswith(" " * 15 + "word") and lines[-1] == "0 of 1 exercises passed"


def test_a_notebook_sees_its_score_and_goes_on(capsys):
    scope = define({"double": "def double(y):\n    raise NotImplementedError('Exercise 1')"})
    score = check({"double": lambda double: double(1)}, scope)
    assert not score.passed and "not done   Exercise 1" in capsys.readouterr().out


def test_refuse_names_a_slip_unless_the_slip_is_right():
    two, four = torch.tensor([2.0]), torch.tensor([4.0])
    with pytest.raises(AssertionError, match="squared"):
        refuse(four, two**2, "squared", right=two)
    refuse(four, two**2, "squared", right=two + two)
    refuse(two, four, "squared")
    with pytest.raises(AssertionError, match="off"):
        require_close(two, two + 1e-5, "off")
    with pytest.raises(AssertionError, match="off"):
        require_close(torch.tensor([torch.nan]), two, "off")
    with pytest.raises(AssertionError, match=r"half must return shape \(2,\); it returned \(1,\)"):
        require_shape(two, (2,), "half")
    with pytest.raises(AssertionError, match="returned float"):
        require_shape(2.0, (1,), "half")

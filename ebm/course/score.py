"""The score of a chapter: for each exercise whether it passed, and if not, what to do about it."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ebm.course.exercises import Check, run_check

Status = Literal["passed", "not done", "wrong", "error", "too slow"]
WIDTH = 100


@dataclass(frozen=True)
class Result:
    """What came of one exercise.

    Args:
        exercise: its name.
        status: "passed"; "not done", a blank is left; "wrong", the check failed; "error", the answer raised;
            or "too slow".
        message: what is wrong; "" if it passed.
    """

    exercise: str
    status: Status
    message: str = ""


@dataclass(frozen=True)
class Score:
    """The results of a chapter's exercises; as text, a table of them.

    Example:
        >>> print(Score((Result("half", "passed"), Result("table", "not done", "Exercise 2: the table"))))
        half    passed
        table   not done   Exercise 2: the table
        1 of 2 exercises passed
    """

    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every exercise passed."""
        return all(each.status == "passed" for each in self.results)

    def __str__(self) -> str:
        first = max([len(each.exercise) for each in self.results], default=0) + 3
        second = max([len(each.status) for each in self.results], default=0) + 3
        lines = []
        for each in self.results:
            left = f"{each.exercise:<{first}}{each.status:<{second}}"
            room = max(30, WIDTH - len(left))
            message = textwrap.wrap(each.message, room) or [""]
            lines += [(left + message[0]).rstrip(), *(" " * len(left) + more for more in message[1:])]
        done = sum(each.status == "passed" for each in self.results)
        return "\n".join([*lines, f"{done} of {len(self.results)} exercises passed"])


def check(checks: Mapping[str, Check], scope: Mapping[str, Any]) -> Score:
    """Check exercises where they were written and print the score: `check(ch01.CHECKS, globals())`.

    A blank is no error here: a notebook runs to its end before anything is solved.

    Args:
        checks: the check of each exercise, by its name.
        scope: the names that the notebook has defined.

    Returns:
        The score; `score.passed` if every exercise is right.

    Example:
        >>> def half(y):
        ...     return y / 3
        >>> def check_half(half):
        ...     if half(3.0) != 1.5:
        ...         raise AssertionError("Half of 3 is 1.5.")
        >>> score = check({"half": check_half}, {"half": half})
        half   wrong   Half of 3 is 1.5.
        0 of 1 exercises passed
        >>> score.passed
        False
    """
    found = Score(tuple(result_of(name, run_check, each, scope) for name, each in checks.items()))
    print(found)
    return found


def result_of(exercise: str, run: Callable[..., object], *inputs: Any) -> Result:
    """The result of an exercise, passed if `run(*inputs)` raises nothing."""
    try:
        run(*inputs)
    except NotImplementedError as error:
        return Result(exercise, "not done", str(error))
    except AssertionError as error:
        return Result(exercise, "wrong", str(error) or "The check failed.")
    except Exception as error:
        hint = (
            " A cell may use torch, math and the exercises before it." if isinstance(error, NameError) else ""
        )
        return Result(exercise, "error", f"{type(error).__name__}: {error}{_where(error)}{hint}")
    return Result(exercise, "passed")


def _where(error: Exception) -> str:
    """The line of the student's code that an error came from, if one did."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        each
        for each in frames
        if each.filename.startswith(("<exercise", "<ipython")) or "ipykernel" in each.filename
    ]
    return f" (line {own[-1].lineno}: {own[-1].line})" if own else ""

"""The course: what a check of an exercise requires, the score of a notebook, and `ebm course check`."""

from __future__ import annotations

from ebm.course.answers import Notebook, find_checks, load_checks, read_notebook
from ebm.course.exercises import define, run_check
from ebm.course.grading import grade
from ebm.course.require import refuse, require, require_close, require_shape
from ebm.course.score import Result, Score, check

__all__ = [
    "Notebook",
    "Result",
    "Score",
    "check",
    "define",
    "find_checks",
    "grade",
    "load_checks",
    "read_notebook",
    "refuse",
    "require",
    "require_close",
    "require_shape",
    "run_check",
]

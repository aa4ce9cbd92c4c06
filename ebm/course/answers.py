"""A student's notebook, read without running it: which chapter it is, and the code of its exercises.

An exercise's cell has the tags "exercise" and its name; where an editor has lost the tags, it is the cell
that defines a function of that name. A chapter's checks are `checks/chNN.py`, which has `CHECKS`, a
dict of the check of each exercise.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebm.course.exercises import Check


@dataclass(frozen=True)
class Notebook:
    """What was read of a notebook.

    Args:
        path: where it lies.
        chapter: two digits, "01".
        cells: the tags and the code of every code cell.
    """

    path: Path
    chapter: str
    cells: tuple[tuple[tuple[str, ...], str], ...]

    def answers(self, names: Mapping[str, Any]) -> dict[str, str]:
        """The code of the exercises of these names, in that order; those without a cell are left out."""
        found = {}
        for name in names:
            tagged = [code for tags, code in self.cells if "exercise" in tags and name in tags]
            plain = [
                code for _, code in self.cells if re.search(rf"^def {re.escape(name)}\(", code, re.MULTILINE)
            ]
            if tagged or plain:
                found[name] = "\n".join(tagged or plain[-1:])
        return found


def read_notebook(path: Path) -> Notebook:
    """Read a chapter's notebook.

    Args:
        path: of an .ipynb file.

    Returns:
        Its chapter and its code cells.

    Raises:
        ValueError: if it cannot be read, is no notebook, or tells no chapter; the message says what to do.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> tags, code = {"tags": ["exercise", "half"]}, ["def half(y): ..."]
        >>> cell = {"cell_type": "code", "metadata": tags, "source": code}
        >>> file = folder / "01_mine.ipynb"
        >>> _ = file.write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]}))
        >>> read_notebook(file).answers({"half": None})
        {'half': 'def half(y): ...'}
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(
            f"cannot read {path}: {reason}. Give a chapter's notebook, an .ipynb file."
        ) from error
    try:
        read = json.loads(text)
        cells = [
            (tuple(cell["metadata"].get("tags", ())), _text(cell["source"]))
            for cell in read["cells"]
            if cell["cell_type"] == "code"
        ]
        metadata = read["metadata"]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no Jupyter notebook (version 4: JSON with cells and metadata). Save it as .ipynb "
            f"from Jupyter or Colab, not as a script or a web page."
        ) from error
    named = metadata.get("ebm_chapter") or (re.match(r"\d\d(?=_)", path.name) or [""])[0]
    if not re.fullmatch(r"\d\d", str(named)):
        raise ValueError(
            f"{path} does not tell which chapter it is: its metadata has no 'ebm_chapter', and its name does "
            f"not begin with a number such as 01_. Rename it to begin with the chapter's number."
        )
    return Notebook(path, str(named), tuple(cells))


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def find_checks(notebook: Notebook, folder: Path | None = None) -> Path:
    """The file of a notebook's checks, chNN.py: in `folder`, else in `checks/` beside the notebook or above.

    Raises:
        ValueError: if there is none, saying where it was looked for.
    """
    name = f"ch{notebook.chapter}.py"
    above = [notebook.path.resolve().parent, *notebook.path.resolve().parents]
    places = (
        [folder] if folder else [each / inner for each in above for inner in ("checks", "tutorials/checks")]
    )
    for place in places:
        if (place / name).is_file():
            return place / name
    where = f"in {folder}" if folder else f"in a folder checks/ beside {notebook.path} or above it"
    raise ValueError(
        f"there is no {name} {where}. The checks are in the repository's folder tutorials/checks: keep the "
        f"notebook beside it, or say where it is with --checks FOLDER."
    )


def load_checks(path: Path) -> dict[str, Check]:
    """The checks of a chapter, by exercise, from its file.

    Raises:
        ValueError: if the file has no `CHECKS`.
    """
    spec = importlib.util.spec_from_file_location(f"checks_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checks = getattr(module, "CHECKS", None)
    if not isinstance(checks, dict) or not checks:
        raise ValueError(f"{path} has no CHECKS, a dict of the chapter's checks by exercise.")
    return dict(checks)

"""Makes the notebooks from their sources: tutorials/NN_name.py -> NN_name.ipynb, without outputs.

They hold no solutions either: `solved(source)` fills the exercises in from solutions/, for the tests. Their
metadata tell the chapter's number, by which `ebm course check` finds the checks of a renamed notebook.
"""

from __future__ import annotations

from pathlib import Path

import jupytext
from nbformat import NotebookNode

HERE = Path(__file__).parent


def sources() -> list[Path]:
    """The chapters' sources, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def notebook(source: Path) -> NotebookNode:
    """The notebook of a chapter; cell ids count up, so that the same source gives the same file."""
    made = jupytext.read(source)
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "ebm_chapter": source.name[:2],
    }
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    return made


def exercise_of(cell: NotebookNode) -> str | None:
    """The name of the exercise that a cell holds, from its tags; None for other cells."""
    tags = cell.metadata.get("tags", [])
    return next((tag for tag in tags if tag != "exercise"), None) if "exercise" in tags else None


def exercises(source: Path) -> dict[str, str]:
    """The code of the exercise cells of a percent-format file, by name."""
    cells = jupytext.read(source).cells
    return {name: cell.source for cell in cells if (name := exercise_of(cell)) is not None}


def solved(source: Path) -> NotebookNode:
    """The chapter with its exercises filled in."""
    made, answers = notebook(source), exercises(HERE / "solutions" / source.name)
    for cell in made.cells:
        name = exercise_of(cell)
        if name is not None:
            cell.source = answers[name]
    return made


def text(made: NotebookNode) -> str:
    """The .ipynb file of a notebook."""
    return jupytext.writes(made, fmt="ipynb") + "\n"


if __name__ == "__main__":
    for chapter in sources():
        chapter.with_suffix(".ipynb").write_text(text(notebook(chapter)), encoding="utf-8")
        print(chapter.with_suffix(".ipynb").name)

"""The pages of the API: one a floor, and below it one a folder of `ebm`; the floors are those of the house's test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tutorials.site.links import ROOT, label

HOUSE = ROOT / "tests" / "test_house.py"
TITLES = {
    0: "the words",
    1: "networks, data, targets, regularizers",
    2: "inference",
    3: "latent variables, training, measuring",
    4: "methods: contrastive, regularized, joint",
    5: "JEPA and worlds",
    6: "planning",
    8: "showing, testing, the course",
}
TOP = """\
# The code, by floors

A module uses those of its own floor and of the floors below it, never one above.

```{toctree}
:maxdepth: 2

PAGES
```
"""


def floors() -> dict[int, list[str]]:
    """The rooms of each floor, files and folders of `ebm`, as `tests/test_house.py` has them."""
    for node in ast.parse(HOUSE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return {floor: rooms.split() for floor, rooms in ast.literal_eval(node.value).items()}
    raise ValueError(f"{HOUSE} has no table FLOORS")


def modules_of(room: str) -> list[str]:
    """The modules of a room, itself first, then file by file."""
    if (ROOT / "ebm" / f"{room}.py").exists():
        return [f"ebm.{room}"]
    files = sorted((ROOT / "ebm" / room).rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return sorted(name.removesuffix(".__init__") for name in names)


def summary(module: str) -> str:
    """The first line of a module's docstring."""
    path = ROOT / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0]


def pages() -> Iterator[tuple[str, str]]:
    """Every page: its path on the site, and its text."""
    yield "api.md", TOP.replace("PAGES", "\n".join(f"api/floor_{floor}" for floor in floors()))
    for floor, rooms in floors().items():
        folders = [room for room in rooms if (ROOT / "ebm" / room).is_dir()]
        files = [room for room in rooms if room not in folders]
        lines = [*_heading(f"Floor {floor}: {TITLES[floor]}", "="), ""]
        if folders:
            lines += [".. toctree::", "   :maxdepth: 1", "", *(f"   ebm.{room}" for room in folders), ""]
        for room in files:
            lines += _module(f"ebm.{room}")
        yield f"api/floor_{floor}.rst", "\n".join(lines)
        for room in folders:
            first, *inside = modules_of(room)
            lines = _module(first, underline="=", members=False)
            for module in inside:
                lines += _module(module)
            yield f"api/ebm.{room}.rst", "\n".join(lines)


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text)]


def _module(name: str, underline: str = "-", members: bool = True) -> list[str]:
    options = ["   :members:", "   :ignore-module-all:", "   :member-order: bysource"] if members else []
    return [
        f".. _{label(name)}:",
        "",
        *_heading(name, underline),
        "",
        f".. automodule:: {name}",
        *options,
        "",
    ]

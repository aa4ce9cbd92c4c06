"""The house rules, checked on the source: imports point down, files are short and documented, no pickles.

`inspect_house` reads a package by its syntax trees alone and gives one line per violation. It is itself
tested below, on a small house in which every rule is broken in turn.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import ebm

ROOT = Path(__file__).parents[1]
MAX_LINES = 250

# The floor of every room, that is of every file and folder directly under ebm/. A room may use those below,
# and those on its own floor but not in a circle. "" is ebm/__init__.py, the face of the house, which only the
# top floor looks at.
FLOORS = {
    0: "binder bound choices derivative energy first_order function heap interrupt memory nodes parts "
    "problem progress rows signature solution split staged steps",
    1: "nets data targets regularizers exchange processes views",
    2: "infer",
    3: "callbacks checkpoint history latent loss marginal measure train training",
    4: "contrastive joint regularized",
    5: "jepa world",
    6: "plan",
    8: " show testing demo course __main__",
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split(" ")}

PICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "torch.load": "unpickles: use safetensors",
    "torch.save": "pickles: use safetensors",
    "importlib.import_module": "hides an import: import at the top of the module",
    "__import__": "hides an import: import at the top of the module",
}


class Import(NamedTuple):
    """One import statement's target inside the package."""

    source: str
    target: str
    where: str  # path:line


def inspect_house(package: Path) -> list[str]:
    """All violations in a package, as lines "path:line: what is wrong", sorted."""
    modules = {_module_name(package, path): path for path in sorted(package.rglob("*.py"))}
    found = list(_unknown_rooms(package))
    imports: list[Import] = []
    for name, path in modules.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        where = path.relative_to(package.parent).as_posix()
        lines = len(text.splitlines())
        if lines > MAX_LINES:
            found.append(f"{where}:{lines}: has {lines} lines, at most {MAX_LINES} are allowed")
        if not ast.get_docstring(tree):
            found.append(f"{where}:1: the module has no docstring")
        found += _forbidden_statements(tree, where, in_testing=_room(name) == "testing")
        imports += _imports(tree, name, path.name == "__init__.py", modules, where)
    found += [
        f"{each.where}: {each.source} (floor {FLOOR[_room(each.source)]}) imports upward "
        f"{each.target} (floor {FLOOR[_room(each.target)]})"
        for each in imports
        if FLOOR.get(_room(each.source), 99) < FLOOR.get(_room(each.target), 0)
    ]
    found += _circles({(each.source, each.target) for each in imports}, "import")
    rooms = {(_room(each.source) or "(face)", _room(each.target) or "(face)") for each in imports}
    found += _circles({(source, target) for source, target in rooms if source != target}, "rooms that import")
    return sorted(set(found))


def _module_name(package: Path, path: Path) -> str:
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return [*module.split("."), ""][1]


def _unknown_rooms(package: Path) -> Iterator[str]:
    for path in package.iterdir():
        name = path.stem if path.suffix == ".py" else path.name
        expected = name in FLOOR if path.suffix == ".py" or path.is_dir() else name == "py.typed"
        if not expected and name not in ("__init__", "__pycache__"):
            yield f"{package.name}/{path.name}:1: no such room: give it a floor in FLOORS or put it elsewhere"


def _forbidden_statements(tree: ast.Module, where: str, in_testing: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        line = f"{where}:{getattr(node, 'lineno', 1)}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    yield f"{where}:{inner.lineno}: imports inside a function or class: move it to the top"
        elif isinstance(node, ast.Assert) and not in_testing:
            yield f"{line}: assert vanishes under python -O: raise an error that says what to do"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS:
            call = ast.unparse(node.func)
            yield f"{line}: {call} {FORBIDDEN_CALLS[call]}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            from_module = isinstance(node, ast.ImportFrom)
            names = [node.module or ""] if from_module else [alias.name for alias in node.names]
            if PICKLERS & {name.split(".")[0] for name in names}:
                yield f"{line}: imports a pickler: use safetensors and JSON"
            if from_module and node.module == "torch":
                for alias in node.names:
                    if f"torch.{alias.name}" in FORBIDDEN_CALLS:
                        yield f"{line}: torch.{alias.name} {FORBIDDEN_CALLS[f'torch.{alias.name}']}"


def _imports(
    tree: ast.Module, name: str, is_package: bool, modules: dict[str, Path], where: str
) -> Iterator[Import]:
    """What a module imports of its own package; `from a import b` leads to a, and to a.b if that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
                base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for target in targets:
            if target in modules and target != name:
                yield Import(name, target, f"{where}:{node.lineno}")


def _circles(edges: set[tuple[str, str]], what: str) -> Iterator[str]:
    """The groups of nodes that reach one another."""
    reach = {node: {node} for edge in edges for node in edge}
    grown = True
    while grown:
        grown = False
        for source, target in edges:
            if not reach[target] <= reach[source]:
                reach[source] |= reach[target]
                grown = True
    groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in reach}
    for group in sorted(groups):
        if len(group) > 1:
            yield f"circle: {what} one another: {', '.join(group)}"


# --- this house ---------------------------------------------------------------------------------------------


def test_the_house_is_in_order() -> None:
    found = inspect_house(ROOT / "ebm")
    assert not found, "\n".join(["", *found])


PACKAGES = ["ebm", *(each.name for each in pkgutil.walk_packages(ebm.__path__, "ebm.") if each.ispkg)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_symbol_has_a_docstring_of_its_own(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert names or package != "ebm"
    assert sorted(set(names)) == sorted(names)
    documented = [getattr(module, name) for name in names if callable(getattr(module, name))]
    assert [each.__name__ for each in documented if not (each.__doc__ or "").strip()] == []
    inherited = [
        each.__name__
        for each in documented
        if inspect.isclass(each) and any(each.__doc__ == base.__doc__ for base in each.__mro__[1:])
    ]
    assert inherited == []


def test_the_version_is_one() -> None:
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None and cited[1] == ebm.__version__
    assert f"## {ebm.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_files_that_the_recipe_names_exist() -> None:
    named = re.findall(r"`((?:ebm|tests|benchmarks)/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 10
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_the_recipe_for_a_method_works() -> None:
    recipe = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(recipe, scope)
    start = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    solution = ebm.minimize(
        ebm.energy(lambda y: (y**2).sum(1)), start, scope["SignDescent"](0.125), max_steps=20, tol=1e-9
    )
    assert solution.steps.tolist() == [8] and solution.value.tolist() == [[0.0, 0.0]]


# --- a house in which every rule is broken ------------------------------------------------------------------

GOOD = {
    "__init__.py": "from ebm.energy import Energy\nfrom ebm.infer import minimize",
    "py.typed": "",
    "energy.py": "",
    "data/__init__.py": "from ebm.data.toy import toy",
    "data/toy.py": "import ebm.energy\ntry:\n    import numba\nexcept ImportError:\n    numba = None",
    "infer/__init__.py": "from .minimize import minimize",
    "infer/minimize.py": "from ..energy import Energy\nimport torch\nfrom ebm.data import toy",
    "testing/__init__.py": "from ebm import Energy\nassert Energy",
}


def build(folder: Path, files: dict[str, str], docstring: str = '"""."""') -> Path:
    """Write the files of a package `ebm`, each module with a docstring as its line 1."""
    for name, text in files.items():
        path = folder / "ebm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{docstring}\n{text}\n", encoding="utf-8")
    return folder / "ebm"


def test_a_house_in_order_passes(tmp_path: Path) -> None:
    assert inspect_house(build(tmp_path, GOOD)) == []


UPWARD = "ebm/energy.py:2: ebm.energy (floor 0) imports upward ebm"
INNER = "imports inside a function or class: move it to the top"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("energy.py", "import ebm.data.toy", f"{UPWARD}.data.toy (floor 1)"),
        ("energy.py", "from .data import toy", f"{UPWARD}.data (floor 1)"),
        ("energy.py", "from . import data", f"{UPWARD}.data (floor 1)"),
        ("energy.py", "from ebm import minimize", f"{UPWARD} (floor 8)"),
        ("data/new.py", "def f():\n    import math", f"ebm/data/new.py:3: {INNER}"),
        ("data/new.py", "async def f():\n    import math", f"ebm/data/new.py:3: {INNER}"),
        ("data/new.py", "class A:\n    def f(self):\n        from x import y", f"new.py:4: {INNER}"),
        ("data/new.py", "x = 1\n" * 249 + "x = 1", "new.py:251: has 251 lines, at most 250 are allowed"),
        ("data/new.py", "import pickle", "new.py:2: imports a pickler"),
        ("data/new.py", "from joblib import dump", "new.py:2: imports a pickler"),
        ("data/new.py", "import torch\ntorch.load('x')", "new.py:3: torch.load unpickles"),
        ("data/new.py", "import torch\ntorch.save(1, 'x')", "new.py:3: torch.save pickles"),
        ("data/new.py", "from torch import load", "new.py:2: torch.load unpickles"),
        ("data/new.py", "x = __import__('x')", "new.py:2: __import__ hides an import"),
        ("data/new.py", "assert 1", "new.py:2: assert vanishes under python -O"),
        ("utils.py", "", "ebm/utils.py:1: no such room"),
        ("misc/__init__.py", "", "ebm/misc:1: no such room"),
        ("notes.txt", "", "ebm/notes.txt:1: no such room"),
    ],
)
def test_each_broken_rule_is_reported(tmp_path: Path, name: str, text: str, expected: str) -> None:
    found = inspect_house(build(tmp_path, {**GOOD, name: text}))
    # an upward import also closes circles, which are reported beside it
    found = [line for line in found if name != "energy.py" or not line.startswith("circle")]
    assert any(expected in line for line in found), found
    assert all(name.split("/")[0] in line for line in found), found


def test_a_module_without_a_docstring_is_reported(tmp_path: Path) -> None:
    found = inspect_house(build(tmp_path, {"energy.py": "x = 1"}, docstring="# no docstring"))
    assert found == ["ebm/energy.py:1: the module has no docstring"]


def test_circles_are_reported_within_a_room_and_between_rooms(tmp_path: Path) -> None:
    two = {"data/a.py": "from ebm.data.b import x", "data/b.py": "import ebm.data.a"}
    assert inspect_house(build(tmp_path / "within", {**GOOD, **two})) == [
        "circle: import one another: ebm.data.a, ebm.data.b",
    ]
    # no circle of modules, yet neither room can be read before the other
    rooms = {
        "targets/__init__.py": "",
        "targets/a.py": "import ebm.data.toy",
        "targets/b.py": "",
        "data/c.py": "import ebm.targets.b",
    }
    assert inspect_house(build(tmp_path / "between", {**GOOD, **rooms})) == [
        "circle: rooms that import one another: data, targets",
    ]

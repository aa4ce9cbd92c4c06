"""The gallery: every script of `figures/`, with its picture, what is said of it, its code and its numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tutorials.site.links import ROOT

TOP = """\
# Gallery

Each picture is drawn by a script of its own from a fixed seed. Click for the script and the numbers.

"""


def scripts() -> list[Path]:
    """The scripts of figures, in order."""
    return sorted(path for path in (ROOT / "figures").glob("[a-z]*.py"))


def told(script: Path) -> tuple[str, str, str]:
    """The title of a figure, the rest of its docstring, and its text for those who cannot see it."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    title, _, rest = (ast.get_docstring(tree) or "").partition("\n")
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALT":
            return title.rstrip("."), rest.strip("\n"), ast.literal_eval(node.value)
    raise ValueError(f"{script} has no ALT: say in a sentence what is to be seen")


def pages() -> Iterator[tuple[str, str]]:
    """Every page: its path on the site, and its text."""
    cards, names = [], []
    for script in scripts():
        name, (title, rest, alt) = script.stem, told(script)
        names.append(f"{title.split(': ')[0].split(', ')[0]} <gallery/{name}>")
        cards.append(
            f":::{{container}} card\n[![{alt}](/figures/{name}.png)](/gallery/{name}.md)\n\n"
            f"[{_plain(title)}](/gallery/{name}.md)\n:::\n"
        )
        numbers = f"[Its numbers](/figures/{name}.json). " if script.with_suffix(".json").exists() else ""
        yield (
            f"gallery/{name}.md",
            f"# {_plain(title)}\n\n![{alt}](/figures/{name}.png)\n\n{alt}\n\n"
            + (f"```text\n{rest}\n```\n\n" if rest else "")
            + f"{numbers}The script, `figures/{script.name}`; `make figures` draws all pictures anew:\n\n"
            f"```{{literalinclude}} /figures/{script.name}\n:language: python\n```\n",
        )
    grid = "::::{container} gallery\n" + "\n".join(cards) + "::::\n"
    toctree = "```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"
    yield "gallery.md", TOP + grid + "\n" + toctree


def _plain(title: str) -> str:
    """A title as Markdown."""
    for mark in "\\*_[]<>|$`":
        title = title.replace(mark, "\\" + mark)
    return title

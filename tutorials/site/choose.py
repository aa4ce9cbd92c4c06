"""The page "how to choose": README's tables joined to one, each name linked to its code and to its chapters."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tutorials.site.links import ROOT

LATENT = [
    ["the value of z that explains best", "`min_over`", "a minimizer of E over z"],
    ["all values of z, those that explain better count more", "`marginal_over`", "nodes: `Finite`, `Grid`"],
]


class Group(NamedTuple):
    """Rows of the table that share an energy and a call.

    Attributes:
        question: what is to be chosen.
        header: the first cell of README's table; of none, if the rows are here.
        energy, call: what they are used on, and how.
        chapter: that teaches them.
        rooms: the packages in which the names are looked for.
    """

    question: str
    header: str
    energy: str
    call: str
    chapter: str
    rooms: tuple[str, ...]


GROUPS = (
    Group(
        "What to do with a latent variable?",
        "",
        "F(x, y), from E(x, y, z)",
        '`min_over(E, "z", METHOD, start)`, `marginal_over(E, "z", beta, by=NODES)`',
        "01",
        ("ebm.latent", "ebm.marginal", "ebm.nodes"),
    ),
    Group(
        "Which minimizer?",
        "the free variable",
        "any E",
        '`minimize(E, {"y": start}, METHOD, given={"x": x})`',
        "02",
        ("ebm.infer",),
    ),
    Group(
        "Which sampler?",
        "the energy",
        "any E, p ∝ exp(-βE)",
        "`sample(E, start, METHOD, num_samples=1000, burn_in=100)`",
        "03",
        ("ebm.infer", "ebm.measure"),
    ),
    Group(
        "Which contrastive loss?",
        "where the energy is pushed up",
        "E(y), E(x, y), any network",
        '`fit(E, LOSS, {"y": y}, optimizer=..., steps=..., batch_size=...)`',
        "05",
        ("ebm.contrastive", "ebm.regularized", "ebm.nets", "ebm.targets", "ebm.nodes"),
    ),
    Group(
        "Which regularized model?",
        "what limits the space of low energy",
        "E(y, z); F(y), z minimized or marginalized",
        '`MODEL.fit(y)`, or `fit(MODEL.free_energy, AverageEnergy(), {"y": y}, ...)`',
        "06",
        ("ebm.regularized",),
    ),
    Group(
        "Which joint embedding?",
        "what keeps codes alive",
        "E(x, y) = |f(x) - f(y)|²",
        '`fit(E, OnViews(OnCodes(CRITERION, "s_x", "s_y"), views), {"image": images}, ...)`',
        "07",
        ("ebm.joint",),
    ),
    Group(
        "Which planner?",
        "to plan with",
        "E(actions), costs of imagined states",
        "`RecedingHorizon(E, METHOD, horizon)`; then `agent.step(...)`",
        "08",
        ("ebm.infer", "ebm.plan", "ebm.marginal"),
    ),
)


def rows(group: Group) -> list[list[str]]:
    """The rows of a group: problem, method, what it needs."""
    if not group.header:
        return LATENT
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith(f"| {group.header} |")]
    if len(starts) != 1:
        raise ValueError(f"README has {len(starts)} tables that begin with {group.header!r}, one is needed")
    found = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [[*row, "", ""][:3] for row in found]


def place(name: str, rooms: tuple[str, ...]) -> str | None:
    """Where a public name is defined, as `ebm.infer.lbfgs.LBFGS`; None if the rooms have none of that name."""
    for room in rooms:
        held: Any = getattr(importlib.import_module(room), name, None)
        if held is not None and hasattr(held, "__qualname__"):
            return f"{held.__module__}.{held.__qualname__}"
    return None


def linked(cell: str, rooms: tuple[str, ...]) -> str:
    """A cell with every name linked to its code."""

    def one(match: re.Match[str]) -> str:
        named = re.match(r"\w+", match[1])
        target = place(named[0], rooms) if named else None
        return f"{{py:obj}}`{match[1]} <{target}>`" if target else match[0]

    return re.sub(r"`([^`]+)`", one, cell)


def imported(chapter: Path) -> set[str]:
    """The names that a chapter takes from `ebm`."""
    parts = ast.walk(ast.parse(chapter.read_text(encoding="utf-8")))
    lines = (node for node in parts if isinstance(node, ast.ImportFrom))
    return {name.name for line in lines if (line.module or "").startswith("ebm") for name in line.names}


def chapters(cell: str, default: str) -> list[str]:
    """The stems of the chapters that use one of a cell's names, else of the group's chapter."""
    names = set(re.findall(r"[A-Za-z]\w+", " ".join(re.findall(r"`([^`]+)`", cell))))
    used = {path.stem: imported(path) for path in (ROOT / "tutorials").glob("[0-9][0-9]_*.py")}
    using = [stem for stem, held in used.items() if names & held]
    return sorted(using or [stem for stem in used if stem.startswith(default)])


class Choose(SphinxDirective):
    """The table, as the directive `choose`."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        body = nodes.tbody()
        for group in GROUPS:
            call = linked(group.call, ("ebm", *group.rooms))
            body += self._row([f"**{group.question}** Energy: {group.energy}. Call: {call}"], ["group"])
            for problem, method, needs in rows(group):
                links = ", ".join(f"[{c[:2]}](/chapters/{c}.ipynb)" for c in chapters(method, group.chapter))
                cells = [problem, method, needs]
                body += self._row([*(linked(cell, group.rooms) for cell in cells), links], [])
        head = nodes.thead("", self._row(["problem", "method", "it needs", "chapter"], []))
        columns = [nodes.colspec(colwidth=width) for width in (28, 40, 24, 8)]
        return [nodes.table("", nodes.tgroup("", *columns, head, body, cols=4), classes=["choose"])]

    def _row(self, cells: list[str], classes: list[str]) -> nodes.row:
        row = nodes.row(classes=classes)
        for cell in cells:
            entry = nodes.entry("", *self.parse_text_to_nodes(cell))
            if len(cells) == 1:
                entry["morecols"] = 3
            row += entry
        return row

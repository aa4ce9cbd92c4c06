"""Writes the sources of the site into a folder: our own pages filled in, chapters, gallery, API, and copies of files."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

from benchmarks import table
from tutorials.site import api, gallery
from tutorials.site.links import ROOT, relinked

HERE = Path(__file__).parent
STILL = 'import sys\n\nsys.modules["anywidget"] = None  # a page shows an explorer as a picture'


def filled(page: Path) -> str:
    """A page of our own with its {{ places }} filled in."""
    text = page.read_text(encoding="utf-8")
    for name, make in PLACES.items():
        if "{{ " + name + " }}" in text:
            text = text.replace("{{ " + name + " }}", make())
    return text


def part(*headings: str) -> str:
    """The sections of README with these headings, "" for what comes before the first."""
    sections = {}
    for section in (ROOT / "README.md").read_text(encoding="utf-8").split("\n## "):
        sections["" if section.startswith("# ") else section.partition("\n")[0]] = section
    return "\n".join(("## " if heading else "") + sections[heading] for heading in headings)


def chapters() -> list[Path]:
    """The chapters' sources, in order."""
    return runpy.run_path(str(ROOT / "tutorials" / "build.py"))["sources"]()


def _course() -> str:
    names = "\n".join(f"chapters/{path.stem}" for path in chapters())
    return (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8") + (
        f"\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


PLACES = {
    "front": lambda: part("", "Two commands", "In ten lines", "What is where"),
    "install": lambda: part("Install in your own project"),
    "course": _course,
    "contributing": lambda: (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    "changes": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    "benchmarks": lambda: (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"),
    "peers": table.table,
    "representations": table.representations,
    "masked": table.masked,
    "rooms": table.two_rooms,
    "autoencoders": table.autoencoders,
}
ORIGINS = {
    "course.md": "tutorials",
    "benchmarks.md": "benchmarks",
}  # where links of the filled-in pages start


def _chapter_pages() -> Iterator[tuple[str, str, str]]:
    build = runpy.run_path(str(ROOT / "tutorials" / "build.py"))
    for source in chapters():
        made = build["notebook"](source)
        still = made.cells[0].copy()
        still.update(cell_type="code", source=STILL, id="still", metadata={"tags": ["remove-cell"]})
        still.update(outputs=[], execution_count=None)
        files: set[str] = set()
        for cell in made.cells:
            if cell.cell_type == "markdown":
                cell.source, more = relinked(cell.source, "tutorials")
                files |= more
        made.cells.insert(0, still)
        yield f"chapters/{source.stem}.ipynb", build["text"](made), " ".join(files)


def write(out: Path) -> list[Path]:
    """Write everything that Sphinx reads.

    Args:
        out: a folder; what has not changed in it is not touched, so that Sphinx does it once only, and what
            is no longer part of the site is removed.

    Returns:
        The files.
    """
    texts: dict[str, str] = {}
    copies = {f"figures/{path.name}" for path in (ROOT / "figures").glob("[a-z]*.*")}
    for page in HERE.glob("*.md"):
        texts[page.name], files = relinked(filled(page), ORIGINS.get(page.name, "."))
        copies |= files
    for path, text, files_of_chapter in _chapter_pages():
        texts[path] = text
        copies |= set(files_of_chapter.split())
    texts |= dict(gallery.pages()) | dict(api.pages())
    written = {out / path: text.encode() for path, text in texts.items()}
    written |= {out / path: (ROOT / path).read_bytes() for path in copies}
    checks = sorted((ROOT / "tutorials" / "checks").glob("*.py"))
    written |= {out / "chapters" / "checks" / path.name: path.read_bytes() for path in checks}
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    for path in out.rglob("*"):
        if path.is_file() and path not in written and "__pycache__" not in path.parts:
            path.unlink()
    return sorted(written)

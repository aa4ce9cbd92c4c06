"""Where the links of the repository's own pages lead on the site: to a page of it, or to a copy of the file."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "/index.md",
    "CONTRIBUTING.md": "/add.md",
    "CHANGELOG.md": "/changes.md",
    "tutorials": "/course.md",
    "tutorials/README.md": "/course.md",
    "figures": "/gallery.md",
    "benchmarks": "/benchmarks.md",
    "benchmarks/README.md": "/benchmarks.md",
    "benchmarks/results": "/measured.md",
}
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")


def label(module: str) -> str:
    """The name by which pages link to a module: `ebm.infer.lbfgs` -> `mod-ebm-infer-lbfgs`."""
    return "mod-" + module.replace(".", "-")


def module_of(path: str) -> str | None:
    """The module that a path of the repository holds, or None."""
    is_module = path.endswith(".py") or (ROOT / path / "__init__.py").exists()
    if path.split("/")[0] != "ebm" or not is_module:
        return None
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def relinked(text: str, origin: str = ".") -> tuple[str, set[str]]:
    """A page of the repository with its links made those of the site.

    Args:
        text: Markdown.
        origin: the folder, from the repository's root, that its relative links start from.

    Returns:
        The page; and the files it shows or offers, by their paths from the root, which the site needs copies
        of.
    """
    files: set[str] = set()

    def one(match: re.Match[str]) -> str:
        shown, target = match.groups()
        if target.startswith("#") or re.match(r"[a-z]+:", target):
            return match[0]
        full = (ROOT / origin / target.split("#")[0]).resolve()
        path = full.relative_to(ROOT).as_posix()
        if path in PAGES:
            return f"{shown}({PAGES[path]})"
        if re.fullmatch(r"tutorials/\d\d_\w+\.ipynb", path):
            return f"{shown}(/chapters/{full.name})"
        if module := module_of(path):
            return f"{shown}(#{label(module)})"
        if full.is_dir():  # nothing of it is on the site
            return shown[1:-1]
        files.add(path)
        return f"{shown}(/{path})"

    fences = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if n % 2 else LINK.sub(one, part) for n, part in enumerate(fences)), files

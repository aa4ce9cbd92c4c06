"""The site: nothing is left out of it, its links lead somewhere, and it can be built without a warning."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.test_house import FLOORS
from tutorials.site import api, choose, gallery, links, pages
from tutorials.site.docstrings import to_rst

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "ebm").rglob("*.py")
} - {"ebm"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pages.write(folder)
    return folder


def texts(folder: Path) -> dict[str, str]:
    """The pages in Markdown by path, those of chapters with them; code blocks left out."""
    found = {}
    for path in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        found[path.relative_to(folder).as_posix()] = text
    return found


def test_every_module_is_on_one_page_of_its_floor(sources):
    assert api.floors() == {floor: rooms.split() for floor, rooms in FLOORS.items()}
    described = [
        name
        for page in sorted(sources.glob("api/*.rst"))
        for name in re.findall(r"^\.\. automodule:: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(described) == sorted(MODULES)


def test_every_figure_is_in_the_gallery_with_its_script_its_numbers_and_what_is_seen(sources):
    page = (sources / "gallery.md").read_text(encoding="utf-8")
    for script in (ROOT / "figures").glob("[a-z]*.py"):
        own = (sources / "gallery" / f"{script.stem}.md").read_text(encoding="utf-8")
        alt = gallery.told(script)[2]
        assert f"[![{alt}](/figures/{script.stem}.png)](/gallery/{script.stem}.md)" in page
        assert f"/figures/{script.name}\n" in own and (sources / "figures" / script.name).exists()
        assert (f"/figures/{script.stem}.json" in own) == script.with_suffix(".json").exists()


def test_a_figure_that_says_nothing_to_the_blind_is_refused(tmp_path):
    script = tmp_path / "mute.py"
    script.write_text('"""A picture."""\n')
    with pytest.raises(ValueError, match="no ALT"):
        gallery.told(script)


def test_every_chapter_is_in_the_course(sources):
    page = (sources / "course.md").read_text(encoding="utf-8")
    chapters = sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
    assert chapters and re.findall(r"^chapters/(\S+)$", page, re.MULTILINE) == chapters
    assert sorted(path.stem for path in (sources / "chapters").glob("*.ipynb")) == chapters


def test_every_link_of_a_page_leads_somewhere_and_every_picture_is_told(sources):
    known = {links.label(module) for module in MODULES}
    seen = 0
    for page, text in texts(sources).items():
        assert "{{ " not in text, page
        for shown, target in links.LINK.findall(text):
            seen += 1
            assert not shown.startswith("!") or len(shown) > 20, f"{page}: {target} has no alt text"
            if re.match(r"[a-z]+:", target):
                parts = urlsplit(target)
                assert parts.scheme in ("http", "https") and "." in parts.netloc, f"{page}: {target}"
            elif target.startswith("#"):
                assert target[1:] in known, f"{page}: {target}"
            else:
                assert target.startswith("/") and (sources / target[1:]).is_file(), f"{page}: {target}"
    assert seen > 80


def test_links_of_the_repository_become_those_of_the_site():
    text = "[a](ebm/infer/) ![b](figures/zoo.png) [c](CONTRIBUTING.md) [d](https://x.org) `[e](f)`\n"
    new, files = links.relinked(text.replace("`[e](f)`", ""), ".")
    assert new == "[a](#mod-ebm-infer) ![b](/figures/zoo.png) [c](/add.md) [d](https://x.org) \n"
    assert files == {"figures/zoo.png"}
    chapter = "tutorials/01_energies_and_latent_variables.ipynb"
    assert links.relinked(f"[f](../{chapter})", "tutorials")[0] == f"[f](/chapters/{Path(chapter).name})"
    assert links.relinked("```\n[g](nowhere.md)\n```\n")[0] == "```\n[g](nowhere.md)\n```\n"


def test_the_table_of_choices_is_the_readmes_with_every_first_choice_found_in_the_code():
    total = 0
    for group in choose.GROUPS:
        for problem, method, _ in choose.rows(group):
            total += 1
            assert problem and "`" in method
            assert "{py:obj}" in choose.linked(method, group.rooms), method
    assert total > 40
    assert choose.place("LBFGS", ("ebm.infer",)) == "ebm.infer.lbfgs.LBFGS"
    assert choose.place("LBFGS", ("ebm.joint",)) is None
    assert choose.chapters("`Enumerate(values)`", "02")[0].startswith("01")


def test_docstrings_keep_what_they_say():
    lines = ["A length |y|, a minimizer z*, and `code`s of x_.", "", "    E = |y|*", "", ">>> f(*x)", "1"]
    assert to_rst(lines) == [
        r"A length \|y\|, a minimizer z\*, and ``code``\ s of x\_.",
        *("", "::", "", "    E = |y|*", "", ">>> f(*x)", "1", ""),
    ]
    section = ["Args:", "    *y: rows.", "", "    Example:", "        >>> f(*x)"]
    assert to_rst(section)[:2] == ["Args:", r"    \*y: rows."]
    assert "        >>> f(*x)" in to_rst(section)


class Links(HTMLParser):
    """The targets and the names of a page, and what a browser would load for it by itself."""

    def __init__(self, page: str):
        super().__init__()
        self.targets: set[str] = set()
        self.names: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names |= {given["id"]} if given.get("id") else set()
        self.targets |= {given[key] for key in ("href", "src") if given.get(key)}
        if tag in ("script", "img", "link", "iframe") and (url := given.get("src") or given.get("href")):
            self.loaded.add(url)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_all_its_links_resolve(tmp_path):
    command = [sys.executable, "-m", "tutorials.site", "--no-run", "--out", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False, timeout=1500)
    assert done.returncode == 0, done.stderr[-5000:]
    assert f"The site: {tmp_path / 'site'}/index.html" in done.stdout
    check_links(tmp_path / "site")


def check_links(site: Path) -> None:
    """Every link and every picture of the built pages is there, and nothing is loaded from elsewhere."""
    found = {path.resolve(): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(found) > 60
    broken = []
    for path, page in found.items():
        assert not any(urlsplit(url).netloc for url in page.loaded), f"{path} loads from elsewhere"
        for url in page.targets:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            name = unquote(parts.fragment)
            if not target.is_file() or (name and target in found and name not in found[target].names):
                broken.append(f"{path.relative_to(site.resolve())}: {url}")
    assert not broken, "\n".join(sorted(broken)[:50])

"""Sphinx's settings. The sources are what `tutorials.site.pages` writes; nothing is fetched from a network."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ebm
from tutorials.site.choose import Choose
from tutorials.site.docstrings import to_rst

project, author, release = "ebm", "the ebm authors", ebm.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["figures/*.md"]
html_theme = "furo"
html_title = "ebm"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no fonts from elsewhere

nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "site-cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_excludepatterns: list[str] = []
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
toc_object_entries = False  # else every sidebar lists every method, and the build takes far longer
suppress_warnings = ["ref.python"]  # an attribute called `mean` means its own, not one of the many others
add_module_names = False
napoleon_use_ivar = True  # the code below the list defines them
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

BRACKETS = {
    **{r"\langle": "⟨", r"\rangle": "⟩", r"\vert": "|", r"\lvert": "|", r"\rvert": "|"},
    **{r"\Vert": "‖", r"\lVert": "‖", r"\rVert": "‖"},
}


def mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    """A formula of LaTeX as MathML; a command that is not understood is a warning, and so an error."""
    latex = re.sub(
        r"\\([lr]?)(angle|vert|Vert)(?![a-zA-Z])", lambda m: BRACKETS.get(m[0], m[0]), node.astext()
    )
    latex = re.sub(r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}", latex.replace("{aligned}", "{align*}"))
    made = convert(latex, display=display)
    if re.search(r"\\\w|<mi>&</mi>", made):
        logging.getLogger(__name__).warning("this formula can't be shown: %s", node.astext(), location=node)
    return made


def inline(translator: Any, node: nodes.math) -> None:
    """Show a formula in a line."""
    translator.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Show a formula by itself."""
    translator.body.append(f'<div class="math">{mathml(node, "block")}</div>\n')
    raise nodes.SkipNode


def docstring(app: Sphinx, what: str, name: str, held: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as reStructuredText, before napoleon reads them."""
    lines[:] = to_rst(lines)


def skip(app: Sphinx, what: str, name: str, held: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what `NamedTuple` writes by itself."""
    return True if (getattr(held, "__doc__", "") or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_directive("choose", Choose)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-skip-member", skip)

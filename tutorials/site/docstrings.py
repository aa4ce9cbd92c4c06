"""Docstrings for Sphinx: plain text with formulas and `code`, made the reStructuredText that Sphinx reads.

Ours are written to be read in the source: |y| is a length there and no substitution, z* a minimizer and no
emphasis, a formula is an indented block. Sections (Args, Returns, ...) are left to napoleon.
"""

from __future__ import annotations

import re

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):$")


def escaped(text: str) -> str:
    """A paragraph with `code` as ``code``, and what reStructuredText would take for markup as it stands."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text, flags=re.DOTALL)
    for n, part in enumerate(parts):
        if n % 2:
            before = "\\ " if parts[n - 1][-1:] not in ("", " ", "\n", "(", '"', "[") else ""
            after = "\\ " if re.match(r"[\w_*|\\]", parts[n + 1]) else ""
            parts[n] = f"{before}``{part.strip('`').strip()}``{after}"
        else:
            part = re.sub(r"([\\*|`])", r"\\\1", part)
            parts[n] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)
    return re.sub(r"^( *)([+•-])(?! )", r"\1\\\2", "".join(parts))


def to_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, dedented, as reStructuredText with napoleon's sections."""
    out: list[str] = []
    in_section = False
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        indented = first.startswith(" ")
        if not indented:
            in_section = False
        if SECTION.match(first):
            in_section = True
            out += [first, *_body(paragraph[1:])]
        elif in_section:
            out += _body(paragraph)
        elif first.startswith(">>>"):
            out += paragraph
        elif indented:  # a formula, or a table of words
            out += ["::", "", *paragraph]
        elif re.match(r"[-•] |\d+\. ", first):
            out += escaped("\n".join(paragraph)).split("\n")
        else:
            out += escaped("\n".join(line.strip() for line in paragraph)).split("\n")
        out.append("")
    return out


def _paragraphs(lines: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    joined: list[list[str]] = []
    for paragraph in filter(None, found):  # blank lines within a block of formulas stay in it
        blocks = joined and joined[-1][0].startswith(" ") and paragraph[0].startswith(" ")
        if blocks and not any(">>>" in line for line in joined[-1] + paragraph):
            joined[-1] += ["", *paragraph]
        else:
            joined.append(paragraph)
    return joined


def _body(lines: list[str]) -> list[str]:
    """Lines of a section: examples stay as they are."""
    at = next((n for n, line in enumerate(lines) if line.lstrip().startswith(">>>")), len(lines))
    text = escaped("\n".join(lines[:at])).split("\n") if at else []
    return [*text, *([""] if 0 < at < len(lines) else []), *lines[at:]]

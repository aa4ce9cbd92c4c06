"""The page: what was made, in one file that needs nothing from elsewhere, on any screen, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ebm.demo.part import Part, Picture, Table

STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf7; --card: #ffffff; --ink: #1d2126; --soft: #5d6670;
  --line: #e2dfd8; --accent: #0072b2; --glow: #e8f1f7; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --card: #1c2026; --ink: #e8e6e1; --soft: #9aa4ae;
    --line: #2d333b; --accent: #66b5e8; --glow: #1b2a36; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.6;
  font: 17px/1.6 "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", Georgia, serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 4rem; }
h1 { font-size: clamp(2.1rem, 6vw, 3.4rem); line-height: 1.08; letter-spacing: -0.02em; margin: 0 0 1rem; }
h2 { font-size: clamp(1.6rem, 4vw, 2.2rem); line-height: 1.15; letter-spacing: -0.01em; margin: 0 0 0.8rem; }
h3 { font-size: 1.15rem; margin: 0 0 0.4rem; }
p { margin: 0 0 0.9rem; max-width: 42rem; }
.lead { font-size: 1.2rem; color: var(--soft); }
a { color: var(--accent); text-underline-offset: 0.15em; }
a:focus-visible, .wide:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px;
  border-radius: 4px; }
nav { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 1.6rem 0 0; padding: 0; list-style: none; }
nav a { display: block; padding: 0.45rem 0.9rem; border: 1px solid var(--line); border-radius: 999px;
  background: var(--card); text-decoration: none; font: 500 0.92rem/1.3 system-ui, sans-serif; }
section { margin: 4.5rem 0 0; padding-top: 2.2rem; border-top: 1px solid var(--line); }
.number { font: 600 0.82rem/1 system-ui, sans-serif; letter-spacing: 0.12em; text-transform: uppercase;
  color: var(--accent); margin: 0 0 0.8rem; }
.formula { margin: 1.2rem 0 1.6rem; padding: 1rem 1.2rem; max-width: none; overflow-x: auto;
  background: var(--glow); border-radius: 10px; font-size: clamp(1.15rem, 3.4vw, 1.5rem);
  text-align: center; white-space: nowrap; }
figure, .table { margin: 2.2rem 0; padding: 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; }
figure img { display: block; width: 100%; height: auto; padding: 0.8rem; background: #ffffff;
  border-radius: 8px; }
figcaption, .note { margin: 0.9rem 0 0; max-width: none; color: var(--soft); font-size: 0.97rem; }
figcaption strong, .note strong { color: var(--ink); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font: 0.9rem/1.4 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.5rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tbody th { color: var(--ink); font-weight: 600; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
.cut { color: #d55e00; font-weight: 600; }
footer { margin-top: 5rem; padding-bottom: 3rem; color: var(--soft); font-size: 0.92rem; }
code { font: 0.86em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--glow);
  padding: 0.1em 0.35em; border-radius: 4px; }
@media print { section { break-before: page; } figure, .table { break-inside: avoid; }
  nav { display: none; } }
"""

LEAD = (
    "An energy is a number that says how badly things fit together: low is good. To predict, to explain, "
    "to fill in what is hidden is then one and the same act: find what makes the energy small. To learn "
    "is to give the energy its shape. All that follows was computed on this machine a moment ago, from "
    "real data."
)


def page(parts: Sequence[Part], about: Mapping[str, Any]) -> str:
    """The whole page, as HTML.

    Args:
        parts: what was made, whole or interrupted.
        about: "seed", "quick", "versions" and "machine", for the small print.
    """
    numbered = list(enumerate(parts, 1))
    links = "".join(f'<a href="#{part.name}">{n}. {escape(part.title)}</a>' for n, part in numbered)
    sections = "".join(_section(number, part) for number, part in numbered)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Everything is an energy</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>Everything is an energy</h1>
<p class="lead">{LEAD}</p>
<nav aria-label="Parts">{links}</nav>
</header>
<main>{sections}</main>
<footer>{_small_print(parts, about)}</footer>
</body>
</html>
"""


def _section(number: int, part: Part) -> str:
    story = "".join(f"<p>{escape(text)}</p>" for text in part.story)
    shown = "".join(_picture(s) if isinstance(s, Picture) else _table(s) for s in part.shown)
    cut = "" if part.finished else '<p class="cut">This part was interrupted; what was finished follows.</p>'
    return f"""
<section id="{part.name}" aria-labelledby="{part.name}-title">
<p class="number">Part {number}</p>
<h2 id="{part.name}-title">{escape(part.title)}</h2>
<p class="formula">{part.formula}</p>
{story}{cut}{shown}
</section>
"""


def _picture(picture: Picture) -> str:
    return f"""
<figure>
<h3>{escape(picture.title)}</h3>
<img src="{escape(picture.file)}" alt="{escape(picture.alt)}" loading="lazy">
<figcaption>{escape(picture.caption)}</figcaption>
</figure>
"""


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    body = ""
    for first, *rest in table.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    return f"""
<div class="table">
<h3>{escape(table.title)}</h3>
<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}">
<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>
</div>
<p class="note">{escape(table.caption)}</p>
</div>
"""


def _small_print(parts: Sequence[Part], about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    machine = about["machine"]
    seconds = sum(part.seconds for part in parts)
    quick = " --quick" if about["quick"] else ""
    return f"""
<p>Seed {about["seed"]}; {seconds:.0f} seconds with {machine["threads"]} threads on {machine["cores"]} cores;
{escape(versions)}; {escape(machine["system"])}. Every number is in
<a href="numbers.json">numbers.json</a>. The same command makes the same numbers:
<code>ebm demo --seed {about["seed"]}{quick}</code></p>
<p>Data, as they come with scikit-learn: the photographs "china" by danielbuechele and "flower" by
vultilion (Flickr, Creative Commons BY 2.0; here in gray, cut and rebuilt), and the handwritten digits of
Alpaydin and Kaynak (1998).</p>
"""

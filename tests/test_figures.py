"""Every figure is what its script draws from its fixed seed."""

from __future__ import annotations

import json
import math
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

FIGURES = Path(__file__).parent.parent / "figures"
README = FIGURES.parent / "README.md"
SCRIPTS = sorted(path for path in FIGURES.glob("[a-z]*.py"))
LONG = {
    "architectures",
    "blurry",
    "contrastive_zoo",
    "dimension",
    "lista",
    "safeguards",
    "zoo",
}  # most of a minute and more; `make test-full`


def test_there_are_figures():
    assert {"landscape", "ellipse", "collapse", *LONG} <= {path.stem for path in SCRIPTS}


@pytest.mark.parametrize(
    "script",
    [pytest.param(s, marks=pytest.mark.slow if s.stem in LONG else ()) for s in SCRIPTS],
    ids=lambda path: path.stem,
)
def test_the_committed_picture_is_the_one_the_script_draws(script, tmp_path):
    figure = runpy.run_path(str(script))["draw"]()
    again = tmp_path / "again.png"
    figure.savefig(again, dpi=150)
    drawn, committed = (matplotlib.image.imread(p)[..., :3] for p in (again, script.with_suffix(".png")))
    assert drawn.shape == committed.shape, f"{script.stem}.png has another size: run `make figures`"
    # fonts and training differ in the last bits between machines; a changed curve or panel moves far more
    # than this
    assert float(np.abs(drawn - committed).mean()) < 0.01, (
        f"{script.stem}.png is out of date: run `make figures`"
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_its_picture_and_numbers(script):
    assert callable(runpy.run_path(str(script))["draw"])
    assert matplotlib.image.imread(script.with_suffix(".png")).std() > 0.01
    if (numbers := script.with_suffix(".json")).exists():
        leaves = list(_leaves(json.loads(numbers.read_text(encoding="utf-8"))))
        assert leaves and all(math.isfinite(x) for x in leaves if isinstance(x, float))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_picture_is_told_to_those_who_cannot_see_it(script):
    alt = runpy.run_path(str(script))["ALT"]
    assert re.fullmatch(r"\S[^\n]{60,400}\.", alt), alt  # a sentence or two
    told = re.findall(rf"!\[([^\]]+)\]\(figures/{script.stem}\.png\)", README.read_text(encoding="utf-8"))
    assert set(told) <= {alt}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value

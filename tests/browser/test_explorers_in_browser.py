"""Every explorer in a real browser: run all cells, drag, slide, type; then look at the probe and the picture.

A new explorer is one more row of EXPLORERS. What is asserted is where things end, never how many events there
were on the way: the page may leave out what a faster hand has overtaken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.explorer_page import ExplorerPage


@dataclass(frozen=True)
class Drag:
    """Drag a handle to parts of its axes, from the lower left; `lands` are the probe's values there."""

    name: str
    to: tuple[float, float]
    lands: Mapping[str, float]
    within: float  # of the values of `lands`: about a pixel, in the units of the axes

    def do(self, page: ExplorerPage) -> None:
        page.drag(self.name, *self.to)


@dataclass(frozen=True)
class Slide:
    """Move a slider to a part of its way, by the mouse."""

    name: str
    to: float
    lands: Mapping[str, float]
    within: float

    def do(self, page: ExplorerPage) -> None:
        page.slide(self.name, self.to)


@dataclass(frozen=True)
class Click:
    """Click on the panel of a title, at parts of its axes."""

    panel: str
    to: tuple[float, float]
    lands: Mapping[str, float]
    within: float = 1e-9

    def do(self, page: ExplorerPage) -> None:
        page.click(self.panel, *self.to)


@dataclass(frozen=True)
class Choose:
    """Take an option of a choice."""

    name: str
    option: str
    lands: Mapping[str, float]
    within: float = 1e-9

    def do(self, page: ExplorerPage) -> None:
        page.control(self.name).select_option(self.option)


@dataclass(frozen=True)
class Press:
    """Press a button, or a toggle."""

    name: str
    lands: Mapping[str, float]
    within: float = 1e-9

    def do(self, page: ExplorerPage) -> None:
        page.control(self.name).click()


@dataclass(frozen=True)
class Play:
    """Start the ticks, pause when the probe's value `name` is at least `least` and at most `most`."""

    name: str
    least: float = -float("inf")
    most: float = float("inf")
    lands: Mapping[str, float] = None  # type: ignore[assignment]  # nothing more
    within: float = 0.0

    def do(self, page: ExplorerPage) -> None:
        page.play_until(self.name, self.least, self.most)


@dataclass(frozen=True)
class Row:
    """An explorer, how it is made, and what is done to it, one thing after the other.

    `key` is a handle that arrow keys move, and the probe's value that the right arrow raises.
    """

    name: str
    steps: tuple[Drag | Slide | Click | Choose | Press | Play, ...]
    key: tuple[str, str] | None = None
    code: str = ""

    @property
    def cells(self) -> tuple[str, str]:
        made = self.code or f"{self.name}()"
        return f"from ebm.show.explorers import {self.name}, explore", f"view = explore({made})\nview"


EXPLORERS = (
    Row(
        "EllipseExplorer",
        (
            Drag("y", (0.5, 0.5), {"y1": 0.0, "y2": 0.0, "F_inf": 2.25}, 0.06),
            Slide("w1", 0.5, {"w1": 1.5}, 0.06),
            Slide("beta", 0.0, {"beta": 0.05}, 1e-9),
            Press("restart", {"w1": 1.5, "w2": 1.2}),
            Play("steps", least=20.0),
            Drag("w", (1.0, 1.0), {"w1": 3.0, "w2": 3.0}, 0.02),
        ),
        key=("y", "y1"),
    ),
    Row(
        "Landscape",
        (
            Drag("start", (0.85, 0.75), {"start_x": 3.5, "start_y": 2.5, "end_x": 3.0, "end_y": 2.0}, 0.06),
            Choose("method", "Newton", {"end_x": 3.0, "end_y": 2.0, "converged": 1.0}, 1e-5),
            Slide("shown", 0.0, {"shown": 0.0}, 1e-9),
            Play("shown", least=2.0),
            Choose("energy", "latent ellipse: F over an angle z", {"energy_end": 0.0}, 1e-6),
            Slide("beta", 0.0, {"beta": 0.05}, 1e-9),
        ),
        key=("start", "start_x"),
    ),
    Row(
        "TrainingExplorer",
        (
            Play("steps", least=20.0),
            Choose("loss", "contrastive", {}),
            Play("auroc", least=0.6),
            Press("restart", {"steps": 0.0}),
            Choose("data", "ring", {"steps": 0.0}),
            Choose("loss", "regularized", {"steps": 0.0}),
            Play("steps", least=20.0),
        ),
    ),
    Row(
        "EmbeddingExplorer",
        (
            Play("steps", least=20.0),
            Slide("covariance", 0.0, {}, 1e-9),
            Press("restart", {"steps": 0.0}),
        ),
    ),
    Row(
        "SparseCodeExplorer",
        (
            Slide("atoms", 0.0, {"error": 1.0}, 1e-4),
            Click("Photo", (0.5, 0.5), {"x": 80.0, "y": 80.0}, 1.0),
            Slide("sparsity", 1.0, {"active": 0.0}, 1e-9),
            Play("steps", least=12.0),
            Drag("patch", (0.0, 1.0), {"x": 5.0, "y": 155.0}, 1e-9),
        ),
        key=("patch", "x"),
    ),
    Row(
        "SamplersExplorer",
        (
            Play("gradients", least=80.0),
            Choose("target", "ring", {"gradients": 0.0}),
            Play("gradients", least=80.0),
            Drag("start", (0.5, 0.5), {"start_x": 0.0, "start_y": 0.0, "gradients": 0.0}, 0.06),
        ),
        key=("start", "start_x"),
    ),
    Row(
        "PlannerExplorer",
        (
            Play("iterations", least=14.0),
            Drag("goal", (0.3, 0.3), {"goal_x": 21.2, "goal_y": 21.2, "iterations": 2.0}, 0.3),
            Choose("planner", "CEM", {"iterations": 2.0}),
            Press("guarded", {"violation": 0.0}),
            Slide("horizon", 1.0, {"iterations": 2.0}, 1e-9),
        ),
        key=("start", "start_x"),
    ),
)


@pytest.mark.parametrize("row", EXPLORERS, ids=lambda row: row.name)
def test_explorer_answers_mouse_and_keyboard(row: Row, show) -> None:
    page = show(row.name, *row.cells)
    assert page.root.locator("canvas").count() >= 1
    assert page.root.locator(".ebm-text").inner_text().endswith(".")
    for step in row.steps:
        before = page.picture()
        step.do(page)
        found = page.rest()
        for name, value in (step.lands or {}).items():
            assert found[name] == pytest.approx(value, abs=step.within), (step, name)
        assert page.picture() != before, f"{step} changed nothing that is seen"
    if row.key is not None:
        handle, value = row.key
        page.type(page.handle(handle), "ArrowLeft", "Shift+ArrowLeft")
        before, start = page.picture(), page.rest()[value]
        page.type(page.handle(handle), "ArrowRight")
        assert page.rest()[value] > start and page.picture() != before
    assert page.errors == []


@pytest.mark.parametrize("row", EXPLORERS[:1], ids=lambda row: row.name)
def test_keyboard_and_screen_reader_reach_everything(row: Row, show) -> None:
    page = show(f"{row.name}-keys", *row.cells)
    reached = page.tab_stops()
    wanted = page.root.locator("button, input, select, .ebm-handle").count()
    assert len(reached) == wanted and wanted >= 5
    assert all(name for _, name in reached), "something has no name for a screen reader"
    assert {role for role, _ in reached} >= {"button", "slider"}
    assert page.root.locator("canvas:not([aria-label])").count() == 0
    page.page.wait_for_function("() => document.querySelector('.ebm-spoken').textContent.length > 20")


def test_picture_is_sharp_on_dense_screens_and_fits_narrow_pages(show) -> None:
    page = show("dense", *EXPLORERS[0].cells, device_scale_factor=2)
    ratio = "c => c.width / c.getBoundingClientRect().width"
    assert page.root.locator("canvas").first.evaluate(ratio) == pytest.approx(2, rel=0.01)
    before = page.picture()
    page.page.set_viewport_size({"width": 760, "height": 1000})
    page.page.wait_for_timeout(300)
    assert page.picture() != before
    assert page.root.evaluate("r => r.scrollWidth <= r.clientWidth + 1")


WRONG = """
from ebm.show.explorers import EllipseExplorer, explore
class Strict(EllipseExplorer):
    def _set(self, name, value):
        raise ValueError("not today")
explore(Strict())
"""


def test_what_goes_wrong_is_said_on_the_page(show) -> None:
    page = show("wrong", WRONG)
    page.slide("w1", 0.5)
    page.root.locator(".ebm-problem").filter(has_text="not today").wait_for(timeout=10_000)
    page.drag("y", 0.5, 0.5)  # and it goes on
    assert page.rest()["y1"] == pytest.approx(0.0, abs=0.06)
    assert page.probe()["w1"] == 2.0

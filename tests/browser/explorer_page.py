"""An explorer on a page, as a reader uses it, by mouse and keyboard, and looked at when it rests."""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

from playwright.sync_api import Locator, Page

RUN = 120_000  # ms that a kernel gets to start, to import torch and to show the explorer
REST = 30_000  # ms that an explorer gets to answer
STABLE = 1.0  # seconds for which a kernel must be idle before we believe it
AGAIN = 20.0  # seconds without work or result after which a run was in vain, and is asked for again
DONE = re.compile(r"\[\d+\]")  # the prompt of a cell that has run; "[*]" of one that runs


class ExplorerPage:
    """The explorer of a notebook that is open.

    Args:
        page: the page that shows JupyterLab.
    """

    def __init__(self, page: Page):
        self.page, self.root = page, page.locator(".ebm-explorer")
        self.idle = page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str) -> None:
        """Open a notebook and wait until its kernel rests."""
        self.page.goto(url)
        self.wait_idle()

    def run_all(self) -> None:
        """Run all cells, and wait for the explorer."""
        self._run("notebook:run-all-cells", self.root)
        self.root.scroll_into_view_if_needed()
        self.rest()

    def run_first(self) -> None:
        """Run the first cell alone, wait until it is done, and select the next one."""
        self._run("notebook:run-cell", self.page.locator(".jp-InputPrompt").filter(has_text=DONE))
        self.wait_idle()
        self.command("notebook:move-cursor-down")

    def command(self, name: str) -> None:
        """Have JupyterLab do something, without waiting for it."""
        self.page.evaluate("name => void window.jupyterapp.commands.execute(name)", name)

    def _run(self, command: str, result: Locator) -> None:
        """Run cells until there is a result; a dialog that comes late makes the first run one in vain."""
        until = time.monotonic() + RUN / 1000
        while not result.count():
            self.command(command)
            again = time.monotonic() + AGAIN
            while not result.count() and not self._accepted() and time.monotonic() < again:
                if not self.idle.count():
                    again = time.monotonic() + AGAIN
                if time.monotonic() > until:
                    raise TimeoutError(f"{command} had no result within {RUN // 1000} s")
                self.page.wait_for_timeout(100)
            if not result.count():
                self.wait_idle()

    def _accepted(self) -> bool:
        """Take the kernel that a dialog proposes, if there is one."""
        accept = self.page.locator(".jp-Dialog button.jp-mod-accept")
        if accept.count():
            accept.first.click()
            return True
        return False

    def wait_idle(self) -> None:
        """Wait until the kernel has been idle, and nothing asked, for a while."""
        since, until = None, time.monotonic() + RUN / 1000
        while time.monotonic() < until:
            if self._accepted() or not self.idle.count():
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since > STABLE:
                return
            self.page.wait_for_timeout(100)
        raise TimeoutError(f"no idle kernel within {RUN // 1000} s")

    def rest(self) -> dict[str, Any]:
        """Wait until nothing is under way; the probe's values then."""
        self.page.wait_for_function(
            "() => document.querySelector('.ebm-explorer')?.dataset.idle === 'true'", timeout=REST
        )
        problem = self.root.locator(".ebm-problem").inner_text()
        if problem:
            raise AssertionError(f"the explorer says: {problem}")
        return self.probe()

    def probe(self) -> dict[str, Any]:
        """The numbers that the page holds now."""
        return json.loads(self.root.get_attribute("data-probe") or "{}")

    def picture(self) -> str:
        """A digest of all pixels of all panels."""
        pixels = self.root.evaluate(
            "root => [...root.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
        )
        return hashlib.sha256(pixels.encode()).hexdigest()

    def control(self, name: str) -> Locator:
        """The slider, choice, toggle or button of that name."""
        return self.root.locator(f".ebm-controls [data-name='{name}']")

    def handle(self, name: str) -> Locator:
        """The handle of that name."""
        return self.root.locator(f".ebm-handle[data-name='{name}']")

    def drag(self, name: str, x: float, y: float) -> None:
        """Drag a handle by the mouse to the part x of its axes' width and y of their height, from below."""
        handle = self.handle(name)
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        axes = handle.evaluate(
            "h => h.parentElement.querySelector('canvas').getBoundingClientRect().toJSON()"
        )
        inside = handle.evaluate("h => JSON.parse(h.parentElement.dataset.axes)")
        assert box is not None
        mouse = self.page.mouse
        mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        mouse.down()
        mouse.move(
            axes["x"] + inside["left"] + x * inside["w"],
            axes["y"] + inside["top"] + (1 - y) * inside["h"],
            steps=12,
        )
        mouse.up()

    def click(self, title: str, x: float, y: float) -> None:
        """Click on a panel, at parts of its axes as in `drag`."""
        panel = self.root.locator(".ebm-panel").filter(has_text=title)
        inside = panel.locator(".ebm-stage").evaluate("s => JSON.parse(s.dataset.axes)")
        place = {"x": inside["left"] + x * inside["w"], "y": inside["top"] + (1 - y) * inside["h"]}
        panel.locator("canvas").click(position=place)

    def slide(self, name: str, part: float) -> None:
        """Move a slider to a part of its way, as a mouse does that is held down."""
        slider = self.control(name)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box is not None
        now = slider.evaluate("s => s.value / s.max")
        thumb, middle = 16, box["y"] + box["height"] / 2  # px that a thumb is wide
        at = lambda p: box["x"] + thumb / 2 + p * (box["width"] - thumb)  # noqa: E731
        self.page.mouse.move(at(now), middle)
        self.page.mouse.down()
        self.page.mouse.move(at(part), middle, steps=8)
        self.page.mouse.up()

    def type(self, locator: Locator, *keys: str) -> None:
        """Focus something, and press keys."""
        locator.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def play_until(self, name: str, least: float, most: float) -> None:
        """Press play, wait until a value of the probe lies between two ends, and pause."""
        play = self.root.locator(".ebm-play")
        play.click()
        self.page.wait_for_function(
            """([name, least, most]) => {
                const v = JSON.parse(document.querySelector('.ebm-explorer').dataset.probe)[name];
                return v >= least && v <= most; }""",
            arg=[name, max(least, -1e300), min(most, 1e300)],
            timeout=REST,
        )
        if play.get_attribute("aria-pressed") == "true":
            play.click()

    def tab_stops(self) -> list[tuple[str, str]]:
        """What the Tab key reaches inside the explorer, in order: (role, name)."""
        self.root.locator("button, input, select, [tabindex]").first.focus()
        found = []
        while len(found) < 100:
            role, name, inside = self.page.evaluate(
                """() => { const e = document.activeElement;
                const role = e.getAttribute("role") ?? { BUTTON: "button", SELECT: "combobox" }[e.tagName]
                    ?? { range: "slider", checkbox: "checkbox" }[e.type] ?? "";
                const name = e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent;
                return [role, (name ?? "").trim(), document.querySelector(".ebm-explorer").contains(e)]; }"""
            )
            if not inside:
                break
            found.append((role, name))
            self.page.keyboard.press("Tab")
        return found

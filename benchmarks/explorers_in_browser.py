"""`python -m benchmarks.explorers_in_browser`: how soon every explorer is there, and how soon it answers.

In JupyterLab and Debian's Chromium, as in a classroom. The first frame: from running the cell `explore(...)`,
in a kernel that has imported the package, to the drawn picture. An answer: from a key on a handle, or a move
of a slider, to the drawn answer, one after the other. Targets on two cores: 1 s and 100 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, sync_playwright

from benchmarks.machine import commit, machine, versions
from ebm.show import explorers
from tests.browser.explorer_page import ExplorerPage
from tests.browser.lab import Lab, chromium

RESULT = Path(__file__).parent / "results" / "explorers.json"
FIRST_FRAME, ANSWER = 1000.0, 100.0  # ms, the targets
PATIENCE = {"a first frame": 60_000.0, "an answer": 15_000.0}  # ms, after which we give up and say so
VERSIONS = ("ebm-lab", "torch", "numpy", "anywidget", "ipywidgets", "jupyterlab", "playwright")

# Runs the cell that is selected; the time until an explorer that has drawn stands in the page.
SHOW = """async (patience) => {
  const began = performance.now();
  window.jupyterapp.commands.execute("notebook:run-cell");
  while (!document.querySelector(".ebm-explorer[data-idle='true']")) {
    if (performance.now() - began > patience) throw new Error(`no first frame within ${patience} ms`);
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}"""

# Moves a handle by arrow keys, or a slider, to and fro; the time until each answer is drawn.
MOVE = """async (element, [repeats, patience]) => {
  const root = element.closest(".ebm-explorer"), took = [];
  for (let i = 0; i < repeats; i++) {
    const began = performance.now();
    if (element.type === "range") {
      element.value = Math.round(element.max * (0.3 + 0.4 * (i % 2)));
      element.dispatchEvent(new Event("input"));
    } else element.dispatchEvent(new KeyboardEvent("keydown", { key: i % 2 ? "ArrowLeft" : "ArrowRight" }));
    while (root.dataset.idle !== "true") {
      if (performance.now() - began > patience) throw new Error(`no answer within ${patience} ms`);
      await new Promise(requestAnimationFrame);
    }
    took.push(performance.now() - began);
    await new Promise((rest) => setTimeout(rest, 20));
  }
  return took;
}"""


def names() -> list[str]:
    """Every state that the package exports, by name.

    Example:
        >>> "EllipseExplorer" in names()
        True
    """
    found = ((name, getattr(explorers, name)) for name in explorers.__all__)
    return [
        n
        for n, made in found
        if isinstance(made, type) and issubclass(made, explorers.State) and n != "State"
    ]


def say(words: str) -> None:
    """A line of progress, apart from the results."""
    print(words, file=sys.stderr, flush=True)


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile of times, in ms.

    Example:
        >>> summary([1.0, 2.0, 3.0, 4.0, 100.0])
        {'median': 3.0, 'p95': 100.0}
    """
    ordered = sorted(times)
    last = min(round(0.95 * len(ordered)), len(ordered) - 1)
    return {"median": round(statistics.median(ordered), 1), "p95": round(ordered[last], 1)}


def measure(name: str, lab: Lab, browser: Browser, repeats: int) -> dict[str, Any]:
    """One explorer: its first frame, and what each of its handles and sliders takes, in ms."""
    page = ExplorerPage(browser.new_page(viewport={"width": 1400, "height": 1000}))
    say(f"{name}: opening")
    page.open(lab.write(name, f"from ebm.show.explorers import {name}, explore", f"explore({name}())"))
    page.run_first()  # it has imported the package
    first = float(page.page.evaluate(SHOW, PATIENCE["a first frame"]))
    say(f"{name}: first frame {first:.0f} ms")
    moves = {}
    for kind, found in (("handle", ".ebm-handle"), ("slider", "input[type=range]")):
        for part in page.root.locator(found).evaluate_all("all => all.map(e => e.dataset.name)"):
            element = page.handle(part) if kind == "handle" else page.control(part)
            if element.count():  # moving another may have taken it away
                moves[f"{kind} {part}"] = summary(element.evaluate(MOVE, [repeats, PATIENCE["an answer"]]))
                say(f"{name}: {kind} {part} {moves[f'{kind} {part}']['median']:.0f} ms")
    page.page.close()
    worst = max((move["median"] for move in moves.values()), default=0.0)
    return {
        "name": name,
        "first frame (ms)": round(first, 1),
        "answers (ms)": moves,
        "slowest median answer (ms)": worst,
        "within targets": first <= FIRST_FRAME and worst <= ANSWER,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and record; returns the exit status, 1 where there is no Chromium or no answer."""
    parser = argparse.ArgumentParser("python -m benchmarks.explorers_in_browser", description=__doc__)
    parser.add_argument("names", nargs="*", help="which explorers (default: all)")
    parser.add_argument("--repeats", type=int, default=30, help="moves of each handle and slider")
    parser.add_argument("--results", type=Path, default=RESULT, help="the file to write")
    args = parser.parse_args(argv)
    if chromium() is None:
        print("no chromium here: `make browser` installs Debian's", file=sys.stderr)
        return 1
    rows = []
    say("starting JupyterLab")
    with (
        tempfile.TemporaryDirectory() as folder,
        Lab(Path(folder) / "lab") as lab,
        sync_playwright() as driver,
    ):
        say("JupyterLab is up; starting Chromium")
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name in args.names or names():
            try:
                rows.append(measure(name, lab, browser, args.repeats))
            except (Error, TimeoutError) as wrong:
                say(f"{name}: {wrong}\nNothing is recorded. Is the machine busy? JupyterLab's last words:")
                say(lab.log.read_text()[-2000:])
                return 1
            print(json.dumps(rows[-1]), flush=True)
        program = browser.version
        browser.close()
    record = {
        "benchmark": "explorers in the browser",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(Path(__file__).parents[1]),
        "machine": machine(),
        "versions": {**versions(VERSIONS), "chromium": program},
        "repeats": args.repeats,
        "targets (ms)": {"first frame": FIRST_FRAME, "answer": ANSWER},
        "explorers": rows,
    }
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

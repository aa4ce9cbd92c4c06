"""One JupyterLab and one Chromium for all browser tests; both work without a network.

A test asks for `show(name, *cells)`: the explorer of a notebook with these cells, opened, run and at rest.
Where Chromium, JupyterLab or Playwright is missing, the tests are skipped and say what to do; `make browser`
does it. They run in one process, beside nothing else: two Chromiums on two cores would wait for one another.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import Lab, chromium

try:
    from playwright.sync_api import Browser, sync_playwright

    from tests.browser.explorer_page import ExplorerPage
except ImportError:  # the extra `dev` brings it; without it nothing below runs
    sync_playwright = None

SHOTS = Path(__file__).parent / "screenshots"  # of tests that failed; git ignores them
MISSING = [
    name for name in ("playwright", "jupyterlab", "anywidget") if importlib.util.find_spec(name) is None
]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a folder of its own."""
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed: pip install -c constraints.txt -e '.[dev]'")
    if chromium() is None:
        pytest.skip("no chromium here: `make browser` installs Debian's; or name a browser in EBM_CHROMIUM")
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def browser(lab: Lab) -> Iterator[Browser]:
    """Chromium without a screen."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def show(lab: Lab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., ExplorerPage]]:
    """Opens a notebook, runs it, and gives its explorer at rest; keeps a screenshot where the test fails.

    A name without cells is a chapter of the course.
    """
    pages: list[ExplorerPage] = []

    def opened(name: str, *cells: str, **options: Any) -> ExplorerPage:
        explorer = ExplorerPage(browser.new_page(viewport={"width": 1400, "height": 1000}, **options))
        pages.append(explorer)
        explorer.open(lab.write(name, *cells) if cells else lab.hand_out(name))
        explorer.run_all()
        return explorer

    yield opened
    report = request.node.stash.get(REPORT, None)
    for number, explorer in enumerate(pages):
        if report is None or report.failed:
            SHOTS.mkdir(exist_ok=True)
            explorer.page.screenshot(path=SHOTS / f"{request.node.name}-{number}.png")
        explorer.page.close()


REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Remember how the test itself went, for `show`."""
    report = yield
    if call.when == "call":
        item.stash[REPORT] = report
    return report

"""Chapter 01 as a student meets it: run in JupyterLab from top to bottom, its explorer under the hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.explorer_page import ExplorerPage

DONE = re.compile(r"\[\d+\]")


def test_chapter_01_runs_from_top_to_bottom_and_its_explorer_lives(show: Callable[..., ExplorerPage]) -> None:
    page = show("01_energies_and_latent_variables")
    page.wait_idle()  # all cells are done
    prompts = page.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert len(prompts) > 10 and all(DONE.match(prompt.strip()) for prompt in prompts), prompts
    assert not page.page.locator("[data-mime-type='application/vnd.jupyter.error']").count()
    before, picture = page.rest(), page.picture()
    page.drag("y", 0.75, 0.5)
    after = page.rest()
    assert after["y1"] > before["y1"] and page.picture() != picture

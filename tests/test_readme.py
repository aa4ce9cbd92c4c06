"""README: its example runs and means what it says, its links lead somewhere, its numbers are recorded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def example() -> dict:
    code, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    scope: dict = {}
    exec(code, scope)
    return scope


def test_the_example_runs_and_is_ten_lines_of_mathematics():
    scope = example()
    y, angles = scope["y"], scope["angles"]
    table = torch.stack([scope["E"](y=y, z=a.expand(2, 1)) for a in angles], 1)
    assert torch.allclose(scope["F_inf"](y=y), table.min(1).values)
    assert torch.equal(scope["z"][:, 0], angles[table.argmin(1), 0])
    soft = -(torch.logsumexp(-4 * table, 1) - torch.log(torch.tensor(48.0))) / 4
    assert torch.allclose(scope["F_beta"](y=y), soft, atol=1e-5)
    assert (scope["F_beta"](y=scope["y_fit"]) <= soft).all()


def test_the_script_of_the_rooms_runs(tmp_path, monkeypatch):
    _, code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(code.split("\n\n")[1].strip().splitlines()) <= 10
    for there, small in (("60_000", "64"), ("steps=4000", "steps=2"), ("steps=60", "steps=2")):
        assert there in code
        code = code.replace(there, small)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "rooms.gif").stat().st_size > 1000


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tutorials/README.md", "benchmarks/README.md"]
)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}, which is not there"


def test_the_measured_table_is_the_one_of_the_results():
    subprocess.run([sys.executable, "-m", "benchmarks.table", "--check"], cwd=ROOT, check=True)


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z-]+)`?", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} is not a target"

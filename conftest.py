"""What a single file of `ebm` needs so that `pytest ebm/infer/sample.py` runs its examples.

Packages export functions named as the modules that hold them, `ebm.infer.sample`. A package imported whole,
as a user does, ends with the function under that name; pytest, which imports the file on its own, would put
the module there. So the package comes first.
"""

from __future__ import annotations

import importlib
from pathlib import Path

ROOT = Path(__file__).parent


def pytest_collect_file(file_path: Path) -> None:
    """Import the package of a module of `ebm` before the module."""
    package = file_path.parent
    if file_path.suffix == ".py" and package.is_relative_to(ROOT / "ebm"):
        importlib.import_module(".".join(package.relative_to(ROOT).parts))

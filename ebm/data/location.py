"""Where data sets lie: `$EBM_DATA` first, then the user's cache, `$XDG_CACHE_HOME/ebm` or `~/.cache/ebm`.

A data set NAME is a folder NAME in one of them. Nothing is downloaded unasked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache, where downloads go: `$XDG_CACHE_HOME/ebm`, or `~/.cache/ebm` if that is not set."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ebm"


def data_folders() -> tuple[Path, ...]:
    """The folders that data sets are looked for in, in this order.

    Returns:
        `$EBM_DATA`, if it is set, and the user's cache; whether they exist or not.

    Example:
        >>> from ebm.data import data_folders
        >>> data_folders()[-1].name
        'ebm'
    """
    given = os.environ.get("EBM_DATA")
    return (*([Path(given).expanduser()] if given else []), cache_folder())


def find_data(name: str, files: Sequence[str]) -> Path | None:
    """The first folder that holds all files of a data set, each as it is named or gzipped (`.gz`).

    Args:
        name: the data set's folder, such as "fashion-mnist".
        files: the names of its files.

    Returns:
        The folder, or None where no place has them all.

    Example:
        >>> from ebm.data import find_data
        >>> find_data("no such data", ["train"]) is None
        True
    """
    for root in data_folders():
        if all(stored(root / name, file) is not None for file in files):
            return root / name
    return None


def stored(folder: Path, file: str) -> Path | None:
    """The path of a file, as it is or gzipped, or None where the folder has neither."""
    return next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)

"""What a recipe leaves behind: a record of numbers that a later run goes on from, and pictures of images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.machine import commit, machine, versions

FOLDER = Path(__file__).parent / "results"
SHOWN = 12  # images in a row of a picture


def save(record: dict[str, Any], path: Path) -> None:
    """Write a record with the day, the machine, the versions and the commit."""
    record.update(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        versions=versions(["torch", "ebm-lab"]),
        **commit(Path(__file__).parent),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def found(path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The record of a run with the same arguments, or an empty one."""
    if path.exists():
        written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if written["arguments"] == arguments:
            return written
    return {"arguments": arguments, "rows": {}}


def picture(rows: Sequence[Tensor], path: Path) -> None:
    """Draw images in rows, (N, 1, H, W) each in [0, 1], three times as large, ink dark."""
    framed = [nn.functional.pad(images[:SHOWN, 0].clamp(0, 1), (1, 1, 1, 1)) for images in rows]
    lines = [torch.cat(list(images), 1) for images in framed]
    width = max(line.shape[1] for line in lines)
    whole = torch.cat([nn.functional.pad(line, (0, width - line.shape[1])) for line in lines])
    gray = (255 * (1 - whole)).round().byte().repeat_interleave(3, 0).repeat_interleave(3, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray.numpy()).save(path)

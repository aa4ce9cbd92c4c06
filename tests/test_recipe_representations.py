"""The recipe that compares representations, on few digits and few steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.recipes import representations
from benchmarks.recipes.representations import Arguments, main, ranking, run

QUICK = {"steps": 12, "batch": 32, "width": 8, "train_images": 200, "lidar_images": 60, "lidar_views": 4}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in (QUICK | {"threads": 1}).items()]


@pytest.fixture(autouse=True)
def no_larger_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))


def test_every_method_gets_its_row_and_a_second_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    trained: list[str] = []
    learned = representations.learned

    def noted(method, *others):
        trained.append(method)
        return learned(method, *others)

    monkeypatch.setattr(representations, "learned", noted)
    main([*WORDS, f"--results={path}", "--methods", "VICReg", "DINO"])
    assert trained == ["VICReg", "DINO"]
    main([*WORDS, f"--results={path}"])  # all of them: what is there stays
    assert trained == list(representations.METHODS)[:1] + ["DINO"] + [
        name for name in representations.METHODS if name not in ("VICReg", "DINO")
    ]
    written = json.loads(path.read_text())
    assert written["data"] == "digits" and written["images"] == [200, 360]
    baselines = {"raw pixels", "PCA", "random features"}
    assert set(written["rows"]) == baselines | set(representations.METHODS)
    for row in written["rows"].values():
        assert 0.2 < row["accuracy"] <= 1 and 1 <= row["RankMe"] <= 128.1 and 1 <= row["LiDAR"] <= 128
        assert row["standard error"] == pytest.approx(
            math.sqrt(row["accuracy"] * (1 - row["accuracy"]) / 360)
        )
    other = run(
        Arguments(**{**QUICK, "threads": 1, "steps": 6, "methods": ("VICReg",), "results": str(path)})
    )
    assert set(other["rows"]) == baselines | {"VICReg"}  # other settings: begun anew


def test_the_ranking_is_spearmans():
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    names = representations.TRAINED
    values = torch.rand(3, len(names), generator=generator).tolist()
    rows = {
        name: {"accuracy": a, "RankMe": b, "LiDAR": c} for name, a, b, c in zip(names, *values, strict=True)
    }
    rows["supervised"] = {"accuracy": 1.0, "RankMe": 0.0, "LiDAR": 0.0}  # not one that is ranked
    came = ranking(rows)
    assert came["RankMe"] == pytest.approx(stats.spearmanr(values[0], values[1]).statistic)
    assert came["LiDAR"] == pytest.approx(stats.spearmanr(values[0], values[2]).statistic)

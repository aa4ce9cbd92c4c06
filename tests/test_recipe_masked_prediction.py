"""The recipe that compares masked predictions, on few digits, few clips and few steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.recipes import masked_prediction
from benchmarks.recipes.masked_methods import Nets, Spread, flops, jepa, mae
from benchmarks.recipes.masked_prediction import Arguments, clip_task, image_task, main, run

QUICK = {
    **{
        "steps": 3,
        "clip_steps": 2,
        "batch": 8,
        "width": 24,
        "depth": 1,
        "heads": 2,
        "narrow": 12,
        "layers": 1,
    },
    **{"train_images": 200, "train_clips": 60, "test_clips": 40, "min_keep": 3},
}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


@pytest.fixture(autouse=True)
def no_larger_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))


def test_every_method_gets_its_row_and_a_second_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    trained: list[str] = []
    learned = masked_prediction.learned

    def noted(name, *others):
        trained.append(name)
        return learned(name, *others)

    monkeypatch.setattr(masked_prediction, "learned", noted)
    main([*WORDS, f"--results={path}", "--kinds", "images"])
    images, clips = ([f"{own}, spread", "MAE", own] for own in ("I-JEPA", "V-JEPA"))
    assert trained == images
    main([*WORDS, f"--results={path}"])  # what is there stays
    assert trained == [*images, *clips]
    written = json.loads(path.read_text())
    assert written["data"] == "digits"
    still, learns = {"raw pixels", "random features"}, {"images": "I-JEPA", "clips": "V-JEPA"}
    for kind, own in learns.items():
        rows = written["rows"][kind]
        assert set(rows) == {*still, f"{own}, spread", "MAE", own}
        for row in rows.values():
            for what in ("class",) if kind == "images" else ("direction", "digit"):
                p, n = row[what]["accuracy"], 360 if what == "class" else 40
                assert 0 <= p <= 1
                assert row[what]["standard error"] == pytest.approx(math.sqrt(p * (1 - p) / n))
        spent = {
            name: rows[name]["steps"] * rows[name]["operations of an example"] for name in rows.keys() - still
        }
        assert spent["MAE"] == pytest.approx(spent[f"{own}, spread"], rel=0.5 / rows["MAE"]["steps"] + 1e-9)
    other = run(Arguments(**{**QUICK, "steps": 2, "kinds": ("images",), "results": str(path)}))
    assert other["rows"]["images"]["I-JEPA"]["steps"] == 2  # other settings: begun anew
    assert other["rows"]["clips"] == written["rows"]["clips"]  # which have the settings that they had


def test_operations_are_counted_as_they_are():
    """Of a masked auto-encoder: of every linear layer 2 · inputs · outputs a token, of attention 4 T² D."""
    nets = Nets((8, 8), 2, width=16, depth=2, heads=2, narrow=8, layers=1)
    x = torch.randn(3, 1, 8, 8)
    found = flops(mae(nets, torch.Generator().manual_seed(0)), x, torch.Generator().manual_seed(0), draws=2)
    tokens, seen = 16, 4

    def layer(t: int, d: int) -> int:
        return 2 * t * 12 * d * d + 4 * t * t * d

    embed = 2 * tokens * 4 * 16
    learned = 2 * layer(seen, 16) + 2 * seen * 16 * 8 + layer(tokens, 8) + 2 * 12 * 8 * 4
    assert found == pytest.approx(2 * embed + 3 * learned)  # no gradient flows to the pixels
    more = flops(jepa(nets, 0.99, 3, 0.0, torch.Generator()), x, torch.Generator().manual_seed(0))
    assert more > found


def test_spread_is_the_crowding_of_what_codes_say_beside_their_place():
    """Against numpy's covariance of deviations from the mean of each place; what only depends on it is 0."""
    g = torch.Generator().manual_seed(0)
    codes, says = torch.randn(40, 3, 5, generator=g), 9 * torch.randn(6, 5, generator=g)
    context = torch.rand(40, 6, generator=g).argsort(1)[:, :3]
    spread, numpy_codes = Spread(6, 1.0), codes.numpy().reshape(-1, 5).copy()
    for p in range(6):
        here = context.flatten().numpy() == p
        numpy_codes[here] -= numpy_codes[here].mean(0)
    cov = np.cov(numpy_codes.T)
    off = (cov**2).sum() - (cov.diagonal() ** 2).sum()
    expected = np.maximum(0, 1 - np.sqrt(cov.diagonal() + 1e-4)).mean() + 0.04 * off / 5
    for moved in (codes, codes + says[context]):
        assert spread.crowded(moved, context).item() == pytest.approx(expected, rel=1e-4)
    assert spread.crowded(says[context], context).item() == pytest.approx(0.99, abs=1e-4)
    nets = Nets((8, 8), 2, width=16, depth=1, heads=2, narrow=8, layers=1)
    x = torch.randn(6, 1, 8, 8, generator=g)
    plain, more = (
        method.loss(method.energy, torch.Generator().manual_seed(1), x=x)
        for method in (jepa(nets, 0.99, 3, w, torch.Generator().manual_seed(0)) for w in (0.0, 0.5))
    )
    assert (more.loss - plain.loss).item() == pytest.approx(0.5 * more.terms["crowded"].item(), rel=1e-4)


def test_the_tasks_are_standardized_and_keep_train_and_test_apart():
    arguments = Arguments(**QUICK)  # type: ignore[arg-type]
    name, images = image_task(arguments)
    assert name == "digits" and images.train.shape == (200, 1, 8, 8) and images.test.shape == (360, 1, 8, 8)
    clips = clip_task(arguments)
    assert clips.train.shape == (60, 1, 8, 24, 24) and set(clips.test_labels) == {"direction", "digit"}
    for task in (images, clips):
        assert abs(float(task.train.mean())) < 1e-4 and float(task.train.std()) == pytest.approx(1, abs=1e-4)

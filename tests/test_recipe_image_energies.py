"""The recipe of image energies, with few images and few steps."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from benchmarks.recipes import image_energies
from benchmarks.recipes.image_energies import (
    Arguments,
    ImageEnergy,
    Leveled,
    completed,
    images,
    join,
    main,
    other_kinds,
    seeded,
)

QUICK = {
    **{"steps": 3, "more": 2, "batch": 16, "channels": 4, "chain": 2, "samples": 12},
    **{"train_images": 100, "test_images": 20, "threads": 1},
}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


pytestmark = pytest.mark.usefixtures("no_larger_data")


def test_every_way_gets_its_row_and_a_second_run_goes_on(tmp_path, monkeypatch):
    path, trained, learned = tmp_path / "out.json", [], image_energies.learned

    def noted(way, *rest):
        trained.append(way)
        return learned(way, *rest)

    monkeypatch.setattr(image_energies, "learned", noted)
    main([*WORDS, f"--results={path}"])
    main([*WORDS, f"--results={path}"])  # what is there stays
    assert trained == ["PCD", "DSM"]
    written = json.loads(path.read_text())
    assert list(written["rows"]) == ["digits"]  # Fashion-MNIST is not there
    rows = written["rows"]["digits"]
    assert all(math.isfinite(number) for row in rows.values() for number in row.values())
    assert rows["DSM"]["steps"] == 6 and rows["PCD"]["steps"] == 3
    assert 0 <= rows["PCD"]["AUROC, shuffled pixels"] <= 1
    assert rows["PCD"]["mean image"] == rows["DSM"]["mean image"]
    with Image.open(tmp_path / "out_digits.png") as made:
        assert made.size == (3 * 10 * 12, 3 * 10 * 7)


def test_completion_keeps_what_is_seen_and_lowers_the_energy():
    arguments = Arguments(**QUICK)
    train, test = images("digits", arguments)
    energy = ImageEnergy(8, 4, seeded(arguments))
    whole = completed(energy, test, train)
    assert torch.equal(whole[:, :, :4], test[:, :, :4])
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1
    begun = join(test[:, :, :4], train[:, :, 4:].mean(0).expand(len(test), -1, -1, -1))
    assert bool((energy(y=whole) <= energy(y=begun) + 1e-5).all())


def test_levels_divide_the_energy():
    arguments = Arguments(**QUICK)
    energy, (_, test) = ImageEnergy(8, 4, seeded(arguments)), images("digits", arguments)
    sigma = torch.linspace(0.1, 1, len(test))
    torch.testing.assert_close(Leveled(energy)(y=test, sigma=sigma), energy(y=test) / sigma)


def test_other_kinds_keep_the_pixels_or_the_size():
    arguments = Arguments(**QUICK)
    _, test = images("digits", arguments)
    kinds = other_kinds("digits", test, arguments)
    assert list(kinds) == ["shuffled pixels"]  # no Fashion-MNIST here
    torch.testing.assert_close(
        kinds["shuffled pixels"].flatten(1).sort(1).values, test.flatten(1).sort(1).values
    )

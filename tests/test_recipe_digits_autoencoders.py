"""The recipe of auto-encoders on digits, with few images and few steps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from benchmarks.recipes import digits_autoencoders
from benchmarks.recipes.digits_autoencoders import Arguments, drawn_codes, images, main, pca, run, vq_vae
from ebm.solution import one_tensor

QUICK = {
    **{"steps": 3, "batch": 16, "numbers": 4, "hidden": 16, "codes": 6, "code_size": 3, "channels": 4},
    **{"samples": 20, "bound_draws": 2, "train_images": 200, "threads": 1},
}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


pytestmark = pytest.mark.usefixtures("no_larger_data")


def test_every_model_gets_its_row_and_a_second_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    trained: list[str] = []
    learned = digits_autoencoders.learned

    def noted(model, train, title, arguments):
        trained.append(title)
        return learned(model, train, title, arguments)

    monkeypatch.setattr(digits_autoencoders, "learned", noted)
    main([*WORDS, f"--results={path}"])
    main([*WORDS, f"--results={path}"])  # what is there stays
    assert trained == ["VAE", "VQ-VAE"]
    written = json.loads(path.read_text())
    assert list(written["rows"]) == ["digits"]  # Fashion-MNIST is not there
    rows = written["rows"]["digits"]
    assert set(rows) == {"PCA", "VAE", "VQ-VAE"}
    assert all(math.isfinite(number) for row in rows.values() for number in row.values())
    codes = rows["VQ-VAE"]
    assert codes["cells"] == 16 and 1 <= codes["perplexity"] <= codes["codes used"] <= 6
    assert codes["bits"] <= codes["bits by number"] + 1e-9
    assert codes["bits"] == pytest.approx(16 * math.log2(codes["perplexity"]))
    assert codes["test images"] == rows["VAE"]["test images"]
    with Image.open(tmp_path / "out_digits.png") as made:
        assert made.size == (3 * 10 * 12, 3 * 10 * 6)
    other = run(Arguments(**{**QUICK, "steps": 2, "data": ("digits",), "results": str(path)}))
    assert trained == 2 * ["VAE", "VQ-VAE"] and other["arguments"]["steps"] == 2  # other settings: begun anew


def test_principal_components_are_those_of_scikit_learn():
    train, test = images("digits", Arguments(**QUICK))
    oracle = PCA(4).fit(train.flatten(1).numpy())
    expected = oracle.inverse_transform(oracle.transform(test.flatten(1).numpy()))
    np.testing.assert_allclose(pca(train, test, 4).flatten(1), expected, atol=1e-4)


def test_drawn_codes_have_the_frequencies_of_their_cells():
    arguments = Arguments(**{**QUICK, "samples": 5000})
    train, _ = images("digits", arguments)
    model = vq_vae(train, arguments)
    drawn = drawn_codes(model, train, arguments).flatten(1)
    with torch.no_grad():
        used = one_tensor(model.infer(train).value).flatten(1)
    assert drawn.shape == (5000, 16)
    for cell in range(16):
        p, share = (torch.bincount(z[:, cell], minlength=6) / len(z) for z in (used, drawn))
        assert ((p - share).abs() <= 4.5 * (p * (1 - p) / 5000).sqrt() + 1e-9).all()

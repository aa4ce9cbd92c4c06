"""The CIFAR-10 recipe, small, on generated images: its losses, rates and record, and that it goes on."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.recipes import cifar10 as recipe
from benchmarks.recipes import cifar10_published as published
from benchmarks.recipes.command import parse
from benchmarks.recipes.generated import striped_images
from ebm.data import LabeledImages
from ebm.history import History
from ebm.joint import SquaredDistance
from ebm.joint.slices import directions
from ebm.testing.processes import run_processes

DOUBLE = torch.float64
METHODS = ["vicreg", "sigreg"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is written into the repository or the user's cache by a test."""
    monkeypatch.setattr(recipe, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path


# --- what the published settings are in our terms -----------------------------------------------------------
def published_vicreg(x: Tensor, y: Tensor) -> Tensor:
    """s + 1 (v + v') + 100 (c + c'), c the mean of the squares beside the diagonal."""
    loss = (x - y).square().mean()
    for z in (x, y):
        centered = z - z.mean(0)
        covariance = centered.T @ centered / (len(z) - 1)
        loss = loss + torch.relu(1 - torch.sqrt(covariance.diagonal() + 1e-4)).mean()
        beside = covariance[~torch.eye(z.shape[1], dtype=torch.bool)]
        loss = loss + 100 * beside.square().mean()
    return loss


def published_sigreg(x: Tensor, y: Tensor, lines: Tensor) -> Tensor:
    """s + 10 (S(x) + S(y)) / 2, S the trapezoidal rule on 10 knots from -3 to 3."""
    t = torch.linspace(-3, 3, 10, dtype=x.dtype)
    normal = torch.exp(-(t**2) / 2)
    total = torch.zeros((), dtype=x.dtype)
    for z in (x, y):
        phi = torch.exp(1j * (z @ lines)[:, :, None] * t).mean(0)  # (M, 10)
        total = total + torch.trapezoid((phi - normal).abs() ** 2 * normal, t, dim=1).mean() / 2
    return (x - y).square().mean() + 10 * total


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_the_published_ones(method: Any, generator: torch.Generator) -> None:
    x = 0.5 + 0.7 * torch.randn(20, 12, generator=generator, dtype=DOUBLE)
    y = x + 0.3 * torch.randn(20, 12, generator=generator, dtype=DOUBLE)
    lines = directions(256, x, torch.Generator().manual_seed(3))
    ours, theirs = ([z.clone().requires_grad_() for z in (x, y)] for _ in range(2))
    energy = SquaredDistance().compose(s_x=(nn.Identity(), "x"), s_y=(nn.Identity(), "y"))
    loss = published.criterion(method, 12)
    mine = loss(energy, torch.Generator().manual_seed(3), x=ours[0], y=ours[1]).loss
    other = published_vicreg(*theirs) if method == "vicreg" else published_sigreg(*theirs, lines)
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=0)
    mine.backward()
    other.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("method", "outputs"), [("vicreg", 1024), ("sigreg", 128)])
def test_networks_have_the_published_sizes(method: Any, outputs: int) -> None:
    encoder, net = published.networks(published.Settings(method=method))
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["0.1.conv1.weight"] == (64, 3, 3, 3) and shapes["0.1.layer4.1.conv2.weight"][0] == 512
    linear = [shape for name, shape in shapes.items() if name.startswith("1.") and len(shape) == 2]
    assert linear == [(2048, 512), (2048, 2048), (outputs, 2048)]
    assert (
        sum(p.numel() for p in encoder.parameters()) == 11_168_832
    )  # of this ResNet-18 without its last layer


def test_the_network_sees_standardized_channels() -> None:
    x = torch.rand(2, 3, 4, 4)
    seen = published.Standardize()(x)
    assert float(seen[1, 2, 0, 0]) == pytest.approx((float(x[1, 2, 0, 0]) - 0.4465) / 0.2010, rel=1e-5)
    assert float(seen[0, 0, 3, 1]) == pytest.approx((float(x[0, 0, 3, 1]) - 0.4914) / 0.2023, rel=1e-5)


def test_views_are_drawn_as_published(generator: torch.Generator) -> None:
    x = striped_images(4000, 16, noise=0.0).images
    one, other = published.views()(x, generator)
    assert one.value.shape == (4000, 3, 32, 32) and not torch.equal(one.value, other.value)
    assert one.value.min() >= 0 and one.value.max() <= 1
    chosen = {
        name: float(p.applied.double().mean()) for name, p in one.parameters.items() if hasattr(p, "applied")
    }
    expected = {"color jitter": 0.8, "grayscale": 0.2, "solarize": 0.1}
    for name, p in expected.items():
        assert abs(chosen[name] - p) < 4 * math.sqrt(p * (1 - p) / 4000), name
    box = one.parameters["random resized crop"]
    share = box.height * box.width / 256
    assert 0.17 < share.min() < 0.25 and share.max() > 0.95  # whole pixels: sides are rounded
    jitter = one.parameters["color jitter"].parameters
    reach = [
        float((f[f > 0] - 1).abs().max()) for f in (jitter.brightness, jitter.contrast, jitter.saturation)
    ]
    assert reach == pytest.approx([0.4, 0.4, 0.2], abs=0.01)
    assert float(jitter.hue.abs().max()) == pytest.approx(0.1, abs=0.001)


def test_rates_rise_and_fall() -> None:
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule, rates = published.rise_and_fall(sgd, rise=10, steps=50), []
    for _ in range(50):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    rising = [0.3 * (1e-4 + (1 - 1e-4) * step / 10) for step in range(10)]
    falling = [0.15 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    assert rates == pytest.approx([*rising, *falling], rel=1e-9)


# --- the whole of it ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", METHODS)
def test_a_smoke_run_goes_through_and_records_nothing(
    method: Any, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recipe.run(published.Settings(method=method, smoke=True))
    assert record is not None and record["accuracy"] > 0.5  # three classes, told apart by color alone
    assert record["steps"] == 8 and record["images_per_second"] > 0
    assert record["recipe"] == "smoke test, generated images" and "published" not in record
    assert "no result, and none was recorded" in capsys.readouterr().out
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_cut_goes_on_bit_for_bit(method: Any, elsewhere: Path) -> None:
    def settings(folder: str) -> published.Settings:
        return published.Settings(method=method, smoke=True, half=False, folder=str(elsewhere / folder))

    whole = recipe.run(settings("whole"))
    assert recipe.run(settings("cut"), [lambda step, history: step == 3]) is None
    assert len(History.load(elsewhere / "cut" / "history.json")) == 3
    seen: list[int] = []
    again = recipe.run(settings("cut"), [lambda step, history: seen.append(step)])
    assert seen == [4, 5, 6, 7, 8]
    assert whole is not None and again is not None and again["accuracy"] == whole["accuracy"]
    rows = [History.load(elsewhere / name / "history.json").rows for name in ("whole", "cut")]
    assert rows[0] == rows[1] and len(rows[0]) == 8
    assert {"loss", "learning rate", "codes RankMe", "linear probe", "kNN probe"} <= rows[0][0].keys()


def test_a_real_run_is_recorded(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def loader(split: str, *, folder: str | None, dtype: torch.dtype) -> LabeledImages:
        asked.append((split, folder, dtype))
        return striped_images(64 if split == "train" else 32)

    monkeypatch.setattr(recipe, "cifar10", loader)
    sizes = {"width": 2, "hidden": 8, "outputs": 8, "batch_size": 32, "half": False, "device": "cpu"}
    record = recipe.run(
        published.Settings("sigreg", epochs=2, warmup_epochs=1, look_every=2, data="there", **sizes)
    )
    assert asked == [("train", "there", torch.float32), ("test", "there", torch.float32)]
    (file,) = (elsewhere / "results").iterdir()
    written = json.loads(file.read_text())
    assert file.name == "cifar10_sigreg.json" and written == json.loads(json.dumps(record))
    assert written["published"] == 0.9102 and written["settings"]["width"] == 2
    assert [look["step"] for look in written["looks"]] == [1, 4]
    assert {"machine", "versions", "commit", "seconds", "accuracy", "device", "processes"} <= written.keys()
    assert (elsewhere / "cache" / "ebm" / "runs" / "cifar10_sigreg" / "checkpoint").is_file()


def smoke(folder: str) -> float | None:
    """In one of two processes; to be found by its name."""
    record = recipe.run(published.Settings(method="sigreg", smoke=True, half=False, folder=folder))
    return None if record is None else record["accuracy"]


@pytest.mark.slow
def test_two_processes_train_together(elsewhere: Path) -> None:
    first, second = run_processes(smoke, 2, str(elsewhere / "two"))
    assert first == second and first > 0.5


# --- the command line ---------------------------------------------------------------------------------------
def test_every_setting_is_an_option() -> None:
    def told(*words: str) -> published.Settings:
        return parse(published.Settings, "recipe", "", words)

    assert told() == published.Settings()
    given = told(
        "--method", "sigreg", "--batch-size", "512", "--lr", "0.6", "--no-half", "--compile", "--smoke"
    )
    assert given == published.Settings("sigreg", batch_size=512, lr=0.6, half=False, compile=True, smoke=True)
    assert told("--outputs", "64").outputs == 64 and told("--no-compile").compile is False
    assert all(each.metadata["help"] for each in fields(published.Settings))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--warmup-epochs", "300"], "--warmup-epochs is at least 1 and less than --epochs; got 300 and 300"),
        (["--look-every", "0"], "--look-every is a number of epochs, 1 or more; got 0"),
        (["--method", "simclr"], "invalid choice: 'simclr'"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(published.Settings, "recipe", "", words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_generated_images_are_of_three_kinds() -> None:
    images, labels = striped_images(300, seed=4)
    assert images.shape == (300, 3, 32, 32) and images.dtype == torch.float32
    assert images.min() == 0 and images.max() == 1 and labels.bincount().min() > 60
    assert torch.equal(images, striped_images(300, seed=4).images)
    colors = images.mean((2, 3))
    centers = torch.stack([colors[labels == kind].mean(0) for kind in range(3)])
    assert (torch.cdist(colors, centers).argmin(1) == labels).double().mean() > 0.95
